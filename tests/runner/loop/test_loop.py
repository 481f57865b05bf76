from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from runner.critics.opinion import missing
from runner.interfaces import Frames
from runner.loop.candidate import fused_scores
from runner.loop.controller import ThompsonController
from runner.loop.record import RunRecord
from runner.loop.refinement import RefinementLoop, new_run_id
from runner.loop.refiner import PromptState, refine
from runner.loop.result import RunResult
from runner.loop.stopping import StopRules
from runner.rewards.preference import PreferencePolicy
from streams.errors import BadInput
from streams.messages.contracts import CriticResult, RunEnd, TraceEvent
from streams.messages.files import read_trace
from streams.messages.no_score import NO_SCORE
from tests.runner.fakes import (
    Clock,
    FilmWorld,
    ListSink,
    ScriptedController,
    ScriptedCritic,
    ScriptedFeed,
    judged,
    snapshot,
)

GOAL = "put the cup on the plate"


def loop(out_dir: Path, *scores: float | None, **changes: Any) -> RefinementLoop:
    """A run whose only critic gives these scores for quality, one an iteration."""
    given = [{"quality": score} for score in scores or (0.5,)]
    defaults: dict[str, Any] = {
        "goal": GOAL,
        "world": FilmWorld(),
        "critics": [ScriptedCritic(*given)],
        "controller": ScriptedController(),
        "stop": StopRules(max_iters=max(1, len(scores))),
        "seed": 7,
        "out_dir": out_dir,
        "run_id": "run-a",
        "clock": Clock(),
    }
    return RefinementLoop(**(defaults | changes))


class DownInPart:
    """A judge that says of one of its two scores that it failed."""

    name = "judge"

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        scores = {"task": None, "physics": 0.9}
        return CriticResult(critic_name="judge", scores=scores, extra={NO_SCORE: "failed"})


class GivesUp:
    """A judge that gives its first video .9 and then no score, for this reason."""

    name = "judge"

    def __init__(self, reason: str | None) -> None:
        self._reason = reason
        self._judge = ScriptedCritic({"task": 0.9}, {"task": None}, name=self.name)

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        result = self._judge.judge(frames, fps=fps, goal=goal)
        return replace(result, extra={NO_SCORE: self._reason} if None in result.scores.values() else {})


class Down:
    """A judge whose program ends with an error."""

    name = "judge"

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        return missing("judge", "the critic ended with status 7")


class DownExceptOn:
    """A judge that is up for one of its calls."""

    name = "judge"

    def __init__(self, call: int, judge: ScriptedCritic) -> None:
        self._up = (number == call for number in count())
        self._judge = judge

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        judge = self._judge if next(self._up) else Down()
        return judge.judge(frames, fps=fps, goal=goal)


def events_of(out_dir: Path) -> list[TraceEvent]:
    return [message for message in read_trace(out_dir / "trace.jsonl") if isinstance(message, TraceEvent)]


def end_of(out_dir: Path) -> RunEnd:
    end = read_trace(out_dir / "trace.jsonl")[-1]
    assert isinstance(end, RunEnd)
    return end


def metas(out_dir: Path, name: str) -> list[Any]:
    return [event.meta[name] for event in events_of(out_dir)]


# What is generated and recorded


def test_a_run_begins_with_the_bare_goal(tmp_path: Path) -> None:
    loop(tmp_path).run()
    assert events_of(tmp_path)[0].prompt == GOAL
    assert metas(tmp_path, "arm") == [None]


def test_each_prompt_refines_the_best_so_far_and_not_the_latest(tmp_path: Path) -> None:
    loop(tmp_path, 0.5, 0.2, 0.1, controller=ScriptedController("quality", "task", "physics")).run()
    best = PromptState(GOAL)
    assert [event.prompt for event in events_of(tmp_path)] == [
        GOAL,
        refine(best, "quality").text,
        refine(best, "task").text,
    ]


def test_a_better_candidate_is_built_on(tmp_path: Path) -> None:
    loop(tmp_path, 0.5, 0.6, 0.1, controller=ScriptedController("quality", "task")).run()
    assert events_of(tmp_path)[2].prompt == refine(refine(PromptState(GOAL), "quality"), "task").text


def test_a_tie_keeps_the_earlier_candidate(tmp_path: Path) -> None:
    assert loop(tmp_path, 0.5, 0.5).run().best_iter == 0


def test_next_prompt_is_the_prompt_of_the_next_iteration_and_chosen_arm_its_arm(tmp_path: Path) -> None:
    loop(tmp_path, 0.5, 0.6, 0.4, 0.7, controller=ScriptedController("quality", "task", "minimal")).run()
    events = events_of(tmp_path)
    assert [e.meta["next_prompt"] for e in events[:-1]] == [e.prompt for e in events[1:]]
    assert [e.meta["chosen_arm"] for e in events[:-1]] == [e.meta["arm"] for e in events[1:]]
    assert events[-1].meta["chosen_arm"] == ""


def test_the_arm_that_made_a_prompt_is_context_of_its_candidate(tmp_path: Path) -> None:
    loop(tmp_path, 0.5, 0.6, controller=ScriptedController("task")).run()
    assert metas(tmp_path, "candidate_context") == [{}, {"arm": "task"}]
    assert metas(tmp_path, "context") == [{"world_model": "film"}] * 2


def test_the_artifact_path_is_relative_to_the_run(tmp_path: Path) -> None:
    loop(tmp_path, 0.5, 0.5).run()
    assert [e.artifact_path for e in events_of(tmp_path)] == ["iter_00/video.mp4", "iter_01/video.mp4"]
    assert (tmp_path / "iter_01/video.mp4").is_file()


def test_a_video_outside_the_run_is_a_failed_candidate(tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere.mp4"
    loop(tmp_path / "run", 0.5, world=FilmWorld(video=outside)).run()
    (event,) = events_of(tmp_path / "run")
    assert event.artifact_path == ""
    assert "outside the run's folder" in event.meta["error"]


def test_a_link_that_leads_outside_is_a_failed_candidate(tmp_path: Path) -> None:
    link = tmp_path / "run" / "link.mp4"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "elsewhere.mp4")
    loop(tmp_path / "run", 0.5, world=FilmWorld(video=link)).run()
    assert events_of(tmp_path / "run")[0].overall_score is None


def test_the_overall_score_is_the_plain_mean_of_all_scores_that_were_given(tmp_path: Path) -> None:
    critics = [
        ScriptedCritic({"quality": 0.2, "smoothness": 0.4}),
        ScriptedCritic({"quality": 0.9, "task": None}, name="other"),
    ]
    loop(tmp_path, critics=critics).run()
    assert events_of(tmp_path)[0].overall_score == pytest.approx(0.5)


def test_fused_scores_are_means_per_mode_and_null_where_nobody_looked() -> None:
    results = [
        CriticResult(critic_name="a", scores={"quality": 0.2, "task": None}),
        CriticResult(critic_name="b", scores={"quality": 0.4, "colour": 0.3}),
    ]
    assert fused_scores(results) == {
        "physics": None,
        "task": None,
        "smoothness": None,
        "quality": pytest.approx(0.3),
        "colour": 0.3,
    }


def test_an_outcome_of_the_generation_is_in_the_trace(tmp_path: Path) -> None:
    outcome = {"score": 0.25, "source": "validator"}
    loop(tmp_path, world=FilmWorld(outcome=outcome)).run()
    assert events_of(tmp_path)[0].outcome_score == 0.25


def test_the_same_arguments_give_the_same_trace(tmp_path: Path) -> None:
    for name in ("a", "b"):
        loop(tmp_path / name, 0.3, 0.5, 0.4, 0.6, 0.2, controller=ThompsonController()).run()
    assert (tmp_path / "a/trace.jsonl").read_bytes() == (tmp_path / "b/trace.jsonl").read_bytes()


def test_every_iteration_has_a_generation_seed_of_its_own(tmp_path: Path) -> None:
    world = FilmWorld()
    loop(tmp_path, 0.5, 0.5, 0.5, 0.5, world=world).run()
    assert len(set(world.seeds)) == 4
    assert metas(tmp_path, "generation_seed") == world.seeds


def test_the_controller_is_told_the_gain_over_the_best_before(tmp_path: Path) -> None:
    controller = ScriptedController("quality", "task", "physics")
    loop(tmp_path, 0.5, 0.7, 0.6, controller=controller).run()
    arms, gains = zip(*controller.updates, strict=True)
    assert arms == ("quality", "task")
    assert gains == pytest.approx((0.2, -0.1))


# What cannot be judged


def test_a_failed_generation_is_in_the_trace_and_the_run_goes_on(tmp_path: Path) -> None:
    result = loop(tmp_path, 0.5, 0.6, world=FilmWorld(fails=[1]), stop=StopRules(max_iters=3)).run()
    failed = events_of(tmp_path)[1]
    assert (failed.overall_score, failed.meta["error"]) == (None, "out of memory")
    assert (result.iterations, result.best_iter, result.best_score) == (3, 2, 0.6)


def test_a_failed_generation_teaches_the_controller_nothing(tmp_path: Path) -> None:
    controller = ScriptedController()
    loop(tmp_path, 0.5, controller=controller, world=FilmWorld(fails=[1]), stop=StopRules(max_iters=2)).run()
    assert controller.updates == []


def test_a_run_whose_first_generation_failed_starts_with_the_first_that_did_not(tmp_path: Path) -> None:
    result = loop(tmp_path, 0.5, world=FilmWorld(fails=[0]), stop=StopRules(max_iters=2)).run()
    assert (result.best_iter, result.best_score) == (1, 0.5)


def test_a_run_in_which_everything_fails_has_no_best(tmp_path: Path) -> None:
    result = loop(tmp_path, world=FilmWorld(fails=range(9)), stop=StopRules(max_iters=3)).run()
    assert (result.iterations, result.best_iter, result.best_score) == (3, None, None)


def test_a_video_that_cannot_be_decoded_is_a_failed_candidate(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    loop(tmp_path, world=FilmWorld(video=broken)).run()
    assert "broken.mp4" in events_of(tmp_path)[0].meta["error"]


def test_without_a_required_critics_score_a_video_is_no_candidate(tmp_path: Path) -> None:
    eye = ScriptedCritic({"quality": 0.5}, {"quality": 0.9}, {"quality": 0.6})
    judge = ScriptedCritic({"task": 0.1}, {"task": None}, {"task": 0.15}, name="judge")
    stop = StopRules(max_iters=3)
    result = loop(tmp_path, critics=[eye, judge], required=["judge"], stop=stop).run()
    assert [event.overall_score is None for event in events_of(tmp_path)] == [False, True, False]
    assert events_of(tmp_path)[1].meta["error"] == "no score of judge, without which a video is no candidate"
    assert result.best_iter == 2


def test_a_best_that_a_critic_failed_on_reaches_no_target(tmp_path: Path) -> None:
    critics = [ScriptedCritic({"quality": 0.9}), Down()]
    stop = StopRules(max_iters=2, target_score=0.8)
    result = loop(tmp_path, critics=critics, stop=stop).run()
    assert (result.iterations, result.stop_reason) == (2, "max_iters")


@pytest.mark.parametrize("reason", [None, "does_not_apply", "failed"])
def test_a_best_that_lacks_a_score_which_another_has_reaches_no_target(
    tmp_path: Path, reason: str | None
) -> None:
    """Its reward is .75, with the .90 that was given to the other, whose own is .70."""
    critics = [GivesUp(reason), ScriptedCritic({"quality": 0.5}, {"quality": 0.6}, name="k")]
    result = loop(tmp_path, critics=critics, stop=StopRules(max_iters=2, target_score=0.72)).run()
    assert (result.stop_reason, result.best_iter, result.best_score) == ("max_iters", 1, 0.75)


def test_a_score_that_no_candidate_has_keeps_none_from_the_target(tmp_path: Path) -> None:
    critics = [ScriptedCritic({"task": None}), ScriptedCritic({"quality": 0.9}, name="k")]
    result = loop(tmp_path, critics=critics, stop=StopRules(max_iters=2, target_score=0.8)).run()
    assert (result.iterations, result.stop_reason) == (1, "target_score")


def test_a_fully_judged_candidate_reaches_the_target_though_another_has_the_same_reward(
    tmp_path: Path,
) -> None:
    critics = [ScriptedCritic({"quality": 0.5}), DownExceptOn(1, ScriptedCritic({"task": 0.9}, name="judge"))]
    stop = StopRules(max_iters=4, target_score=0.7)
    result = loop(tmp_path, critics=critics, stop=stop).run()
    assert (result.iterations, result.stop_reason, result.best_iter) == (2, "target_score", 1)


def test_a_video_no_critic_could_judge_says_so(tmp_path: Path) -> None:
    loop(tmp_path, None).run()
    assert events_of(tmp_path)[0].meta["error"] == "no critic could judge this video"


@pytest.mark.parametrize(("limit", "tried"), [(1, 1), (3, 3), (9, 6), (None, 6)])
def test_a_run_is_given_up_after_so_many_failures_in_a_row(
    tmp_path: Path, limit: int | None, tried: int
) -> None:
    world = FilmWorld(fails=range(99))
    result = loop(tmp_path, world=world, stop=StopRules(max_iters=6, max_failures=limit)).run()
    assert len(world.prompts) == result.iterations == tried
    assert (
        result.stop_reason == end_of(tmp_path).stop_reason == ("max_failures" if tried < 6 else "max_iters")
    )
    assert result.failure == "out of memory"


def test_failures_that_others_come_between_do_not_end_a_run(tmp_path: Path) -> None:
    rules = StopRules(max_iters=6, max_failures=2)
    result = loop(tmp_path, 0.5, world=FilmWorld(fails=[0, 2, 4]), stop=rules).run()
    assert (result.stop_reason, result.failure) == ("max_iters", "")


def test_a_run_that_is_given_up_keeps_its_best(tmp_path: Path) -> None:
    rules = StopRules(max_iters=6, max_failures=2)
    result = loop(tmp_path, 0.5, world=FilmWorld(fails=[1, 2]), stop=rules).run()
    assert (result.best_iter, result.best_score, result.iterations) == (0, 0.5, 3)
    assert (result.stop_reason, result.failure) == ("max_failures", "out of memory")


def test_a_critic_that_is_down_ends_a_run_though_others_judge(tmp_path: Path) -> None:
    critics = [ScriptedCritic({"quality": 0.5}), Down()]
    result = loop(tmp_path, critics=critics, stop=StopRules(max_iters=6, max_failures=3)).run()
    assert (result.iterations, result.stop_reason, result.best_score) == (3, "max_failures", 0.5)
    assert result.failure == "critic judge: the critic ended with status 7"


def test_a_critic_that_fails_in_part_ends_a_run_too(tmp_path: Path) -> None:
    critics = [ScriptedCritic({"quality": 0.5}), DownInPart()]
    result = loop(tmp_path, critics=critics, stop=StopRules(max_iters=6, max_failures=3)).run()
    assert (result.iterations, result.stop_reason) == (3, "max_failures")
    assert result.failure == "critic judge: it says that it failed"
    assert result.critic_failed


def test_a_required_critic_that_fails_in_part_leaves_no_candidate(tmp_path: Path) -> None:
    critics = [ScriptedCritic({"quality": 0.5}), DownInPart()]
    result = loop(tmp_path, critics=critics, required=["judge"]).run()
    (event,) = events_of(tmp_path)
    assert (event.overall_score, result.best_score) == (None, None)
    assert event.meta["error"] == "not all scores of judge, without which a video is no candidate"


def test_a_short_run_in_which_a_critic_scored_no_video_has_failed(tmp_path: Path) -> None:
    critics = [ScriptedCritic({"quality": 0.5}), Down()]
    rules = StopRules(max_iters=2, max_failures=3)
    result = loop(tmp_path, critics=critics, stop=rules).run()
    assert (result.stop_reason, result.best_score, result.critic_failed) == ("max_iters", 0.5, True)
    assert result.failure == "critic judge: the critic ended with status 7"


@pytest.mark.parametrize("up", [0, 1])
def test_a_short_run_of_which_every_critic_scored_a_video_has_not_failed(tmp_path: Path, up: int) -> None:
    judge = ScriptedCritic({"task": 0.4}, name="judge")
    critics = [ScriptedCritic({"quality": 0.5}), DownExceptOn(up, judge)]
    result = loop(tmp_path, critics=critics, stop=StopRules(max_iters=2, max_failures=3)).run()
    assert (result.stop_reason, result.failure, result.critic_failed) == ("max_iters", "", False)


def test_of_a_step_no_more_is_tried_than_may_fail(tmp_path: Path) -> None:
    world = FilmWorld(fails=range(99))
    rules = StopRules(max_iters=3, max_failures=3)
    result = loop(tmp_path, world=world, stop=rules, candidates=4).run()
    assert (len(world.prompts), result.iterations, result.candidates) == (3, 1, 4)
    assert result.failure == "not tried, as those before it failed, at last: out of memory"


@pytest.mark.parametrize(("candidates", "fails"), [(2, [0, 1, 2]), (4, [2, 3, 4])])
def test_failures_in_a_row_are_counted_over_steps(tmp_path: Path, candidates: int, fails: list[int]) -> None:
    world = FilmWorld(fails=fails)
    rules = StopRules(max_iters=3, max_failures=3)
    result = loop(tmp_path, world=world, stop=rules, candidates=candidates).run()
    assert (len(world.prompts), result.stop_reason) == (fails[-1] + 1, "max_failures")


# Preferences


def test_snapshots_that_come_during_a_run_are_used_from_the_next_iteration_on(tmp_path: Path) -> None:
    feed = ScriptedFeed(None, snapshot(version=3), snapshot(version=3), snapshot(version=8))
    result = loop(tmp_path, 0.5, 0.5, 0.5, 0.5, feed=feed).run()
    assert metas(tmp_path, "reward_version") == [None, 3, 3, 8]
    assert result.versions == ((1, 3), (3, 8))


def test_a_snapshot_that_arrives_while_an_iteration_runs_waits_for_the_next(tmp_path: Path) -> None:
    feed = ScriptedFeed(None)

    def arrives(call: int) -> None:
        feed.snapshots = [snapshot(version=5)]

    critic = ScriptedCritic({"quality": 0.5}, before=arrives)
    loop(tmp_path, critics=[critic], feed=feed, stop=StopRules(max_iters=2)).run()
    assert metas(tmp_path, "reward_version") == [None, 5]


def test_a_shadow_steers_nothing(tmp_path: Path) -> None:
    scores = (0.5, 0.45, 0.55, 0.5, 0.6, 0.2)
    shadow = ScriptedFeed(snapshot({"eye.quality": -50.0}, gate="shadow"))
    loop(tmp_path / "with", *scores, feed=shadow, controller=ThompsonController()).run()
    loop(tmp_path / "without", *scores, controller=ThompsonController()).run()
    said = ("reward_version", "reward_gate", "preference_prob")

    def but_for_what_it_said(event: TraceEvent) -> TraceEvent:
        return replace(event, meta={k: v for k, v in event.meta.items() if k not in said})

    with_shadow, without = events_of(tmp_path / "with"), events_of(tmp_path / "without")
    assert list(map(but_for_what_it_said, with_shadow)) == list(map(but_for_what_it_said, without))
    assert {event.meta["reward_gate"] for event in with_shadow} == {"shadow"}


def test_an_active_snapshot_steers(tmp_path: Path) -> None:
    """It dislikes what the critic likes, strongly enough to overrule it."""
    feed = ScriptedFeed(snapshot({"eye.quality": -50.0}))
    result = loop(tmp_path, 0.5, 0.55, 0.45, feed=feed, policy=PreferencePolicy(weight=0.3)).run()
    assert (result.best_iter, result.best_score) == (2, 0.45)


def test_the_trace_says_how_a_preference_moved_the_reward(tmp_path: Path) -> None:
    loop(tmp_path, 0.5, 0.6, feed=ScriptedFeed(snapshot()), policy=PreferencePolicy(weight=0.2)).run()
    meta = events_of(tmp_path)[1].meta
    p = meta["preference_prob"]
    assert p > 0.5
    assert meta["preference_confidence"] == 1.0
    assert meta["combined_reward"] == pytest.approx(0.6 + 0.2 * (2 * p - 1))


# When it stops


@pytest.mark.parametrize(
    ("stop", "scores", "reason", "iterations"),
    [
        (StopRules(max_iters=3), (0.1,), "max_iters", 3),
        (StopRules(target_score=0.7), (0.1, 0.8), "target_score", 2),
        (StopRules(target_score=0.8), (0.1, 0.8), "target_score", 2),
        (StopRules(patience=2), (0.5, 0.6, 0.6, 0.5), "patience", 4),
        (StopRules(patience=2, min_delta=0.05), (0.5, 0.52, 0.54), "patience", 3),
        (StopRules(patience=2, min_delta=0.05), (0.5, 0.52, 0.6, 0.6, 0.6), "patience", 5),
        (StopRules(max_wall_s=5.5), (0.1,), "max_wall_s", 3),
    ],
)
def test_a_stop_rule_ends_the_run(
    tmp_path: Path, stop: StopRules, scores: tuple[float, ...], reason: str, iterations: int
) -> None:
    result = loop(tmp_path, *scores, stop=stop).run()
    assert (result.stop_reason, result.iterations) == (reason, iterations)
    assert metas(tmp_path, "stop_reason") == [""] * (iterations - 1) + [reason]
    assert end_of(tmp_path) == RunEnd(run_id="run-a", iterations=tuple(range(iterations)), stop_reason=reason)


def test_failed_generations_use_up_the_patience(tmp_path: Path) -> None:
    result = loop(tmp_path, 0.5, world=FilmWorld(fails=[1, 2]), stop=StopRules(patience=2)).run()
    assert (result.stop_reason, result.iterations) == ("patience", 3)


def drifting(*scores: tuple[float, float]) -> list[ScriptedCritic]:
    return [ScriptedCritic(*({"quality": q, "physics": p} for q, p in scores))]


def test_a_mode_that_falls_while_the_score_rises_is_drift(tmp_path: Path) -> None:
    critics = drifting((0.2, 0.6), (0.7, 0.4), (0.8, 0.5))
    loop(tmp_path, critics=critics, stop=StopRules(max_iters=3, drift_threshold=0.1)).run()
    assert metas(tmp_path, "drift_flag") == [False, True, False]


def test_drift_ends_a_run_only_when_it_goes_on(tmp_path: Path) -> None:
    critics = drifting((0.1, 0.9), (0.6, 0.7), (0.7, 0.7), (0.85, 0.58), (1.0, 0.45))
    result = loop(tmp_path, critics=critics, stop=StopRules(drift_threshold=0.1, drift_patience=2)).run()
    assert metas(tmp_path, "drift_flag") == [False, True, False, True, True]
    assert (result.stop_reason, result.iterations) == ("drift", 5)


def test_a_mode_that_falls_with_the_score_is_no_drift() -> None:
    rules = StopRules(drift_threshold=0.1)
    assert not rules.drifts(
        judged({"quality": 0.2, "task": 0.1}), judged({"quality": 0.2, "task": 0.9}), -0.4
    )


@pytest.mark.parametrize(
    "bad",
    [
        {"max_iters": 0},
        {"patience": 0},
        {"target_score": 1.5},
        {"max_wall_s": -1},
        {"min_delta": float("nan")},
        {"max_failures": 0},
    ],
)
def test_a_stop_rule_that_makes_no_sense_is_bad_input(bad: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="stop rule"):
        StopRules(**bad)


# Interruptions and the record


def interrupt_at(call: int) -> Callable[[int], None]:
    def before(now: int) -> None:
        if now == call:
            raise KeyboardInterrupt

    return before


def test_an_interrupted_run_leaves_a_readable_trace_with_its_end(tmp_path: Path) -> None:
    sink = ListSink()
    critic = ScriptedCritic({"quality": 0.5}, before=interrupt_at(2))
    result = loop(tmp_path, critics=[critic], sink=sink, stop=StopRules(max_iters=9)).run()
    assert result.stop_reason == "interrupted"
    assert end_of(tmp_path) == RunEnd(run_id="run-a", iterations=(0, 1), stop_reason="interrupted")
    assert sink.pushed == read_trace(tmp_path / "trace.jsonl")


def test_an_interruption_before_the_first_video_still_ends_the_run(tmp_path: Path) -> None:
    critic = ScriptedCritic({"quality": 0.5}, before=interrupt_at(0))
    assert loop(tmp_path, critics=[critic]).run() == RunResult(
        run_id="run-a",
        iterations=0,
        candidates=0,
        best_iter=None,
        best_score=None,
        versions=(),
        stop_reason="interrupted",
    )
    assert end_of(tmp_path).iterations == ()


def test_an_interruption_while_pushing_loses_nothing(tmp_path: Path) -> None:
    interruptions = iter([None, KeyboardInterrupt()])

    def on_push(event: TraceEvent | RunEnd) -> None:
        if error := next(interruptions, None):
            raise error

    sink = ListSink(on_push)
    loop(tmp_path, 0.5, 0.6, 0.7, sink=sink).run()
    assert end_of(tmp_path).iterations == (0, 1)
    assert sink.pushed == read_trace(tmp_path / "trace.jsonl")


def test_an_interruption_while_writing_leaves_no_half_line_and_no_line_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the bytes reached the file and before that was noted."""
    record = RunRecord(tmp_path, "r", None)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: interrupt_at(0)(0))
        with pytest.raises(KeyboardInterrupt):
            record.add(judged({"quality": 0.5}))
    record.end("interrupted")
    assert read_trace(tmp_path / "trace.jsonl") == [
        judged({"quality": 0.5}),
        RunEnd(run_id="r", iterations=(0,), stop_reason="interrupted"),
    ]


def test_what_breaks_a_run_is_raised_and_recorded(tmp_path: Path) -> None:
    def breaks(call: int) -> None:
        if call == 1:
            raise ZeroDivisionError

    critic = ScriptedCritic({"quality": 0.5}, before=breaks)
    with pytest.raises(ZeroDivisionError):
        loop(tmp_path, critics=[critic], stop=StopRules(max_iters=3)).run()
    assert end_of(tmp_path) == RunEnd(
        run_id="run-a", iterations=(0,), stop_reason="failed: ZeroDivisionError"
    )


def test_every_event_is_on_disk_before_it_is_pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    fsync = os.fsync

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        synced.append((tmp_path / "trace.jsonl").read_bytes())

    def on_push(event: TraceEvent | RunEnd) -> None:
        assert synced[-1] == (tmp_path / "trace.jsonl").read_bytes()
        assert read_trace(tmp_path / "trace.jsonl")[-1] == event

    monkeypatch.setattr(os, "fsync", noted_fsync)
    sink = ListSink(on_push)
    loop(tmp_path, 0.5, 0.6, sink=sink).run()
    assert len(sink.pushed) == 3


@pytest.mark.parametrize("score", [1.5, float("nan")])
def test_a_critic_whose_score_no_trace_may_hold_failed(tmp_path: Path, score: float) -> None:
    loop(tmp_path, score, 0.5).run()
    first, second = (m for m in read_trace(tmp_path / "trace.jsonl")[:2] if isinstance(m, TraceEvent))
    assert (first.overall_score, second.overall_score) == (None, 0.5)
    assert "its result cannot be recorded: critic_results" in first.critic_results[0].notes


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 0


@pytest.mark.parametrize(
    ("generation", "said"),
    [
        ({"outcome": {"score": 1.5}}, "meta.outcome: expected an object with a score in [0, 1]"),
        ({"meta": {"path": Path("x")}}, "cannot be written as JSON"),
        ({"meta": {"deep": nested(200)}}, "expected at most 64 levels"),
        ({"context": {"path": Path("x")}}, "the world model's context: path: cannot be written as JSON"),
        ({"context": {7: "x"}}, "the world model's context: 7: its name is no text; left out"),
        ({"context": {"nan": float("nan")}}, "the world model's context: nan: expected finite numbers; left"),
        ({"context": {"deep": nested(400)}}, "the world model's context: deep: expected at most 64 levels"),
    ],
)
def test_what_a_trace_cannot_hold_of_a_generation_costs_no_video(
    tmp_path: Path, generation: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    loop(tmp_path, 0.5, world=FilmWorld(**generation), stop=StopRules(max_iters=2)).run()
    events = [m for m in read_trace(tmp_path / "trace.jsonl") if isinstance(m, TraceEvent)]
    assert [(event.overall_score, event.outcome_score) for event in events] == [(0.5, None)] * 2
    assert [said in line for line in caplog.messages] == [True]


def test_a_folder_with_a_trace_is_refused_and_left_alone(tmp_path: Path) -> None:
    loop(tmp_path).run()
    before = (tmp_path / "trace.jsonl").read_bytes()
    with pytest.raises(BadInput, match="choose another --out"):
        loop(tmp_path).run()
    assert (tmp_path / "trace.jsonl").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="cannot be created"):
        loop(tmp_path / "file" / "run").run()


@pytest.mark.parametrize(
    "bad",
    [
        {"goal": " "},
        {"goal": "a\0b"},
        {"stop": StopRules(max_iters=50_001), "candidates": 2},
        {"critics": []},
        {"critics": [ScriptedCritic({}), ScriptedCritic({})]},
        {"seed": -1},
        {"run_id": ""},
    ],
)
def test_arguments_that_cannot_be_used_are_bad_input(tmp_path: Path, bad: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        loop(tmp_path, **bad)


def test_a_run_id_tells_apart_runs_that_differ_in_anything() -> None:
    when = datetime(2025, 1, 31, 17, 47, 51)
    assert new_run_id(when, 1, "goal", "a") != new_run_id(when, 1, "goal", "b")
    assert new_run_id(when, 1, "goal", "a").startswith("20250131_174751_seed1_")


def test_critics_see_decoded_frames_the_rate_and_the_goal(tmp_path: Path) -> None:
    seen: list[tuple[tuple[int, ...], float, str]] = []

    class Looks(ScriptedCritic):
        def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
            seen.append((frames.shape, fps, goal))
            return super().judge(frames, fps=fps, goal=goal)

    loop(tmp_path, critics=[Looks({"quality": 0.5})]).run()
    assert seen == [((2, 16, 16, 3), 8.0, GOAL)]
