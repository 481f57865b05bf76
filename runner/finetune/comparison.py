"""Compares a new checkpoint with the one before on the same tasks and seeds, and finds the winner of each.

For each task and seed, both make a video of the plain goal, and the same critics judge both.

A pair decides nothing if one of its videos was not made, if a critic failed on one of them, or if no score is
known of both. It is left out: a failed program is no evidence about a checkpoint. A critic that
did not see in one video what it saw in the other has judged, and its score is 0.

*The null hypothesis where pairs are left out.* Which pairs fail may depend on the checkpoints, and on how
they would have done there. So the evidence is about results *given that their pairs could be compared*: given
which could be, the results are independent, and the mean of the tasks' expected results is at most m. Stakes,
stops and further tries depend on which pairs failed, and never on a result, so for this null the bound on the
error holds whatever makes pairs fail (``runner.finetune.evidence``). It says less about the planned pairs: if
the new checkpoint would have lost all that are left out, its win rate would be lower by at most their share.
So no more than ``MOST_LEFT_OUT`` may be left out; otherwise there is no verdict.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from runner.interfaces import AnyCritic, WorldModel
from runner.loop.candidate import CandidateSpec, make_candidates
from streams.errors import BadInput
from streams.fail_points import reach
from streams.files import write_atomically
from streams.messages.contracts import RewardSnapshot, TraceEvent
from streams.messages.no_score import critic_failed, names_not_seen, why_failed
from trainers.bradley_terry.features import of_events
from trainers.bradley_terry.reward import prob_prefer

NEW, OLD = "new", "old"
MOST_LEFT_OUT = Fraction(1, 5)
"""Largest share of the planned pairs that a verdict can do without."""
_PAIR, _WHOLE = "result.json", "comparison.json"


@dataclass(frozen=True, slots=True)
class PairedTask:
    """A prompt and a generator's seed from which both checkpoints make a video."""

    goal: str
    seed: int
    image: str = ""
    """Path of the first frame, or empty."""


WorldOf = Callable[[str, PairedTask], WorldModel]
"""Maps a checkpoint's folder (empty for the original model) and a task to the world model."""


class PairResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Results of a pair: 1 if the new checkpoint won, 0 if the old one did, ½ for a tie."""

    goal: str
    seed: int
    by_critics: float
    """Result by the critics' mean, over the scores that both have."""
    by_count: float
    """Fraction in [0, 1] of the critics' scores that are higher for the new one; ties count half."""
    by_reward: float | None
    """Result by the reward; None without a snapshot."""


class FailedPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pair that could not be compared, and so decides nothing."""

    goal: str
    seed: int
    side: str
    """OLD or NEW, whose video was not made or judged; empty if no score is known of both."""
    reason: str

    def __str__(self) -> str:
        return f"the {self.side} checkpoint: {self.reason}" if self.side else self.reason


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All planned pairs: those that could be compared, and the others."""

    pairs: tuple[PairResult, ...]
    failed: tuple[FailedPair, ...] = ()

    def keys(self) -> set[tuple[str, int]]:
        """Goal and seed of each planned pair."""
        return {(p.goal, p.seed) for p in self.pairs} | {(p.goal, p.seed) for p in self.failed}


class ComparisonFailed(Exception):
    """Too few pairs could be compared; the message says why. Trying again may help."""


def compare(
    checkpoints: dict[str, str],
    tasks: Sequence[PairedTask],
    world_of: WorldOf,
    critics: Sequence[AnyCritic],
    snapshot: RewardSnapshot | None,
    folder: Path,
    on_pair: Callable[[int, int], None] = lambda done, total: None,
    *,
    max_failures: int = 3,
) -> Comparison:
    """Make and judge both videos of every task in ``folder``; ``checkpoints`` maps OLD and NEW to theirs.

    A pair that an earlier call has compared there is reused, and one that failed is tried again; a comparison
    that has succeeded stays as it is. Raises ComparisonFailed after ``max_failures`` failed pairs in a row,
    and if more than ``MOST_LEFT_OUT`` of all pairs failed.
    """
    whole = _read(folder / _WHOLE, Comparison)
    if whole is not None and whole.keys() == {(task.goal, task.seed) for task in tasks}:
        return whole
    pairs: list[PairResult] = []
    failed: list[FailedPair] = []
    in_a_row = 0
    for number, task in enumerate(tasks):
        of_task = folder / f"{number:04d}"
        result: PairResult | FailedPair | None = _read(of_task / _PAIR, PairResult)
        if result is None or (result.goal, result.seed) != (task.goal, task.seed):
            result = _compared(checkpoints, task, world_of, critics, snapshot, of_task)
            in_a_row = in_a_row + 1 if isinstance(result, FailedPair) else 0
            reach("finetune.pair-judged")
        if isinstance(result, FailedPair):
            failed.append(result)
        else:
            pairs.append(result)
        if in_a_row == max_failures:
            raise ComparisonFailed(f"{in_a_row} pairs of videos in a row could not be compared; {result}")
        on_pair(number + 1, len(tasks))
    if len(failed) > MOST_LEFT_OUT * len(tasks):
        raise ComparisonFailed(
            f"{len(failed)} of {len(tasks)} pairs of videos could not be compared, and at most "
            f"{float(MOST_LEFT_OUT):.0%} may be left out; the first: {failed[0]}"
        )
    comparison = Comparison(tuple(pairs), tuple(failed))
    write_atomically(folder / _WHOLE, msgspec.json.encode(comparison))
    return comparison


def _compared(
    checkpoints: Mapping[str, str],
    task: PairedTask,
    world_of: WorldOf,
    critics: Sequence[AnyCritic],
    snapshot: RewardSnapshot | None,
    folder: Path,
) -> PairResult | FailedPair:
    """The result of one pair; the second video is not tried if the first one fails."""
    made: dict[str, TraceEvent] = {}
    for side, checkpoint in checkpoints.items():
        try:
            made[side] = _made(world_of(checkpoint, task), critics, task, folder / side)
        except BadInput as error:  # what is in its folder is no checkpoint
            return FailedPair(task.goal, task.seed, side, str(error))
        if why := _why_not_judged(made[side]):
            return FailedPair(task.goal, task.seed, side, why)
    result = _result(task, made[NEW], made[OLD], snapshot)
    if result is None:
        return FailedPair(task.goal, task.seed, "", "the critics gave no score that both videos have")
    write_atomically(folder / _PAIR, msgspec.json.encode(result))
    return result


def _made(world: WorldModel, critics: Sequence[AnyCritic], task: PairedTask, folder: Path) -> TraceEvent:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    meta = {"run_id": folder.name, "goal_instruction": task.goal, "context": {"world_model": world.name}}
    wanted = CandidateSpec(idx=0, prompt=task.goal, seed=task.seed, meta=meta)
    (event,) = make_candidates(world, critics, task.goal, [wanted], folder)
    return event


def _why_not_judged(event: TraceEvent) -> str:
    """Why there is no video, or which critic failed on it; empty if all judged it."""
    if not event.critic_results:
        return str(event.meta["error"])
    failed = [result for result in event.critic_results if critic_failed(result)]
    return f"{failed[0].critic_name} failed: {why_failed(failed[0])}" if failed else ""


def _result(
    task: PairedTask, new: TraceEvent, old: TraceEvent, snapshot: RewardSnapshot | None
) -> PairResult | None:
    """The result; None if no score is known of both, but a tie if neither video shows what a critic seeks."""
    new, old = _with_losses(new, old), _with_losses(old, new)
    shared = _shared(new.critic_scores(), old.critic_scores())
    if not shared and not names_not_seen(new.critic_results) & names_not_seen(old.critic_results):
        return None
    return PairResult(
        goal=task.goal,
        seed=task.seed,
        by_critics=_by_mean(shared),
        by_count=_by_count(shared),
        by_reward=_win(prob_prefer(snapshot, of_events(new, old)), 0.5) if snapshot is not None else None,
    )


def _with_losses(event: TraceEvent, other: TraceEvent) -> TraceEvent:
    """The event with a score of 0 where a critic did not see what it saw in the other video."""
    there = other.critic_scores()
    lost = {name for name in names_not_seen(event.critic_results) if there.get(name) is not None}
    results = [
        replace(
            result,
            scores={
                mode: 0.0 if score is None and f"{result.critic_name}.{mode}" in lost else score
                for mode, score in result.scores.items()
            },
        )
        for result in event.critic_results
    ]
    return replace(event, critic_results=tuple(results))


def _shared(new: Mapping[str, float | None], old: Mapping[str, float | None]) -> list[tuple[float, float]]:
    """Scores that both videos have, so that a missing one raises neither."""
    return [(a, b) for name, a in new.items() if a is not None and (b := old.get(name)) is not None]


def _by_mean(shared: Sequence[tuple[float, float]]) -> float:
    return _win(math.fsum(a for a, _ in shared), math.fsum(b for _, b in shared))


def _by_count(shared: Sequence[tuple[float, float]]) -> float:
    wins = [_win(a, b) for a, b in shared]
    return math.fsum(wins) / len(wins) if wins else 0.5


def _win(new: float, old: float) -> float:
    return 0.5 + 0.5 * (new > old) - 0.5 * (new < old)


_T = TypeVar("_T", bound=msgspec.Struct)


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None
