"""Judgements of two candidates by people and judges: who answered what about which two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from streams.messages.contracts import PreferencePair
from streams.messages.dimensions import dimension_called
from streams.messages.votes import RANDOM_RULE
from trainers.pairs.seen import hashed
from trainers.pairs.weights import task_of
from trainers.pairs.withdrawn import MODE, is_withdrawal

LONGEST_NAME = 64
"""Characters of a judge's or annotator's name that are used to distinguish them."""


class PairJudgement(NamedTuple):
    """The answer of a person or a judge about two candidates."""

    candidates: str
    """Hash of both candidates."""
    first: bool | None
    """Whether the one that sorts first is preferred; None for a tie."""
    judge: str | None
    """The judge's name; None for a person."""
    annotator: str = ""
    """The person's name, if given."""


def dimension_of(pair: PreferencePair) -> str:
    """What the label judges; empty for overall quality."""
    return dimension_called(pair.dimension)


def judge_of(pair: PreferencePair) -> str:
    """The judge that gave a proxy label, in at most ``LONGEST_NAME`` characters."""
    return _named(str(pair.meta.get("judge", "")))


def annotator_of(pair: PreferencePair) -> str:
    """The person who gave the label (``meta["annotator"]``), in at most ``LONGEST_NAME`` characters."""
    annotator = pair.meta.get("annotator")
    return "" if annotator is None else _named(str(annotator))


def _named(name: str) -> str:
    """The name; a long one becomes its beginning and a hash, so that two long names stay distinct."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 17]}…{hashed(name)}"


def judgement_of(pair: PreferencePair) -> PairJudgement | None:
    """A pair's information about judges and people; None if neither labelled it."""
    if pair.label_source == "human":
        return PairJudgement(*_candidates(pair), None, annotator_of(pair))
    if pair.label_source == "proxy":
        return PairJudgement(*_candidates(pair), judge_of(pair))
    return None


def is_asked_for(pair: PreferencePair) -> bool:
    """Whether two candidates were shown to a person because of a model's beliefs about them.

    Such an answer is as correct as any other. But it is not representative of the model's quality: pairs that
    the model is unsure about are hard, so its accuracy on them, and that of judges, differs from that on all.
    """
    rule = pair.meta.get("rule") if pair.meta.get("mode") == MODE else None
    return bool(rule) and rule != RANDOM_RULE


def lacks_a_text(pair: PreferencePair) -> bool:
    """Whether one of the two prompts is empty or only white space."""
    return not (pair.chosen_prompt.strip() and pair.rejected_prompt.strip())


def fact_of(pair: PreferencePair, judgement: PairJudgement | None) -> str:
    """Identifies a repeated statement; another person's, or a different answer, is another fact."""
    if is_withdrawal(pair):
        return f"{pair.pair_id}\0withdrawn"
    if judgement is None:
        return pair.pair_id
    _, first, judge, annotator = judgement
    return f"{pair.pair_id}\0{annotator if judge is None else judge}\0{first}"


def _candidates(pair: PreferencePair) -> tuple[str, bool | None]:
    """Hash of the two candidates, independent of the preference, and whether the one that sorts first won."""
    chosen = _side(pair.chosen_artifact, pair.chosen_prompt, pair.chosen_critics)
    rejected = _side(pair.rejected_artifact, pair.rejected_prompt, pair.rejected_critics)
    if "chosen_run_id" in pair.meta:  # from two runs, whose videos may have the same name
        chosen = f"{pair.meta['chosen_run_id']}\0{chosen}"
        rejected = f"{pair.meta.get('rejected_run_id')}\0{rejected}"
    both = "\0".join((task_of(pair), *sorted((chosen, rejected))))
    return hashed(both), None if pair.tie else chosen <= rejected


def _side(artifact: str, prompt: str, critics: Mapping[str, float | None]) -> str:
    """The side's video; if none is named, its prompt and scores."""
    if artifact:
        return artifact
    return prompt + "\0" + orjson.dumps(dict(critics), option=orjson.OPT_SORT_KEYS).decode()
