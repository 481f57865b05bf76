"""A new checkpoint against the one before: fair, honest about failures, and slow to promote."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.critics.pixel import default_critics
from runner.finetune.comparison import NEW, OLD, PairedTask, PairResult, compare, judge, win_rate
from runner.finetune.tasks import simulated
from runner.interfaces import Generation, GenerationFailed, WorldModel
from runner.worlds.simulated import SimulatedWorld
from runner.worlds.simulated_checkpoint import CHECKPOINT, FAILURES, WorldCheckpoint, encode_checkpoint
from tests.runner.fakes import snapshot

GOAL = "move the red cube to the blue bowl"
TASKS = [PairedTask(GOAL, 1), PairedTask("move the green ball to the red bowl", 2)]


def pairs(wins: int, losses: int, ties: int = 0, *, by_reward: float | None = None) -> list[PairResult]:
    results = [1.0] * wins + [0.0] * losses + [0.5] * ties
    return [PairResult(f"goal {n}", n, result, by_reward, {}) for n, result in enumerate(results)]


def checkpoint(folder: Path, shift: float) -> str:
    folder.mkdir()
    shifts = dict.fromkeys(FAILURES, shift)
    (folder / CHECKPOINT).write_bytes(encode_checkpoint(WorldCheckpoint(shifts=shifts, videos=1)))
    return str(folder)


class Broken:
    """A world model that makes no video."""

    name = "broken"

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        raise GenerationFailed("out of memory")


def test_the_interval_is_wilsons() -> None:
    # 8 of 10: 0.490 to 0.943 (Wilson 1927; also in Brown, Cai and DasGupta 2001).
    rate = win_rate([(str(n), float(n < 8)) for n in range(10)])
    assert rate.rate == pytest.approx(0.8)
    assert rate.ci95 == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_more_seeds_of_a_task_are_no_more_tasks() -> None:
    assert win_rate([("a", 1.0), ("b", 1.0)]) == win_rate([("a", 1.0)] * 50 + [("b", 1.0)] * 50)


def test_nothing_compared_shows_nothing() -> None:
    assert win_rate([]).ci95 == (0.0, 1.0)


@pytest.mark.parametrize(
    ("wins", "losses", "promoted"), [(4, 0, True), (3, 0, False), (8, 2, False), (16, 4, True), (0, 9, False)]
)
def test_it_is_promoted_only_if_the_interval_is_above_one_half(
    wins: int, losses: int, promoted: bool
) -> None:
    assert judge(1, pairs(wins, losses)).promote is promoted


def test_checkpoints_that_are_the_same_stay_where_they_are() -> None:
    verdict = judge(3, pairs(0, 0, ties=200))
    assert (verdict.promote, verdict.by_critics.rate) == (False, 0.5)
    assert verdict.statement.startswith("Version 3 does not take its place: by the critics' mean it wins 50%")


def test_with_a_reward_the_reward_decides_unless_the_critics_object() -> None:
    assert judge(1, pairs(5, 5, by_reward=1.0)).promote
    assert not judge(1, pairs(10, 0, by_reward=0.5)).promote
    objected = judge(1, pairs(0, 10, by_reward=1.0))
    assert not objected.promote
    assert "the critics' mean is shown to prefer the one before" in objected.statement


def test_the_better_checkpoint_wins_and_the_worse_one_loses(tmp_path: Path) -> None:
    better, worse = checkpoint(tmp_path / "better", -1.0), checkpoint(tmp_path / "worse", 1.0)
    for new, old, result in ((better, worse, 1.0), (worse, better, 0.0)):
        made = compare(
            {OLD: old, NEW: new}, TASKS, simulated, default_critics(), None, tmp_path / f"of-{result}"
        )
        assert [pair.by_critics for pair in made] == [result, result]


def test_a_checkpoint_against_itself_ties_by_critics_and_by_reward(tmp_path: Path) -> None:
    reward = snapshot({"blur.quality": 2.0})
    made = compare({OLD: "", NEW: ""}, TASKS, simulated, default_critics(), reward, tmp_path)
    assert [(pair.by_critics, pair.by_reward) for pair in made] == [(0.5, 0.5)] * 2


def test_the_reward_judges_by_what_it_weighs(tmp_path: Path) -> None:
    better = checkpoint(tmp_path / "better", -1.0)
    against = snapshot({"blur.quality": -2.0})
    made = compare(
        {OLD: "", NEW: better}, TASKS, simulated, default_critics(), against, tmp_path / "comparison"
    )
    assert [(pair.by_critics, pair.by_reward) for pair in made] == [(1.0, 0.0)] * 2


def test_a_failed_generation_loses_and_two_of_them_tie(tmp_path: Path) -> None:
    def world_of(name: str, task: PairedTask) -> WorldModel:
        return Broken() if name == "broken" else SimulatedWorld(task.goal, task.seed)

    critics, reward = default_critics(), snapshot({"blur.quality": 2.0})
    for old, new, result in (("", "broken", 0.0), ("broken", "", 1.0), ("broken", "broken", 0.5)):
        folder = tmp_path / f"{old}-{new}"
        (pair,) = compare({OLD: old, NEW: new}, TASKS[:1], world_of, critics, reward, folder)
        assert (pair.by_critics, pair.by_reward) == (result, result)
        assert set(pair.errors.values()) == {"out of memory"}


def test_what_is_finished_is_not_made_again(tmp_path: Path) -> None:
    first = compare({OLD: "", NEW: ""}, TASKS[:1], simulated, default_critics(), None, tmp_path)

    def none_is_wanted(name: str, task: PairedTask) -> WorldModel:
        assert task == TASKS[1]
        return simulated(name, task)

    both = compare({OLD: "", NEW: ""}, TASKS, none_is_wanted, default_critics(), None, tmp_path)
    assert both[:1] == first
    assert len(both) == 2
