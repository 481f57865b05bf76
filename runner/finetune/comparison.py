"""A new checkpoint against the one before: the same tasks and seeds, and which one wins each.

Of each task and seed both make a video of the plain goal, and both are judged by the same critics.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from runner.interfaces import AnyCritic, Generation, GenerationFailed, WorldModel
from runner.loop.candidate import CandidateSpec, make_candidates
from streams.fail_points import reach
from streams.files import write_atomically
from streams.messages.contracts import RewardSnapshot, TraceEvent
from trainers.bradley_terry.features import of_events
from trainers.bradley_terry.reward import prob_prefer

NEW, OLD = "new", "old"


@dataclass(frozen=True, slots=True)
class PairedTask:
    """Something that both checkpoints make a video of; the seed is the generator's."""

    goal: str
    seed: int
    image: str = ""
    """Path of the first frame, where there is one."""


WorldOf = Callable[[str, PairedTask], WorldModel]
"""A checkpoint's folder (empty for the model as it was made) and a task to the world model."""


class PairResult(msgspec.Struct, frozen=True):
    """1 where the new checkpoint won, 0 where the old one did, ½ for neither."""

    goal: str
    seed: int
    by_critics: float
    """By the critics' mean over the scores that both have."""
    by_count: float
    """In [0, 1]: the share of the critics' scores in which the new one is higher, ties counting half."""
    by_reward: float | None
    """None without a reward snapshot."""
    errors: dict[str, str]
    """By side; empty where both videos could be judged."""


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
) -> list[PairResult]:
    """Make and judge both videos of every task, into ``folder``; ``checkpoints`` are those of OLD and NEW.

    What an earlier call has finished there is not made again. After ``max_failures`` videos of one side that
    failed in a row, the rest of that side is not tried, and has failed, too.
    """
    results: list[PairResult] = []
    for number, task in enumerate(tasks):
        of_task = folder / f"{number:04d}"
        done = _read(of_task / "result.json", task)
        if done is None:
            made = {}
            for side, checkpoint in checkpoints.items():
                given_up = _given_up(side, results, max_failures)
                world = world_of(checkpoint, task) if given_up is None else given_up
                made[side] = _made(world, critics, task, of_task / side)
            done = _result(task, made[NEW], made[OLD], snapshot)
            write_atomically(of_task / "result.json", msgspec.json.encode(done))
            reach("finetune.pair-judged")
        results.append(done)
        on_pair(len(results), len(tasks))
    return results


class _GivenUp:
    """Stands for a checkpoint that made no video again and again."""

    def __init__(self, why: str) -> None:
        self.name = "given up"
        self._why = why

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        raise GenerationFailed(self._why)


def _given_up(side: str, results: Sequence[PairResult], max_failures: int) -> _GivenUp | None:
    in_a_row = 0
    for result in results:
        in_a_row = in_a_row + 1 if side in result.errors else 0
        if in_a_row == max_failures:
            return _GivenUp(f"not tried, as {max_failures} before failed; at last: {result.errors[side]}")
    return None


def _made(world: WorldModel, critics: Sequence[AnyCritic], task: PairedTask, folder: Path) -> TraceEvent:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    meta = {"run_id": folder.name, "goal_instruction": task.goal, "context": {"world_model": world.name}}
    wanted = CandidateSpec(idx=0, prompt=task.goal, seed=task.seed, meta=meta)
    (event,) = make_candidates(world, critics, task.goal, [wanted], folder)
    return event


def _result(
    task: PairedTask, new: TraceEvent, old: TraceEvent, snapshot: RewardSnapshot | None
) -> PairResult:
    errors = {
        side: str(event.meta["error"])
        for side, event in ((NEW, new), (OLD, old))
        if event.overall_score is None
    }
    judged = 0.5 + 0.5 * (OLD in errors) - 0.5 * (NEW in errors) if errors else None
    shared = _shared(new.critic_scores(), old.critic_scores())
    by_reward = None
    if snapshot is not None:
        by_reward = judged if judged is not None else _win(prob_prefer(snapshot, of_events(new, old)), 0.5)
    return PairResult(
        goal=task.goal,
        seed=task.seed,
        by_critics=judged if judged is not None else _by_mean(shared),
        by_count=judged if judged is not None else _by_count(shared),
        by_reward=by_reward,
        errors=errors,
    )


def _shared(new: Mapping[str, float | None], old: Mapping[str, float | None]) -> list[tuple[float, float]]:
    """The scores that both have: one that is missing must raise neither."""
    return [(a, b) for name, a in new.items() if a is not None and (b := old.get(name)) is not None]


def _by_mean(shared: Sequence[tuple[float, float]]) -> float:
    return _win(math.fsum(a for a, _ in shared), math.fsum(b for _, b in shared))


def _by_count(shared: Sequence[tuple[float, float]]) -> float:
    wins = [_win(a, b) for a, b in shared]
    return math.fsum(wins) / len(wins) if wins else 0.5


def _win(new: float, old: float) -> float:
    return 0.5 + 0.5 * (new > old) - 0.5 * (new < old)


def _read(path: Path, task: PairedTask) -> PairResult | None:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=PairResult)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if (found.goal, found.seed) == (task.goal, task.seed) else None
