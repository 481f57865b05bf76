"""A new checkpoint against the one before: fair, and honest about failures."""

from __future__ import annotations

from pathlib import Path

from runner.critics.pixel import default_critics
from runner.finetune.comparison import NEW, OLD, PairedTask, compare
from runner.finetune.tasks import simulated
from runner.interfaces import Generation, GenerationFailed, WorldModel
from runner.worlds.simulated import SimulatedWorld
from runner.worlds.simulated_checkpoint import CHECKPOINT, FAILURES, WorldCheckpoint, encode_checkpoint
from tests.runner.fakes import FilmWorld, ScriptedCritic, snapshot

GOAL = "move the red cube to the blue bowl"
TASKS = [PairedTask(GOAL, 1), PairedTask("move the green ball to the red bowl", 2)]


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


def test_the_better_checkpoint_wins_and_the_worse_one_loses(tmp_path: Path) -> None:
    better, worse = checkpoint(tmp_path / "better", -1.0), checkpoint(tmp_path / "worse", 1.0)
    for new, old, result in ((better, worse, 1.0), (worse, better, 0.0)):
        made = compare(
            {OLD: old, NEW: new}, TASKS, simulated, default_critics(), None, tmp_path / f"of-{result}"
        )
        assert [pair.by_critics for pair in made] == [result, result]
        assert all(abs(pair.by_count - result) < 0.5 for pair in made)


def test_a_checkpoint_against_itself_ties_by_critics_and_by_reward(tmp_path: Path) -> None:
    reward = snapshot({"blur.quality": 2.0})
    made = compare({OLD: "", NEW: ""}, TASKS, simulated, default_critics(), reward, tmp_path)
    assert [(pair.by_critics, pair.by_count, pair.by_reward) for pair in made] == [(0.5, 0.5, 0.5)] * 2


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
        assert (pair.by_critics, pair.by_count, pair.by_reward) == (result, result, result)
        assert set(pair.errors.values()) == {"out of memory"}


class Flaky:
    """A checkpoint whose videos fail from the first on, or as the calls say."""

    name = "flaky"

    def __init__(self, *works: bool) -> None:
        self.works = works
        self.calls = 0

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        self.calls += 1
        if self.calls > len(self.works) or not self.works[self.calls - 1]:
            raise GenerationFailed(f"failure {self.calls}")
        return FilmWorld().generate(prompt, seed=seed, out_dir=out_dir)


def test_a_checkpoint_that_fails_again_and_again_is_not_tried_any_more_and_loses(tmp_path: Path) -> None:
    flaky, tasks = Flaky(True), [PairedTask(GOAL, seed) for seed in range(5)]

    def compared(folder: str, n: int) -> list[dict[str, str]]:
        made = compare(
            {OLD: "", NEW: "new"},
            tasks[:n],
            lambda checkpoint, task: flaky if checkpoint else FilmWorld(),
            [ScriptedCritic({"a": 0.5})],
            None,
            tmp_path / folder,
            max_failures=2,
        )
        return [pair.errors for pair in made]

    given_up = {NEW: "not tried, as 2 before failed; at last: failure 3"}
    expected = [{}, {NEW: "failure 2"}, {NEW: "failure 3"}, given_up, given_up]
    assert compared("a", 4) == expected[:4]
    assert compared("a", 5) == expected  # also when it goes on
    assert flaky.calls == 3


def test_failures_with_a_video_between_them_end_nothing(tmp_path: Path) -> None:
    flaky, tasks = Flaky(False, False, True, False, False), [PairedTask(GOAL, seed) for seed in range(5)]
    compare(
        {OLD: "", NEW: "new"},
        tasks,
        lambda checkpoint, task: flaky if checkpoint else FilmWorld(),
        [ScriptedCritic({"a": 0.5})],
        None,
        tmp_path,
        max_failures=3,
    )
    assert flaky.calls == 5


def test_a_score_that_is_missing_raises_no_checkpoint(tmp_path: Path) -> None:
    """By its mean alone the new one would win, with .8 against .5."""
    critic = ScriptedCritic({"a": 0.9, "b": 0.1}, {"a": 0.8, "b": None})
    (pair,) = compare({OLD: "", NEW: ""}, TASKS[:1], lambda *_: FilmWorld(), [critic], None, tmp_path)
    assert (pair.by_critics, pair.by_count) == (0.0, 0.0)


def test_what_is_finished_is_not_made_again(tmp_path: Path) -> None:
    first = compare({OLD: "", NEW: ""}, TASKS[:1], simulated, default_critics(), None, tmp_path)

    def none_is_wanted(name: str, task: PairedTask) -> WorldModel:
        assert task == TASKS[1]
        return simulated(name, task)

    both = compare({OLD: "", NEW: ""}, TASKS, none_is_wanted, default_critics(), None, tmp_path)
    assert both[:1] == first
    assert len(both) == 2
