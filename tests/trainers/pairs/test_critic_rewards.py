"""What the critics say of candidates as one number, of which no missing score makes more."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import permutations

import numpy as np
import pytest
from msgspec.structs import replace

from streams.messages.contracts import CriticResult, TraceEvent
from streams.messages.no_score import not_seen
from tests.factories import event
from trainers.pairs.critic_rewards import Lowest, critic_rewards, rewards_in_run, rewards_in_runs


def judged(idx: int, scores: Mapping[str, float | None], run_id: str = "r") -> TraceEvent:
    known = [score for score in scores.values() if score is not None]
    return event(idx, sum(known) / len(known) if known else None, critics=scores, run_id=run_id)


def lost(idx: int, scores: Mapping[str, float | None]) -> TraceEvent:
    """A video that does not show what its goal names, by the critic "goal"."""
    made = judged(idx, scores)
    return replace(made, critic_results=(*made.critic_results, not_seen("goal", "task", "nothing red")))


def test_critic_rewards_of_many_runs_are_those_of_each() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((5, 4, 3))
    scores[rng.random(scores.shape) < 0.3] = np.nan
    assert np.array_equal(critic_rewards(scores), np.array([critic_rewards(one) for one in scores]))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"a.x": 0.9}, {"a.x": 0.5}, [0.9, 0.5]),
        ({"a.x": 0.9, "j.x": None}, {"a.x": 0.9, "j.x": 0.1}, [0.5, 0.5]),
        ({"a.x": 0.9}, {"a.x": 0.7, "j.x": 0.1}, [0.5, 0.4]),
        ({"a.x": 0.9, "j.x": None}, {"a.x": 0.5, "j.x": None}, [0.9, 0.5]),
        ({"a.x": 0.9}, {"j.x": 0.1}, [0.5, 0.5]),
        ({"a.x": 0.9, "text_rm.text": 0.1}, {"a.x": 0.7}, [0.9, 0.7]),
        ({"a.x": 0.9, "lora_rm.text": 0.1}, {"a.x": 0.7}, [0.9, 0.7]),
        ({"a.x": 0.9}, {"a.x": 0.7, "ocr.text": 0.1}, [0.5, 0.4]),
        ({"a.x": 0.9}, {"a.x": None}, [0.9]),
    ],
    ids=str,
)
def test_a_missing_score_counts_as_the_lowest(
    first: dict[str, float | None], second: dict[str, float | None], expected: list[float]
) -> None:
    overall = 0.9 if "text_rm.text" in first or "lora_rm.text" in first else None
    one = judged(0, first) if overall is None else event(0, overall, critics=first)
    rewards = rewards_in_run([one, judged(1, second)])
    assert list(rewards.values()) == pytest.approx(expected)


def test_rewards_are_the_same_in_every_order() -> None:
    rng = random.Random(3)
    events = [judged(i, {"a.x": rng.random(), "j.x": rng.choice([None, rng.random()])}) for i in range(12)]
    there = rewards_in_run(events)
    assert rewards_in_run(rng.sample(events, len(events))) == there


def test_a_run_whose_judge_was_down_gains_nothing_on_other_runs() -> None:
    down = [judged(0, {"a.x": 0.9, "j.x": None}, "down")]
    without = [judged(0, {"a.x": 0.9}, "without")]
    whole = [judged(0, {"a.x": 0.9, "j.x": 0.2}, "whole"), judged(1, {"a.x": 0.9, "j.x": 0.1}, "whole")]
    of_down, of_without, of_whole = rewards_in_runs([down, without, whole])
    assert of_down[0] == of_without[0] == pytest.approx(0.5)
    assert of_whole == pytest.approx({0: 0.55, 1: 0.5})


def test_a_run_has_its_own_lowest_scores_where_it_has_any() -> None:
    one = [judged(0, {"a.x": 0.9, "j.x": None}), judged(1, {"a.x": 0.9, "j.x": 0.3})]
    other = [judged(0, {"a.x": 0.9, "j.x": 0.1}, "s")]
    assert rewards_in_runs([one, other])[0] == rewards_in_run(one)


def test_a_critic_that_does_not_apply_to_a_run_costs_it_nothing() -> None:
    aside = judged(0, {"a.x": 0.9}, "aside")
    said = CriticResult(critic_name="j", scores={}, extra={"no_score": "does_not_apply"})
    aside = replace(aside, critic_results=(*aside.critic_results, said))
    of_aside, _ = rewards_in_runs([[aside], [judged(0, {"a.x": 0.9, "j.x": 0.1}, "s")]])
    assert of_aside == {0: 0.9}


FAILURE = CriticResult(critic_name="j", scores={}, extra={"no_score": "failed"})
ASIDE = CriticResult(critic_name="j", scores={}, extra={"no_score": "does_not_apply"})


@pytest.mark.parametrize("said", [[FAILURE, ASIDE, FAILURE], [FAILURE] * 3, [None, ASIDE, ASIDE]])
def test_a_failure_is_excused_by_no_video_that_the_critic_does_not_apply_to(
    said: list[CriticResult | None],
) -> None:
    run = [
        replace(made, critic_results=(*made.critic_results, *([of_j] if of_j else [])))
        for made, of_j in zip((judged(i, {"a.x": 0.5}) for i in range(3)), said, strict=True)
    ]
    other = [judged(i, {"a.x": 0.5, "j.x": score}, "s") for i, score in enumerate((0.1, 0.2, 0.1))]
    of_run, of_other = rewards_in_runs([run, other])
    assert list(of_run.values()) == pytest.approx([0.3, 0.3, 0.3])
    assert list(of_other.values()) == pytest.approx([0.3, 0.35, 0.3])


def test_a_tie_is_one_in_every_bit() -> None:
    whole = {f"k{n}.x": 0.1 * n for n in range(7)} | {"j.x": 0.9}
    first, second = rewards_in_run([judged(0, whole), judged(1, whole | {"j.x": None})]).values()
    assert first == second


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_who_has_lost_what_another_shows_is_as_bad_as_can_be(order: tuple[int, ...]) -> None:
    """So is who lacks the score for another reason: it may have lost it, too."""
    run = [
        judged(0, {"a.x": 0.9, "goal.task": 0.98}),
        lost(1, {"a.x": 0.97}),
        judged(2, {"a.x": 0.9, "goal.task": None}),
    ]
    assert rewards_in_run([run[i] for i in order]) == pytest.approx({0: 0.94, 1: 0.485, 2: 0.45})


def test_what_no_video_of_a_run_shows_does_not_count() -> None:
    assert rewards_in_run([lost(0, {"a.x": 0.9}), lost(1, {"a.x": 0.5})]) == {0: 0.9, 1: 0.5}


def test_a_run_that_has_lost_what_another_shows_is_as_bad_as_can_be() -> None:
    other = judged(0, {"a.x": 0.9, "goal.task": 0.8}, "s")
    of_lost, of_other = rewards_in_runs([[lost(0, {"a.x": 0.9})], [other]])
    assert (of_lost[0], of_other[0]) == pytest.approx((0.45, 0.85))


def test_a_score_counts_whatever_another_video_has_lost() -> None:
    lowest = Lowest().including({"a.x": 0.2}, frozenset({"a.x"})).including({"a.x": 0.6})
    assert lowest.scores == {"a.x": 0.0}
    assert lowest.reward({"a.x": 0.6}, 0.6) == 0.6


def test_nothing_new_leaves_the_lowest_as_they_were() -> None:
    lowest = Lowest().including({"a.x": 0.2})
    assert lowest.including({"a.x": 0.5}) is lowest
    assert lowest.including({"a.x": 0.1}).scores == {"a.x": 0.1}
    assert lowest.including({"a.x": None}).is_lacked
