"""What a reward model has learnt, in words, as lines of text and as rows of odds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from streams.errors import counted
from streams.messages.contracts import CONTEXT_MARK, RewardSnapshot
from streams.messages.feature_names import is_indicator, is_interaction, shown
from trainers.bradley_terry.explain import Effect, Explanation, explain, ratio_text
from trainers.bradley_terry.reward import printable, reward_on
from tribrain.shell.output import columns

SOURCES = {
    "human": "people",
    "outcome": "validators",
    "proxy": "judges that are not people",
    "critic": "the critics themselves",
}
"""Label source to the people or programs that give such labels."""
_LEAST_REACH, _MOST_REACH = 0.1, 6.0
"""Nats from the middle of the picture to its edge."""
_EDGE = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectRow:
    """An effect as a row: its odds in words, and as places in percent of a picture's width."""

    name: str
    words: str
    sentence: str
    x: float
    low: float | None
    high: float | None
    is_sure: bool


def effect_rows(explanation: Explanation, effects: Sequence[Effect]) -> list[EffectRow]:
    """The effects as rows on a scale of their own, with even odds at 50%; only rows of one call compare."""
    reach = max(
        (abs(math.log(x)) for e in effects for x in (e.odds_ratio, *(e.odds_ratio_ci95 or ()))), default=0.0
    )
    reach = min(max(reach, _LEAST_REACH), _MOST_REACH)

    def place(ratio: float) -> float:
        share = max(-1.0, min(1.0, math.log(ratio) / reach))
        return round(50.0 + share * (50.0 - _EDGE), 2)

    return [
        EffectRow(
            name=plain(effect.feature),
            words=odds_in_words(effect),
            sentence=_sentence(effect, explanation.step),
            x=place(effect.odds_ratio),
            low=place(effect.odds_ratio_ci95[0]) if effect.odds_ratio_ci95 else None,
            high=place(effect.odds_ratio_ci95[1]) if effect.odds_ratio_ci95 else None,
            is_sure=effect.is_sure,
        )
        for effect in effects
    ]


def odds_of_all(snapshot: RewardSnapshot) -> list[str]:
    """Lines: the odds of the overall reward, then those of each dimension under its statement."""
    lines = odds_lines(explain(reward_on(snapshot, "")))
    for dimension in snapshot.dimensions:
        explanation = explain(reward_on(snapshot, dimension))
        lines += [f"On {printable(dimension)}: {explanation.statement}", *odds_lines(explanation)]
    return lines


def odds_lines(explanation: Explanation) -> list[str]:
    """Lines: a table of the odds, strongest first, and how to read it; none if nothing was learnt."""
    effects = explanation.effects
    if not effects:
        return []
    rows = [("critic or context", "odds", "95% interval"), *map(_line, effects)]
    lines = [
        f"Odds of being preferred where one score is {explanation.step:g} higher, all others equal:",
        columns(rows),
    ]
    if any(is_indicator(effect.feature) for effect in effects):
        lines.append("@key=value: the odds of a side that has it against the average of its kind")
    if any(is_interaction(effect.feature) for effect in effects):
        where = " and ".join(f"{key}={value}" for key, value in explanation.references.items())
        lines.append(f"the critics' own lines are for {where}; those with another context add to them")
    if explanation.has_intervals:
        lines.append("* the interval leaves out ×1: the direction is sure")
    else:
        lines.append("point estimate, no interval: train with --learner laplace to have them")
    return lines


def _line(effect: Effect) -> tuple[str, str, str]:
    interval = effect.odds_ratio_ci95
    return (
        printable(shown(effect.feature)),
        f"×{ratio_text(effect.odds_ratio)}",
        "–"
        if interval is None
        else f"{ratio_text(interval[0])} to {ratio_text(interval[1])} {'*' if effect.is_sure else ' '}",
    )


def odds_in_words(effect: Effect) -> str:
    text = f"×{ratio_text(effect.odds_ratio)}"
    if effect.odds_ratio_ci95 is not None:
        text += f" ({ratio_text(effect.odds_ratio_ci95[0])} to {ratio_text(effect.odds_ratio_ci95[1])})"
    return text


def plain(feature: str) -> str:
    """A feature's name for people: ``flicker: quality``, ``flicker: quality where … is …``, and for the
    refinement's arm ``prompt rewritten for physics``."""
    critic, _, context = feature.partition(CONTEXT_MARK)
    key, is_value, value = (shown(part) for part in context.partition("="))
    says = "prompt rewritten for" if key == "arm" else f"{key} is"
    where = f"{says} {value}" if is_value else key
    name = shown(critic).replace(".", ": ", 1)
    return f"{name} where {where}" if critic and where else name or where


def gate_in_words(explanation: Explanation) -> str:
    """The gate and its evidence in a sentence."""
    evidence = explanation.evidence
    if not evidence:
        return "This model has no gate: nothing was measured of it before it learnt."
    found = float(evidence.get("evidence") or 0.0)
    needed, tasks = evidence.get("opens_at", 20), evidence.get("tasks", 0)
    if explanation.gate == "active":
        return (
            f"The gate is open: on {counted(tasks, 'task')} that it had not learnt from, the model predicted "
            f"people and validators better than the critics' mean (evidence {found:,.1f}, "
            f"{needed:g} were needed). It steers runs."
        )
    closed = "The gate is closed, so the model steers nothing"
    if not tasks:
        return f"{closed}. {_nothing_is_evidence(explanation)}"
    return (
        f"{closed}: evidence {found:,.2f} after {counted(tasks, 'task')}, and "
        f"{needed:g} is needed to say that it predicts people and validators better than the critics' mean."
    )


def _nothing_is_evidence(explanation: Explanation) -> str:
    """Sentences on labels of people and validators of which none is evidence yet, and when they will be.

    ``trainers.online.admission`` has the rule.
    """
    votes, judgements = (explanation.labels.get(source, 0) for source in ("human", "outcome"))
    said = []
    if votes:
        said.append(
            f"{_no_evidence(votes, 'vote')}: only votes that prefer one video of a randomly drawn pair "
            "count, and those on a finished run only once eight other finished runs have been voted on."
        )
    if judgements:
        said.append(
            f"{_no_evidence(judgements, 'label', ' from validators')}: those of a run count when it ends, "
            "and later ones as votes do."
        )
    return " ".join(said) or "It has no labels from people or validators yet, and only those are evidence."


def _no_evidence(n: int, noun: str, whose: str = "") -> str:
    if n == 1:
        return f"The one {noun}{whose} is not evidence yet"
    return f"None of the {counted(n, noun)}{whose} is evidence yet"


def _sentence(effect: Effect, step: float) -> str:
    """A sentence on the effect between two videos that are equal in all else."""
    better = effect.odds_ratio >= 1.0
    odds = effect.odds_ratio if better else 1.0 / effect.odds_ratio
    name = plain(effect.feature)
    if effect.odds_ratio_ci95 is not None and not effect.is_sure:
        return f"Whether a higher score of {name} makes a video preferred is not known yet."
    side = "the video with the higher score" if better else "the video with the lower score"
    return (
        f"Of two videos that differ by {step:g} in {name} alone, {side} is preferred at odds of "
        f"{ratio_text(odds)} to 1."
    )
