"""Several ways to choose pairs for votes, measured on the same splits of judged pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from runner.lab.vote_figures import CHECKPOINTS, RuleFigures, vote_figures
from runner.lab.vote_simulation import ANY_PAIR, ASKABLE, LearningCurve, Split, VotePlan, run_votes
from streams.errors import BadInput
from streams.messages.contracts import PreferencePair

RULES = ASKABLE


@dataclass(frozen=True, slots=True)
class Arm:
    """A way to choose pairs, and its name in tables."""

    name: str
    plan: VotePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteExperimentFigures:
    """Figures of each arm; its curves are measured after the numbers of votes in ``checkpoints``."""

    pairs: int
    tasks: int
    ties: int
    repetitions: int
    checkpoints: tuple[int, ...]
    figures: Mapping[Arm, RuleFigures]


def arms_of(
    rules: Sequence[str], flips: Sequence[float], shares: Sequence[float | None], votes: int
) -> list[Arm]:
    """Every rule with every error rate, and with every share of random votes unless it is random itself.

    The share None is the live chooser's, which rises. Random votes are always included, with each error rate,
    because the others are compared with them.
    """
    wanted = dict.fromkeys([ANY_PAIR, *rules])
    return [
        Arm(_name(rule, share, flip), VotePlan(rule=rule, random_share=share, flips=flip, votes=votes))
        for flip in dict.fromkeys(flips)
        for rule in wanted
        for share in ([0.0] if rule == ANY_PAIR else dict.fromkeys(shares))
    ]


def measure_votes(
    pairs: Sequence[PreferencePair],
    arms: Sequence[Arm],
    *,
    seeds: range,
    on_progress: Callable[[int], None] = lambda _: None,
) -> VoteExperimentFigures:
    """One repetition per seed. ``on_progress`` is called for each arm of each.

    Raises BadInput if nothing can be measured.
    """
    checkpoints = tuple(votes for votes in CHECKPOINTS if votes <= max(arm.plan.votes for arm in arms))
    courses: dict[Arm, list[LearningCurve]] = {arm: [] for arm in arms}
    for seed in seeds:
        split = Split.of(pairs, seed)
        for arm, of in courses.items():
            of.append(run_votes(split, arm.plan, checkpoints, seed))
            on_progress(1)
    reached = min(_reached(course) for of in courses.values() for course in of)
    if reached == 0:
        raise BadInput(
            f"the votes end before the first figure, after {CHECKPOINTS[0]} votes; give more --votes, or "
            "more pairs"
        )
    shorter = {arm: [_cut(course, reached) for course in of] for arm, of in courses.items()}
    found: dict[Arm, RuleFigures] = {}
    for flip in dict.fromkeys(arm.plan.flips for arm in arms):
        of_flip = {arm: of for arm, of in shorter.items() if arm.plan.flips == flip}
        random = next(arm for arm in of_flip if arm.plan.rule == ANY_PAIR)
        found |= vote_figures(of_flip, random, checkpoints[:reached])
    return VoteExperimentFigures(
        pairs=len(pairs),
        tasks=len({pair.task_id for pair in pairs}),
        ties=sum(pair.tie for pair in pairs),
        repetitions=len(seeds),
        checkpoints=checkpoints[:reached],
        figures=found,
    )


def _name(rule: str, share: float | None, flips: float) -> str:
    name = rule
    if share is None:
        name += ", rising share"
    elif share:
        name += f", {share:.0%} random"
    return f"{name}, {flips:.0%} wrong" if flips else name


def _reached(course: LearningCurve) -> int:
    return sum(loss is not None for loss in course.log_losses)


def _cut(course: LearningCurve, reached: int) -> LearningCurve:
    return LearningCurve(course.log_losses[:reached], course.picked[:reached], course.gate_opened_at)
