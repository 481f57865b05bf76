"""Selected against random data: fair to all arms, and right where the answer is known."""

from __future__ import annotations

import pytest

from runner.lab.finetune_experiment import (
    ARMS,
    CRITICS,
    RANDOM,
    REWARD,
    FinetuneExperimentPlan,
    FinetuneResult,
    compare,
    finetune_figures,
)
from streams.errors import BadInput

SMALL = FinetuneExperimentPlan(tasks=5, rounds=2, unseen_tasks=8, videos_of_unseen=2)
CERTAIN = FinetuneExperimentPlan(tasks=24, rounds=1, unseen_tasks=40)
SEEDS = (3100, 3101, 3102)


@pytest.fixture(scope="module")
def certain() -> list[FinetuneResult]:
    return [compare(CERTAIN, seed)("") for seed in SEEDS]


def test_reward_selected_data_makes_a_better_world_model_than_random_data(
    certain: list[FinetuneResult],
) -> None:
    difference = finetune_figures(certain).difference["reward minus random"][0]
    assert difference.mean > 0
    assert difference.ci95[0] > 0


def test_selected_videos_are_truly_better_than_random_ones(certain: list[FinetuneResult]) -> None:
    shown = finetune_figures(certain).shown
    assert shown[REWARD][0] > shown[CRITICS][0] > shown[RANDOM][0]


def test_random_data_changes_less_than_selected_data(certain: list[FinetuneResult]) -> None:
    gain = finetune_figures(certain).gain
    assert abs(gain[RANDOM][0].mean) < gain[REWARD][0].mean / 2


def test_all_arms_show_as_many_videos(certain: list[FinetuneResult]) -> None:
    assert {of.videos for result in certain for of in result.arms.values()} == {(48,)}


def test_equal_selections_differ_by_exactly_nothing() -> None:
    plan = FinetuneExperimentPlan(tasks=4, rounds=2, fraction=1.0, unseen_tasks=4, videos_of_unseen=1)
    figures = finetune_figures([compare(plan, seed)("") for seed in (1, 2)])
    estimates = [one for of_rounds in figures.difference.values() for one in of_rounds]
    assert {(one.mean, *one.ci95) for one in estimates} == {(0.0, 0.0, 0.0)}
    assert figures.gain[REWARD][0].mean != 0.0


def test_the_same_seed_gives_the_same_result() -> None:
    assert compare(SMALL, 7)("") == compare(SMALL, 7)("")


def test_a_further_round_changes_nothing_of_the_rounds_before_it() -> None:
    one_round = FinetuneExperimentPlan(tasks=5, rounds=1, unseen_tasks=8, videos_of_unseen=2)
    first, both = compare(one_round, 7)(""), compare(SMALL, 7)("")
    assert {arm: of.quality[0] for arm, of in both.arms.items()} == {
        arm: of.quality[0] for arm, of in first.arms.items()
    }
    assert all(len(both.arms[arm].quality) == 2 for arm in ARMS)


@pytest.mark.parametrize(
    "wrong", [{"fraction": 0.0}, {"fraction": 1.5}, {"tasks": 0}, {"rounds": 0}, {"tasks": 40_000}]
)
def test_a_plan_without_anything_to_compare_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        FinetuneExperimentPlan(**wrong)  # type: ignore[arg-type]
