"""A new checkpoint against the one before: fair, and honest about failures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from runner.critics.opinion import missing
from runner.critics.pixel import default_critics
from runner.finetune.comparison import (
    NEW,
    OLD,
    Comparison,
    ComparisonFailed,
    FailedPair,
    PairedTask,
    compare,
)
from runner.finetune.tasks import simulated
from runner.interfaces import AnyCritic, Frames, WorldModel
from runner.worlds.simulated_checkpoint import CHECKPOINT, FAILURES, WorldCheckpoint, encode_checkpoint
from streams.errors import BadInput
from streams.messages.contracts import CriticResult
from streams.messages.no_score import does_not_apply, not_seen
from tests.runner.fakes import FilmWorld, ScriptedCritic, snapshot

GOAL = "move the red cube to the blue bowl"
TASKS = [PairedTask(GOAL, 1), PairedTask("move the green ball to the red bowl", 2)]


def checkpoint(folder: Path, shift: float) -> str:
    folder.mkdir()
    shifts = dict.fromkeys(FAILURES, shift)
    (folder / CHECKPOINT).write_bytes(encode_checkpoint(WorldCheckpoint(shifts=shifts, videos=1)))
    return str(folder)


class Films:
    """World models of both checkpoints, "old" and "new": each makes a video unless it is told to fail."""

    def __init__(self, *fails: tuple[str, int]) -> None:
        self.fails = set(fails)
        """Checkpoint and seed."""
        self.tried: list[tuple[str, int]] = []

    def __call__(self, checkpoint: str, task: PairedTask) -> WorldModel:
        self.tried.append((checkpoint, task.seed))
        return FilmWorld(fails=(0,) if self.tried[-1] in self.fails else ())


class Says:
    """A critic that gives these results one after the other: of the old video, the new one, and so on."""

    name = "eye"

    def __init__(self, *results: CriticResult) -> None:
        self.results = iter(results)

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        return next(self.results)


SCORED = CriticResult(critic_name="eye", scores={"task": 0.5})
GONE = not_seen("eye", "task", "nothing red at the start")


def films_compared(
    films: Films,
    folder: Path,
    seeds: int = 1,
    critics: Sequence[AnyCritic] = (ScriptedCritic({"a": 0.5}),),
    max_failures: int = 3,
    weighing: str = "",
) -> Comparison:
    return compare(
        {OLD: "old", NEW: "new"},
        [PairedTask(GOAL, seed) for seed in range(seeds)],
        films,
        critics,
        snapshot({weighing: 2.0}) if weighing else None,
        folder,
        max_failures=max_failures,
    )


def test_the_better_checkpoint_wins_and_the_worse_one_loses(tmp_path: Path) -> None:
    better, worse = checkpoint(tmp_path / "better", -1.0), checkpoint(tmp_path / "worse", 1.0)
    for new, old, result in ((better, worse, 1.0), (worse, better, 0.0)):
        made = compare(
            {OLD: old, NEW: new}, TASKS, simulated, default_critics(), None, tmp_path / f"of-{result}"
        )
        assert [pair.by_critics for pair in made.pairs] == [result, result]
        assert all(abs(pair.by_count - result) < 0.5 for pair in made.pairs)


def test_a_checkpoint_against_itself_ties_by_critics_and_by_reward(tmp_path: Path) -> None:
    reward = snapshot({"blur.quality": 2.0})
    made = compare({OLD: "", NEW: ""}, TASKS, simulated, default_critics(), reward, tmp_path)
    assert [(pair.by_critics, pair.by_count, pair.by_reward) for pair in made.pairs] == [(0.5, 0.5, 0.5)] * 2


def test_the_reward_judges_by_what_it_weighs(tmp_path: Path) -> None:
    better = checkpoint(tmp_path / "better", -1.0)
    against = snapshot({"blur.quality": -2.0})
    made = compare(
        {OLD: "", NEW: better}, TASKS, simulated, default_critics(), against, tmp_path / "comparison"
    )
    assert [(pair.by_critics, pair.by_reward) for pair in made.pairs] == [(1.0, 0.0)] * 2


@pytest.mark.parametrize("side", [OLD, NEW])
def test_a_video_that_was_not_made_is_a_win_for_nobody(tmp_path: Path, side: str) -> None:
    made = films_compared(Films((side, 2)), tmp_path, seeds=5)
    assert made.failed == (FailedPair(GOAL, 2, side, "out of memory"),)
    assert [(pair.seed, pair.by_critics) for pair in made.pairs] == [(0, 0.5), (1, 0.5), (3, 0.5), (4, 0.5)]


@pytest.mark.parametrize(
    ("results", "side"), [((missing("eye", "HTTP 503"),), OLD), ((SCORED, missing("eye", "HTTP 503")), NEW)]
)
def test_a_critic_that_failed_on_one_video_is_a_win_for_nobody(
    tmp_path: Path, results: Sequence[CriticResult], side: str
) -> None:
    """Also if the other critics judged both."""
    critics: list[AnyCritic] = [
        ScriptedCritic({"a": 0.1}, {"a": 0.9}, name="other"),
        Says(*results, *[SCORED] * 8),
    ]
    made = films_compared(Films(), tmp_path, seeds=5, critics=critics)
    assert made.failed == (FailedPair(GOAL, 0, side, "eye failed: HTTP 503"),)
    assert len(made.pairs) == 4


def test_a_critic_that_failed_in_part_is_a_win_for_nobody(tmp_path: Path) -> None:
    in_part = CriticResult(critic_name="eye", scores={"task": None, "b": 0.1}, extra={"no_score": "failed"})
    made = films_compared(Films(), tmp_path, seeds=5, critics=[Says(in_part, *[SCORED] * 8)])
    assert [pair.reason for pair in made.failed] == ["eye failed: it says that it failed"]


@pytest.mark.parametrize(("old", "new", "result"), [(GONE, SCORED, 1.0), (SCORED, GONE, 0.0)])
def test_a_video_that_lost_what_the_other_shows_has_lost(
    tmp_path: Path, old: CriticResult, new: CriticResult, result: float
) -> None:
    critics = [Says(old, new)]
    (pair,) = films_compared(Films(), tmp_path, critics=critics, weighing="eye.task").pairs
    assert (pair.by_critics, pair.by_count, pair.by_reward) == (result, result, result)


def test_two_videos_that_do_not_show_what_they_should_tie(tmp_path: Path) -> None:
    (pair,) = films_compared(Films(), tmp_path, critics=[Says(GONE, GONE)], weighing="eye.task").pairs
    assert (pair.by_critics, pair.by_count, pair.by_reward) == (0.5, 0.5, 0.5)


def test_a_score_of_one_video_alone_decides_nothing(tmp_path: Path) -> None:
    says = Says(does_not_apply("eye", "task", "no coloured thing"), *[SCORED] * 9)
    (failed,) = films_compared(Films(), tmp_path, seeds=5, critics=[says]).failed
    assert str(failed) == "the critics gave no score that both videos have"


def test_of_a_checkpoint_that_cannot_be_read_no_pair_is_compared(tmp_path: Path) -> None:
    def world_of(checkpoint: str, task: PairedTask) -> WorldModel:
        if checkpoint == "new":
            raise BadInput("new: has no LoRA")
        return FilmWorld()

    with pytest.raises(ComparisonFailed, match=r"the new checkpoint: new: has no LoRA$"):
        compare({OLD: "old", NEW: "new"}, TASKS, world_of, [ScriptedCritic({"a": 0.5})], None, tmp_path)


def test_after_too_many_failures_in_a_row_no_other_pair_is_tried(tmp_path: Path) -> None:
    films = Films((OLD, 1), (NEW, 2), (OLD, 3))
    said = "^3 pairs of videos in a row could not be compared; the old checkpoint: out of memory$"
    with pytest.raises(ComparisonFailed, match=said):
        films_compared(films, tmp_path, seeds=20)
    # Nor is the second video of a pair whose first one failed.
    assert films.tried == [(OLD, 0), (NEW, 0), (OLD, 1), (OLD, 2), (NEW, 2), (OLD, 3)]


def test_failures_with_a_compared_pair_between_them_end_nothing(tmp_path: Path) -> None:
    made = films_compared(Films((OLD, 0), (OLD, 1), (NEW, 3), (NEW, 4)), tmp_path, seeds=20)
    assert (len(made.pairs), len(made.failed)) == (16, 4)


def test_with_more_than_a_fifth_left_out_nothing_is_decided(tmp_path: Path) -> None:
    fifth = [(NEW, 0), (NEW, 4)]
    assert len(films_compared(Films(*fifth), tmp_path / "fifth", seeds=10).failed) == 2
    said = (
        "^3 of 10 pairs of videos could not be compared, and at most 20% may be left out; the first: the new"
    )
    with pytest.raises(ComparisonFailed, match=said):
        films_compared(Films(*fifth, (OLD, 8)), tmp_path / "more", seeds=10)


def test_failed_pairs_are_tried_again_and_finished_ones_kept(tmp_path: Path) -> None:
    films = Films((OLD, 1), (OLD, 3), (OLD, 4), (OLD, 5))
    with pytest.raises(ComparisonFailed):
        films_compared(films, tmp_path, seeds=7)
    films.fails, films.tried = set(), []
    made = films_compared(films, tmp_path, seeds=7)
    assert (len(made.pairs), made.failed) == (7, ())
    assert films.tried == [(side, seed) for seed in (1, 3, 4, 5, 6) for side in (OLD, NEW)]


def test_kept_pairs_are_no_successes_of_this_call(tmp_path: Path) -> None:
    """The failures in a row are those of what is tried now."""
    films = Films((OLD, 0), (OLD, 2), (OLD, 4))
    for said in ("^3 of 5 pairs of videos could not", "^3 pairs of videos in a row"):
        with pytest.raises(ComparisonFailed, match=said):
            films_compared(films, tmp_path, seeds=5)


def test_a_comparison_that_succeeded_stays_as_it_is(tmp_path: Path) -> None:
    """A pair that was left out of a verdict is no second chance."""
    first = films_compared(Films((OLD, 2)), tmp_path, seeds=5)
    films = Films()
    assert films_compared(films, tmp_path, seeds=5) == first
    assert films.tried == []


def test_what_an_earlier_version_took_for_a_win_is_compared_again(tmp_path: Path) -> None:
    (tmp_path / "0000").mkdir()
    (tmp_path / "0000" / "result.json").write_text(
        f'{{"goal":"{GOAL}","seed":0,"by_critics":1.0,"by_count":1.0,"by_reward":null,'
        '"errors":{"old":"out of memory"}}'
    )
    (pair,) = films_compared(Films(), tmp_path).pairs
    assert pair.by_critics == 0.5


def test_a_score_that_is_missing_raises_no_checkpoint(tmp_path: Path) -> None:
    """By its mean alone the new one would win, with .8 against .5."""
    critic = ScriptedCritic({"a": 0.9, "b": 0.1}, {"a": 0.8, "b": None})
    (pair,) = films_compared(Films(), tmp_path, critics=[critic]).pairs
    assert (pair.by_critics, pair.by_count) == (0.0, 0.0)


def test_what_is_finished_is_not_made_again(tmp_path: Path) -> None:
    first = compare({OLD: "", NEW: ""}, TASKS[:1], simulated, default_critics(), None, tmp_path)

    def none_is_wanted(name: str, task: PairedTask) -> WorldModel:
        assert task == TASKS[1]
        return simulated(name, task)

    both = compare({OLD: "", NEW: ""}, TASKS, none_is_wanted, default_critics(), None, tmp_path)
    assert both.pairs[:1] == first.pairs
    assert len(both.pairs) == 2
