"""Which pair the page shows to whom."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from streams.messages.votes import RANDOM_RULE, Vote
from tests import factories
from tests.pages import run_id, write_runs
from trainers.asking.chooser import SPREAD_RULE
from tribrain.ui.asking import OVERLAP_RULE, REPEAT_RULE, Asked, Asker
from tribrain.ui.ballots import Ballots
from tribrain.ui.folders import FolderWatch
from tribrain.ui.library import Library


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asking")
    write_runs(folder, runs=2, iterations=3)  # 15 pairs of one task
    return folder / "runs"


@pytest.fixture
def library(runs: Path) -> Library:
    made = Library()
    FolderWatch([runs], made).look()
    return made


class Page:
    """Annotators who answer what they are asked."""

    def __init__(self, library: Library, **options: Any) -> None:
        self.ballots = Ballots()
        self.clock = Clock()
        self.asker = Asker(library, self.ballots, lambda: None, seed=3, clock=self.clock, **options)

    def vote(self, annotator: str) -> Asked | None:
        asked = self.asker.next(annotator, "")
        if asked is not None:
            self.ballots.take(answer_to(asked, annotator, str(self.ballots.version)))
        return asked

    def undo(self, asked: Asked | None, annotator: str, vote_id: str) -> None:
        assert asked is not None
        undo = replace(answer_to(asked, annotator, f"undo {vote_id}"), answer=None, takes_back=vote_id)
        self.ballots.take(undo)


def answer_to(asked: Asked, annotator: str, vote_id: str) -> Vote:
    return Vote(
        vote_id=vote_id,
        left_run_id=asked.left[0],
        left_iter_idx=asked.left[1],
        right_run_id=asked.right[0],
        right_iter_idx=asked.right[1],
        answer="left",
        annotator=annotator,
        rule=asked.rule,
    )


def pair(asked: Asked | None) -> frozenset[tuple[str, int]]:
    assert asked is not None
    return frozenset((asked.left, asked.right))


def test_every_pair_is_asked_once_and_then_there_is_none(library: Library) -> None:
    page = Page(library, again_share=0.0)
    assert len({pair(page.vote("Ann")) for _ in range(15)}) == 15
    assert page.vote("Ann") is None


def test_videos_of_two_tasks_are_not_compared(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=2, iterations=3, task="task-{run}")
    library = Library()
    FolderWatch([tmp_path / "runs"], library).look()
    page = Page(library, again_share=0.0)
    asked = [page.vote("Ann") for _ in range(6)]
    assert all(each is not None and each.left[0] == each.right[0] for each in asked)
    assert page.vote("Ann") is None


def test_no_pair_spans_two_models_of_a_trainer_with_one_for_each_value(tmp_path: Path) -> None:
    library = Library()
    write_runs(tmp_path)
    for run, world in enumerate(("dit-2b", "dit-2b", "wan-14b")):
        event = factories.event(0, 0.5, run_id=str(run), context={"world_model": world})
        # The other runs' videos serve as theirs.
        library.place(event.run_id, tmp_path / "runs" / "secret-folder-0")
        library.take(replace(event, artifact_path="iter_00/video.mp4"), 1)
    assert pair(Page(library, model_by="world_model").vote("Ann")) == {("0", 0), ("1", 0)}
    apart = Page(library, model_by="world_model", again_share=0.0)
    assert [apart.vote("Ann") is None for _ in range(2)] == [False, True]
    together = Page(library, again_share=0.0)
    assert [together.vote("Ann") is None for _ in range(4)] == [False, False, False, True]


def test_who_comes_second_is_asked_what_others_were_once_nothing_is_new(library: Library) -> None:
    page = Page(library, again_share=0.0)
    for _ in range(15):
        page.vote("Ann")
    page.clock.now_s += 3600
    asked = page.vote("Bob")
    assert asked is not None
    assert asked.rule == OVERLAP_RULE


def test_what_one_has_on_the_stage_nobody_else_gets(library: Library) -> None:
    page = Page(library, again_share=0.0)
    shown = [page.asker.next(name, "") for name in "abcdefghijklmno"]
    assert len({pair(each) for each in shown}) == 15
    assert page.asker.next("p", "") is None


def test_a_pair_that_was_left_on_the_stage_is_asked_again_after_a_while(library: Library) -> None:
    page = Page(library, again_share=0.0)
    for _ in range(15):
        page.asker.next("Ann", "")
    page.clock.now_s += 601.0
    assert page.asker.next("Bob", "") is not None


def test_about_a_tenth_is_asked_again_and_nothing_three_times(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=6, iterations=4)
    library = Library()
    FolderWatch([tmp_path / "runs"], library).look()
    page = Page(library)
    asked = []
    for _ in range(100):
        asked.append(page.vote("Ann"))
        page.clock.now_s += 601.0
    rules = Counter(each.rule for each in asked if each is not None)
    assert 4 <= rules[REPEAT_RULE] <= 18
    assert max(Counter(map(pair, asked)).values()) == 2


def test_a_pair_comes_again_only_after_five_others(library: Library) -> None:
    page = Page(library, again_share=1.0)
    asked = []
    for _ in range(8):
        asked.append(page.vote("Ann"))
        page.clock.now_s += 601.0
    rules = [each.rule for each in asked if each is not None]
    assert REPEAT_RULE not in rules[:6]
    assert rules[6] == REPEAT_RULE
    assert pair(asked[6]) == pair(asked[0])


def test_either_side_is_left_about_as_often(library: Library) -> None:
    page = Page(library, again_share=0.0)
    lefts = 0
    for _ in range(200):
        asked = page.asker.next("Ann", "")
        assert asked is not None
        lefts += asked.left < asked.right
        page.clock.now_s += 601.0
    assert 70 < lefts < 130


@pytest.mark.parametrize(("share", "rules"), [(1.0, {RANDOM_RULE}), (0.0, {SPREAD_RULE})])
def test_as_many_pairs_are_drawn_at_random_as_is_wished(
    library: Library, share: float, rules: set[str]
) -> None:
    page = Page(library, again_share=0.0, random_share=share)
    asked = [page.vote("Ann") for _ in range(15)]
    assert {one.rule for one in asked if one is not None} == rules


def test_what_was_taken_back_can_be_asked_again(library: Library) -> None:
    page = Page(library, again_share=0.0)
    first = page.vote("Ann")
    for _ in range(14):
        page.vote("Ann")
    page.undo(first, "Ann", "0")
    page.clock.now_s += 601.0
    assert pair(page.vote("Ann")) == pair(first)


def test_a_pair_that_an_undo_puts_on_the_stage_again_comes_to_nobody_meanwhile(library: Library) -> None:
    page = Page(library, again_share=0.0)
    first = page.vote("Ann")
    for _ in range(13):
        page.vote("Bob")
    last = page.asker.next("Ann", "")  # from here on the first pair is no longer reserved
    page.asker.hold("Ann", "", pair(first))
    assert first is not None
    for is_taken_back in (False, True):
        if is_taken_back:
            page.undo(first, "Ann", "0")
        for name in ("Ann", "Carl"):
            while (asked := page.asker.next(name, "")) is not None:
                assert pair(asked) not in (pair(first), pair(last))
    page.ballots.take(answer_to(first, "Ann", "another answer"))
    again = page.asker.next("Carl", "")
    assert again is not None
    assert (pair(again), again.rule) == (pair(first), OVERLAP_RULE)


def test_whoever_begins_anew_gets_the_pairs_again_that_were_on_their_stage(library: Library) -> None:
    page = Page(library, again_share=0.0)
    held = {pair(page.asker.next("Ann", "")) for _ in range(5)}
    others = {pair(page.asker.next("Bob", "")) for _ in range(10)}
    assert page.asker.next("Ann", "") is None
    page.asker.give_back_all("Ann")
    assert {pair(page.vote("Ann")) for _ in range(5)} == held
    assert page.vote("Ann") is None, f"Bob still has {others}"


def test_it_is_told_why_there_is_no_next_pair(library: Library) -> None:
    assert Page(Library()).asker.rest("Ann", [""]) == "no_pairs"
    page = Page(library, again_share=0.0)
    for _ in range(14):
        page.vote("Ann")
    page.asker.next("Bob", "")
    assert page.asker.next("Ann", "") is None
    assert page.asker.rest("Ann", [""]) == "held"
    page.asker.give_back_all("Bob")
    page.vote("Ann")
    assert page.asker.rest("Ann", [""]) == "all_judged"
    assert page.asker.rest("Ann", ["", "physics"]) == "held"


def test_nobody_takes_back_the_vote_of_another() -> None:
    ballots = Ballots()
    asked = Asked(left=(run_id(0), 0), right=(run_id(0), 1), rule="", probability=None)
    ballots.take(answer_to(asked, "Ann", "v"))
    for undo_id, annotator, left in (("u1", "Bob", 1), ("u2", "Ann", 0)):
        ballots.take(
            Vote(
                vote_id=undo_id,
                left_run_id="a",
                left_iter_idx=0,
                right_run_id="b",
                right_iter_idx=0,
                answer=None,
                takes_back="v",
                annotator=annotator,
            )
        )
        assert len(ballots.standing()) == left


def test_votes_stand_in_the_order_in_which_they_were_given_whatever_partition_they_come_from() -> None:
    ballots = Ballots()
    asked = Asked(left=(run_id(0), 0), right=(run_id(0), 1), rule="", probability=None)
    for vote_id, at in (("b", "2026-11-29T10:00:01.000+00:00"), ("a", "2026-11-29T10:00:00.000+00:00")):
        ballots.take(replace(answer_to(asked, "Ann", vote_id), voted_at=at))
    assert [vote.vote_id for vote in ballots.standing()] == ["a", "b"]


def test_others_may_be_asked_about_a_pair_as_soon_as_it_is_answered(library: Library) -> None:
    page = Page(library, again_share=0.0)
    voted = {pair(page.vote("Ann")) for _ in range(14)}
    on_stage = page.asker.next("Ann", "")
    asked = [page.vote("Bob") for _ in range(14)]
    assert {pair(each) for each in asked} == voted
    assert page.vote("Bob") is None, f"{on_stage} is not answered yet"


def test_ones_own_pair_that_is_on_the_stage_again_comes_to_nobody_else_meanwhile(library: Library) -> None:
    page = Page(library, again_share=0.0)
    for _ in range(15):
        page.vote("Ann")
    again = Asker(library, page.ballots, lambda: None, seed=3, clock=page.clock, again_share=1.0)
    on_stage = [again.next("Ann", "") for _ in range(10)]
    assert {each.rule for each in on_stage if each is not None} == {REPEAT_RULE}
    others = [again.next("Bob", "") for _ in range(5)]
    assert again.next("Bob", "") is None
    assert not {pair(each) for each in on_stage} & {pair(each) for each in others}


def test_one_video_is_no_pair(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1, iterations=1)
    library = Library()
    FolderWatch([tmp_path / "runs"], library).look()
    assert Page(library).asker.rest("Ann", [""]) == "no_pairs"
