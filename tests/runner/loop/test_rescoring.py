"""What becomes of a run when critics say something new of its videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from runner.critics.opinion import missing
from runner.loop.rescored_so_far import RescoredSoFar
from runner.loop.rescoring import revised, to_be_judged
from runner.rewards.preference import PreferencePolicy
from streams.files import write_atomically
from streams.messages.codec import encode
from streams.messages.contracts import TEXT_MODE, CriticResult, RunEnd, TraceEvent
from tests.factories import event
from tests.runner.fakes import snapshot


def said(critic: str, score: float | None, **extra: str) -> CriticResult:
    return CriticResult(critic_name=critic, scores={"task": score}, extra=dict(extra))


FAILED = missing("judge", "it is down")
PIXEL = CriticResult(critic_name="flicker", scores={"quality": 0.4})


def one(iter_idx: int, *results: CriticResult, score: float | None = 0.4) -> TraceEvent:
    made = event(iter_idx, score)
    return replace(made, critic_results=results)


def after(
    events: Sequence[TraceEvent],
    judged: Mapping[int, Sequence[CriticResult]],
    required: Sequence[str] = (),
    run_dir: Path = Path("nowhere"),
) -> list[TraceEvent]:
    end = RunEnd(run_id="run-a", iterations=tuple(range(len(events))), stop_reason="max_iters")
    now, new_end = revised(
        events, end, judged, revision=1, required=required, policy=PreferencePolicy(), run_dir=run_dir
    )
    assert (new_end.run, new_end.iterations, new_end.stop_reason) == (
        ("run-a", 1), end.iterations, "max_iters",
    )  # fmt: skip
    return now


@pytest.mark.parametrize(
    ("result", "is_judged"),
    [
        (None, True),
        (FAILED, True),
        (said("judge", None, no_score="failed"), True),
        (said("judge", None, no_score="does_not_apply"), False),
        (said("judge", None), False),
        (said("judge", 0.0), False),
        (said("judge", 0.5, no_score="failed"), False),
        (replace(said("judge", 0.5, no_score="failed"), scores={"task": 0.5, "physics": None}), True),
    ],
)
def test_a_video_is_judged_where_the_critic_failed_or_is_missing(
    result: CriticResult | None, is_judged: bool
) -> None:
    made = one(0, PIXEL, *([result] if result else []))
    assert to_be_judged(made, ["judge"], everything=False) == (["judge"] if is_judged else [])
    assert to_be_judged(made, ["judge"], everything=True) == ["judge"]


def test_a_result_takes_the_place_of_the_critics_earlier_one_and_scores_follow() -> None:
    (now,) = after([one(0, FAILED, PIXEL)], {0: [said("judge", 0.8)]})
    assert [result.critic_name for result in now.critic_results] == ["judge", "flicker"]
    assert now.overall_score == pytest.approx(0.6)
    assert (now.fused_scores["task"], now.fused_scores["quality"]) == (0.8, 0.4)
    assert (now.meta["revision"], now.meta["rescored"], now.meta["rescored_in"]) == (1, ["judge"], 1)


def test_a_critic_that_fails_now_changes_nothing() -> None:
    made = one(0, said("judge", 0.8), PIXEL, score=0.6)
    (now,) = after([made], {0: [FAILED]})
    assert (now.critic_results, now.overall_score) == (made.critic_results, 0.6)
    assert (now.meta["rescored"], now.rescored_in) == ([], 0)


def scored(reason: str = "", **scores: float | None) -> CriticResult:
    return CriticResult(critic_name="judge", scores=scores, extra={"no_score": reason} if reason else {})


@pytest.mark.parametrize(
    ("old", "new", "now"),
    [
        (scored(t=0.9, p=0.9), scored("failed", t=None, p=0.8), scored(t=0.9, p=0.8)),
        (scored("failed", t=0.9, p=None), scored("failed", t=None, p=0.2), scored(t=0.9, p=0.2)),
        (scored("failed", t=0.9), scored("failed", p=0.2, q=None), scored("failed", p=0.2, q=None, t=0.9)),
        (scored(t=0.9), scored("failed", p=0.2, q=None), scored("failed", p=0.2, q=None, t=0.9)),
        (scored(t=0.0, p=0.9), scored("failed", t=None, p=0.8), scored(t=0.0, p=0.8)),
        (scored(t=0.9), scored("does_not_apply", t=None), scored("does_not_apply", t=None)),
        (scored(t=0.9, p=0.9), scored("not_seen", t=None, p=0.8), scored("not_seen", t=None, p=0.8)),
        (scored(t=0.9, p=0.9), scored(t=None, p=0.8), scored(t=None, p=0.8)),
        (
            scored("not_seen", t=None, p=0.9),
            scored("failed", t=None, p=0.8),
            scored("not_seen", t=None, p=0.8),
        ),
        (scored("not_seen", t=None), scored("failed", t=0.7, p=None), scored("failed", t=0.7, p=None)),
        (
            scored("does_not_apply", t=None, p=0.9),
            scored("failed", t=None, p=0.8),
            scored("failed", t=None, p=0.8),
        ),
    ],
)
def test_a_failure_takes_no_score_away_and_every_other_result_replaces_the_old(
    old: CriticResult, new: CriticResult, now: CriticResult
) -> None:
    (made,) = after([one(0, old, PIXEL)], {0: [new]})
    assert made.critic_results == (now, PIXEL)
    known = [*(score for score in now.scores.values() if score is not None), 0.4]
    assert made.overall_score == pytest.approx(sum(known) / len(known))


def test_a_candidate_that_could_not_be_judged_becomes_one() -> None:
    (now,) = after([one(0, FAILED, score=None)], {0: [said("judge", 0.8)]})
    assert now.overall_score == 0.8
    assert "error" not in now.meta


def test_without_its_required_critic_a_video_stays_no_candidate() -> None:
    events = [one(0, FAILED, PIXEL, score=None), one(1, FAILED, PIXEL, score=None)]
    first, second = after(events, {0: [said("judge", 0.8)], 1: [said("other", 0.9)]}, required=["judge"])
    assert first.overall_score == pytest.approx(0.6)
    assert (second.overall_score, second.meta["error"]) == (
        None, "no score of judge, without which a video is no candidate",
    )  # fmt: skip


def test_what_a_reward_of_texts_said_stays_and_is_no_score_of_the_video() -> None:
    text = CriticResult(critic_name="text_rm", scores={TEXT_MODE: 0.1})
    (now,) = after([one(0, PIXEL, text)], {0: [said("judge", 0.8)]})
    assert [result.critic_name for result in now.critic_results] == ["flicker", "judge", "text_rm"]
    assert now.overall_score == pytest.approx(0.6)


def test_the_best_so_far_is_that_of_the_new_scores() -> None:
    events = [one(0, said("judge", 0.5), score=0.5), one(1, FAILED, score=None)]
    events.append(one(2, said("judge", 0.6), score=0.6))
    now = after(events, {1: [said("judge", 0.9)]})
    assert [(e.meta["best_iter"], e.meta["best_score"]) for e in now] == [(0, 0.5), (1, 0.9), (1, 0.9)]
    assert [event.meta["critic_reward"] for event in now] == [0.5, 0.9, 0.6]


def test_a_video_that_still_lacks_a_score_gets_the_lowest_that_others_have() -> None:
    events = [one(0, PIXEL, FAILED), one(1, replace(PIXEL, scores={"quality": 0.5}), FAILED, score=0.5)]
    now = after(events, {0: [said("judge", 0.2)]})
    assert [event.meta["critic_reward"] for event in now] == pytest.approx([0.3, 0.35])


def test_a_run_that_was_steered_is_worked_out_by_the_snapshot_that_was_in_use(tmp_path: Path) -> None:
    newest = snapshot({"judge.task": 4.0}, version=7)
    write_atomically(tmp_path / "rewards" / "from_0001.json", encode(newest))
    events = [
        with_meta(one(0, said("judge", 0.5), PIXEL), reward_version=None),
        with_meta(one(1, FAILED, PIXEL), reward_version=7, preference_prob=0.5, best_iter=0),
    ]
    _, second = after(events, {1: [said("judge", 0.9)]}, run_dir=tmp_path)
    assert second.meta["preference_prob"] > 0.6
    assert second.meta["combined_reward"] > second.meta["critic_reward"]
    assert (second.meta["best_iter"], second.meta["reward_version"]) == (1, 7)


def test_where_that_snapshot_is_gone_the_critics_decide_and_what_it_said_stays() -> None:
    events = [with_meta(one(0, FAILED, PIXEL), reward_version=7, preference_prob=0.8)]
    (now,) = after(events, {0: [said("judge", 0.8)]})
    assert (now.meta["preference_prob"], now.meta["reward_version"]) == (0.8, 7)
    assert now.meta["combined_reward"] == now.meta["critic_reward"] == pytest.approx(0.6)


def with_meta(made: TraceEvent, **meta: object) -> TraceEvent:
    return replace(made, meta=made.meta | meta)


def test_what_was_said_is_there_again_but_for_what_failed_or_was_cut_short(tmp_path: Path) -> None:
    task = {"critics": ["judge=x"]}
    so_far = RescoredSoFar(tmp_path, task)
    so_far.add(0, [said("judge", 0.8), missing("other", "down")])
    so_far.add(1, [said("judge", 0.7)])
    so_far.path.write_bytes(so_far.path.read_bytes()[:-5])
    again = RescoredSoFar(tmp_path, task)
    assert again.results == {0: [said("judge", 0.8)]}
    again.add(1, [said("judge", 0.6)])
    assert RescoredSoFar(tmp_path, task).results[1] == [said("judge", 0.6)]


@pytest.mark.parametrize(
    ("said_then", "is_asked"),
    [
        ([], True),
        ([FAILED], True),
        ([scored("failed", t=0.9, p=None)], True),
        ([scored("failed", t=0.9, p=None), FAILED], True),
        ([scored("failed", t=0.9, p=None), scored("failed", t=None, p=0.5)], False),
        ([scored("does_not_apply", t=None)], False),
        ([scored(t=None)], False),
        ([scored(t=0.0)], False),
    ],
)
def test_a_critic_that_failed_even_in_part_is_still_asked_when_a_rescoring_goes_on(
    tmp_path: Path, said_then: list[CriticResult], is_asked: bool
) -> None:
    so_far = RescoredSoFar(tmp_path, {})
    for result in said_then:
        so_far.add(0, [result])
    again = RescoredSoFar(tmp_path, {})
    assert again.still_asked(0, ["judge"]) == (["judge"] if is_asked else [])
    assert again.results == so_far.results


def test_one_critics_results_in_part_become_one(tmp_path: Path) -> None:
    so_far = RescoredSoFar(tmp_path, {})
    for result in (scored("failed", t=0.9, p=None), scored("failed", t=0.8, p=None), FAILED, PIXEL):
        so_far.add(0, [result])
    so_far.add(0, [scored("failed", t=None, p=0.5)])
    assert so_far.results == {0: [PIXEL, scored(t=0.8, p=0.5)]}


def test_what_was_said_in_another_rescoring_does_not_count(tmp_path: Path) -> None:
    RescoredSoFar(tmp_path, {"critics": ["judge=x"]}).add(0, [said("judge", 0.8)])
    assert RescoredSoFar(tmp_path, {"critics": ["judge=y"]}).results == {}
    assert RescoredSoFar(tmp_path, {"critics": ["judge=x"]}).results == {}
