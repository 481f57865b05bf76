"""A new checkpoint against the one before: the same tasks and seeds, and who wins how often.

Of each task and seed both make a video of the plain goal, and both are judged by the same critics. A task's
result is the share of its seeds that the new one wins, ties counting half. The interval is Wilson's score
interval for a proportion (1927) with as many observations as there are tasks: shares between 0 and 1 vary
no more than wins and losses do, so it errs on the side of the old checkpoint.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from runner.candidate import Wanted, make_candidates
from runner.interfaces import AnyCritic, WorldModel
from streams.fail_points import reach
from streams.files import write_atomically
from streams.messages.contracts import RewardSnapshot, TraceEvent
from trainers.bradley_terry import prob_prefer
from trainers.features import of_events

NEW, OLD = "new", "old"
_Z = 1.959963984540054


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
    by_reward: float | None
    """None without a reward snapshot."""
    errors: dict[str, str]
    """By side; empty where both videos could be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WinRate:
    """Of the new checkpoint."""

    rate: float
    ci95: tuple[float, float]
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the new checkpoint takes the old one's place, and why."""

    promote: bool
    statement: str
    by_reward: WinRate | None
    by_critics: WinRate

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def win_rate(results: Sequence[tuple[str, float]]) -> WinRate:
    """Of (goal, result) of pairs; pairs of one goal are one observation. Without any, all is possible."""
    by_goal: dict[str, list[float]] = {}
    for goal, result in results:
        by_goal.setdefault(goal, []).append(result)
    n = len(by_goal)
    if not n:
        return WinRate(rate=0.5, ci95=(0.0, 1.0), tasks=0)
    rate = math.fsum(math.fsum(of) / len(of) for of in by_goal.values()) / n
    shrunk = 1.0 + _Z * _Z / n
    middle = (rate + _Z * _Z / (2 * n)) / shrunk
    half = _Z / shrunk * math.sqrt(rate * (1.0 - rate) / n + (_Z / (2 * n)) ** 2)
    return WinRate(rate=rate, ci95=(max(0.0, middle - half), min(1.0, middle + half)), tasks=n)


def judge(version: int, pairs: Sequence[PairResult]) -> Verdict:
    """Promoted if the interval of the win rate is wholly above ½.

    By the reward, where there is one, and then the critics' mean must not be shown to object (its interval
    wholly below ½); else by the critics' mean.
    """
    by_critics = win_rate([(pair.goal, pair.by_critics) for pair in pairs])
    rewards = [(pair.goal, pair.by_reward) for pair in pairs if pair.by_reward is not None]
    by_reward = win_rate(rewards) if rewards else None
    decides, named = (by_reward, "the reward") if by_reward is not None else (by_critics, "the critics' mean")
    wins = decides.ci95[0] > 0.5
    objects = by_critics.ci95[1] < 0.5
    told = f"by {named} it wins {_said(decides)} of {decides.tasks} tasks"
    if by_reward is not None:
        told += f", by the critics' mean {_said(by_critics)}"
    verb = "takes the place of the one before" if wins and not objects else "does not take its place"
    why = "" if wins else "; an interval above one half is needed"
    if wins and objects:
        why = "; the critics' mean is shown to prefer the one before"
    return Verdict(
        promote=wins and not objects,
        statement=f"Version {version} {verb}: {told}{why}.",
        by_reward=by_reward,
        by_critics=by_critics,
    )


def compare(
    checkpoints: dict[str, str],
    tasks: Sequence[PairedTask],
    world_of: WorldOf,
    critics: Sequence[AnyCritic],
    snapshot: RewardSnapshot | None,
    folder: Path,
    on_pair: Callable[[int, int], None] = lambda done, total: None,
) -> list[PairResult]:
    """Make and judge both videos of every task, into ``folder``; ``checkpoints`` are those of OLD and NEW.

    What an earlier call has finished there is not made again.
    """
    results = []
    for number, task in enumerate(tasks):
        of_task = folder / f"{number:04d}"
        done = _read(of_task / "result.json", task)
        if done is None:
            made = {
                side: _made(world_of(checkpoint, task), critics, task, of_task / side)
                for side, checkpoint in checkpoints.items()
            }
            done = _result(task, made[NEW], made[OLD], snapshot)
            write_atomically(of_task / "result.json", msgspec.json.encode(done))
            reach("finetune.pair-judged")
        results.append(done)
        on_pair(len(results), len(tasks))
    return results


def _made(world: WorldModel, critics: Sequence[AnyCritic], task: PairedTask, folder: Path) -> TraceEvent:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    meta = {"run_id": folder.name, "goal_instruction": task.goal, "context": {"world_model": world.name}}
    wanted = Wanted(idx=0, prompt=task.goal, seed=task.seed, meta=meta)
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
    by_reward = None
    if snapshot is not None:
        by_reward = judged if judged is not None else _win(prob_prefer(snapshot, of_events(new, old)), 0.5)
    return PairResult(
        goal=task.goal,
        seed=task.seed,
        by_critics=judged if judged is not None else _win(new.overall_score or 0.0, old.overall_score or 0.0),
        by_reward=by_reward,
        errors=errors,
    )


def _win(new: float, old: float) -> float:
    return 0.5 + 0.5 * (new > old) - 0.5 * (new < old)


def _read(path: Path, task: PairedTask) -> PairResult | None:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=PairResult)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if (found.goal, found.seed) == (task.goal, task.seed) else None


def _said(rate: WinRate) -> str:
    return f"{rate.rate:.0%} [{rate.ci95[0]:.0%}, {rate.ci95[1]:.0%}]"
