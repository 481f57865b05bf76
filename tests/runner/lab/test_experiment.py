"""The experiment: fair to both arms, honest about its labels, and reproducible."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest

from runner.lab.experiment import SeedExperiment
from runner.lab.experiment_plan import (
    ALL_CONDITIONS,
    CONDITIONS,
    REWRITES,
    ExperimentCondition,
    ExperimentPlan,
    Result,
    hidden_taste,
)
from streams.errors import BadInput
from streams.messages.contracts import TraceEvent

CLEAN, ALIGNED, GARBAGE, FLIPPED, CRITIC_FAILS = CONDITIONS
SHORT = ExperimentPlan(tasks=8, learning_tasks=4)
NOISELESS = ExperimentPlan(tasks=8, learning_tasks=4, label_share=1.0, label_noise=0.0)
LONG = ExperimentPlan(tasks=110, learning_tasks=70)


@pytest.fixture(scope="module")
def long() -> dict[str, Result]:
    """One seed, long enough for the gate to open."""
    experiment = SeedExperiment(LONG, 3000)
    return {condition.name: experiment.run(condition) for condition in (CLEAN, GARBAGE, FLIPPED)}


def gain(result: Result) -> float:
    """Of the measured tasks, at the end of the budget."""
    arms = zip(result.critics_alone, result.steered, strict=True)
    return fmean([s.picked[-1] - a.picked[-1] for a, s in arms][LONG.learning_tasks :])


def scores(event: TraceEvent) -> dict[str, float | None]:
    return {r.critic_name: s for r in event.critic_results for s in r.scores.values()}


def test_tastes_are_spread_evenly_over_all_ways_to_weigh_the_failures() -> None:
    tastes = np.array([list(hidden_taste(seed).values()) for seed in range(3000)])
    assert tastes.sum(axis=1) == pytest.approx(np.ones(3000))
    assert tastes.mean(axis=0) == pytest.approx(np.full(5, 0.2), abs=0.01)
    # Of a flat Dirichlet distribution over five: √(0.2 · 0.8 / 6).
    assert tastes.std(axis=0) == pytest.approx(np.full(5, 0.163), abs=0.01)


def test_the_arm_without_preferences_has_exactly_the_critics_reward() -> None:
    runs, _ = SeedExperiment(SHORT, 1).arm(CLEAN, 0.0)
    events = [event for run in runs for event in run]
    assert len(events) == SHORT.tasks * SHORT.iters
    assert all(event.meta["combined_reward"] == event.overall_score for event in events)


def test_until_the_gate_opens_both_arms_are_the_same(long: dict[str, Result]) -> None:
    first = long["clean"].steers_from_task
    assert first is not None
    assert long["clean"].critics_alone[:first] == long["clean"].steered[:first]
    assert long["clean"].critics_alone[first:] != long["clean"].steered[first:]


def test_garbage_never_steers_here(long: dict[str, Result]) -> None:
    assert long["garbage"].steers_from_task is None
    assert long["garbage"].critics_alone == long["garbage"].steered


def test_what_was_learnt_raises_the_true_quality_and_a_wrong_judge_lowers_it(long: dict[str, Result]) -> None:
    assert gain(long["clean"]) > 0.02
    assert gain(long["flipped"]) < -0.02


def test_all_conditions_share_the_arm_of_the_critics_alone(long: dict[str, Result]) -> None:
    assert long["clean"].critics_alone == long["flipped"].critics_alone


@pytest.mark.parametrize("condition", ALL_CONDITIONS, ids=lambda condition: condition.name)
def test_a_condition_is_the_same_alone_and_after_others(condition: ExperimentCondition) -> None:
    after = SeedExperiment(SHORT, 2)
    after.run(CRITIC_FAILS)
    after.run(CLEAN)
    assert after.run(condition) == SeedExperiment(SHORT, 2).run(condition)


def test_with_rewrites_both_arms_know_texts_and_one_of_them_proposes_several_prompts() -> None:
    (four,) = REWRITES
    events = {k: SeedExperiment(SHORT, 1).arm(four, 0.25, rewrites=k)[0][-1] for k in (1, 4)}
    assert {len(event.meta["rewrites"]) for event in events[1][:-1]} == {1}
    assert max(len(event.meta["rewrites"]) for event in events[4][:-1]) > 1
    for run in events.values():
        assert all("text_rm.text" in event.critic_scores() for event in run)


def test_the_course_follows_the_pick_of_the_loop_not_the_best_there_was() -> None:
    result = SeedExperiment(SHORT, 1).run(CLEAN)
    courses = [*result.critics_alone, *result.steered]
    assert all(course.generated >= max(course.picked) for course in courses)
    assert any(course.generated > course.picked[-1] for course in courses)


def test_where_the_critics_are_right_the_true_quality_is_their_mean() -> None:
    experiment = SeedExperiment(SHORT, 1)
    runs, _ = experiment.arm(ALIGNED, 0.0)
    for task, run in enumerate(runs):
        for event in run:
            _, quality = experiment.see(ALIGNED, task, event.prompt, event.meta["generation_seed"])
            assert quality == event.overall_score


def test_a_failing_critic_says_something_else_from_the_middle_on_and_the_others_do_not() -> None:
    experiment = SeedExperiment(SHORT, 1)
    for task in range(SHORT.tasks):
        good, truth = experiment.see(CLEAN, task, "a prompt", 5)
        bad, same_truth = experiment.see(CRITIC_FAILS, task, "a prompt", 5)
        differ = {g.critic_name for g, b in zip(good, bad, strict=True) if g != b}
        assert differ == ({experiment.broken_critic} if task >= SHORT.tasks // 2 else set())
        assert truth == same_truth


def label(condition: ExperimentCondition, quality: float, seed: int) -> float:
    outcome = SeedExperiment(NOISELESS, 1).label(condition, 0, quality, seed)
    assert outcome is not None
    return float(outcome["score"])


def test_clean_labels_tell_the_truth_and_flipped_ones_the_opposite() -> None:
    assert label(CLEAN, 0.8, 3) == 0.8
    assert label(FLIPPED, 0.8, 3) == pytest.approx(0.2)


def test_garbage_labels_do_not_depend_on_the_truth_but_on_the_video() -> None:
    assert label(GARBAGE, 0.1, 3) == label(GARBAGE, 0.9, 3) != label(GARBAGE, 0.9, 4)


@pytest.mark.parametrize(("share", "least", "most"), [(0.1, 5, 35), (0.5, 75, 125)])
def test_the_share_of_labels_is_the_condition_s_own(share: float, least: int, most: int) -> None:
    experiment = SeedExperiment(NOISELESS, 1)
    condition = replace(CLEAN, label_share=share)
    given = [experiment.label(condition, 0, 0.5, seed) for seed in range(200)]
    assert least <= sum(outcome is not None for outcome in given) <= most


def test_the_noise_of_labels_is_the_condition_s_own() -> None:
    experiment = SeedExperiment(NOISELESS, 1)
    outcomes = [experiment.label(replace(CLEAN, label_noise=0.1), 0, 0.5, seed) for seed in range(400)]
    given = [outcome["score"] for outcome in outcomes if outcome is not None]
    assert np.std(given) == pytest.approx(0.1, rel=0.1)


def test_no_event_tells_the_loop_the_truth() -> None:
    """But for the judged ones, whose outcome only the learner reads."""
    runs, _ = SeedExperiment(replace(SHORT, label_share=0.0), 1).arm(CLEAN, 0.0)
    assert not any(
        "outcome" in event.meta or "quality" in str(event.meta.keys()) for run in runs for event in run
    )


@pytest.mark.long
def test_drawn_and_computed_videos_lead_the_loop_to_the_same_quality() -> None:
    drawn, computed = (
        SeedExperiment(replace(SHORT, rendered=rendered), 4).run(CLEAN).critics_alone
        for rendered in (True, False)
    )
    assert fmean(c.picked[-1] for c in drawn) == pytest.approx(
        fmean(c.picked[-1] for c in computed), abs=0.05
    )
    assert [c.picked[0] for c in drawn] == [c.picked[0] for c in computed]


def test_a_plan_that_measures_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match="leave at least one to measure"):
        ExperimentPlan(tasks=5, learning_tasks=5)
