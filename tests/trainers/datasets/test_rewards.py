"""What a video is worth: comparable across tasks, whatever the order."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from streams.messages.codec import sealed
from tests import factories
from tests.runner.fakes import snapshot
from trainers.bradley_terry.features import differences
from trainers.bradley_terry.reward import confidence, prob_prefer
from trainers.datasets.rewards import rate
from trainers.datasets.samples import Sample

MODEL = snapshot({"goal.task": 2.0, "flicker.quality": -1.0})


def samples(
    critics: Sequence[Mapping[str, float | None]],
    *,
    run_id: str = "r",
    context: Mapping[str, str] | None = None,
) -> list[Sample]:
    events = [
        factories.event(i, 0.5, run_id=run_id, critics=scores, context=context)
        for i, scores in enumerate(critics)
    ]
    named = [structs.replace(event, meta=event.meta | {"task_id": f"task of {run_id}"}) for event in events]
    return [Sample(event=event, video=Path("video.mp4"), critic_reward=0.5) for event in named]


def test_without_a_model_the_reward_is_the_critics_mean() -> None:
    event = factories.event(0, 0.375)
    (rated,) = rate([Sample(event=event, video=Path("video.mp4"), critic_reward=0.375)])
    assert (rated.reward, rated.rating.probability, rated.rating.confidence) == (0.375, None, None)


def test_the_reward_is_the_expected_share_of_wins_over_the_other_videos_of_the_task() -> None:
    rated = rate(samples([{"goal.task": x} for x in (0.2, 0.4, 0.9)]), MODEL)
    r = np.array([0.2, 0.4, 0.9]) * 2.0 / 0.25
    wins = 1 / (1 + np.exp(-(r[:, None] - r[None, :])))
    expected = (wins.sum(axis=1) - 0.5) / 2
    np.testing.assert_allclose([s.reward for s in rated], expected, rtol=1e-12)
    assert [s.rating.probability for s in rated] == pytest.approx(expected)
    assert math.fsum(s.reward for s in rated) == pytest.approx(1.5)


def test_what_a_whole_task_has_in_common_does_not_count() -> None:
    """A critic that likes every video of one task says nothing of which task has the better videos."""
    easy = samples([{"goal.task": 0.9}, {"goal.task": 0.8}], run_id="easy")
    hard = samples([{"goal.task": 0.3}, {"goal.task": 0.2}], run_id="hard")
    rated = rate([*easy, *hard], MODEL)
    assert rated[0].reward == pytest.approx(rated[2].reward)
    assert rated[1].reward == pytest.approx(rated[3].reward)


def test_the_only_video_of_a_task_is_a_usual_one() -> None:
    (rated,) = rate(samples([{"goal.task": 1.0}]), MODEL)
    assert (rated.reward, rated.rating.probability) == (0.5, 0.5)


def test_a_critic_that_is_missing_says_nothing() -> None:
    rated = rate(samples([{"goal.task": 0.9}, {"goal.task": None}, {"other.task": 0.1}]), MODEL)
    assert [s.reward for s in rated] == [0.5, 0.5, 0.5]


def test_an_unsure_model_rates_nearer_to_a_half() -> None:
    unsure = sealed(structs.replace(MODEL, covariance=((4.0, 0.0), (0.0, 4.0))))
    of_two = samples([{"goal.task": 0.9}, {"goal.task": 0.4}])
    sure, less = rate(of_two, MODEL)[0], rate(of_two, unsure)[0]
    assert 0.5 < less.reward < sure.reward
    assert less.rating.probability == sure.rating.probability
    c, p = less.rating.confidence, less.rating.probability
    assert c is not None
    assert p is not None
    assert less.reward == pytest.approx(0.5 + c * (p - 0.5))


def test_runs_of_one_task_in_two_world_models_are_compared_by_what_they_share() -> None:
    weights = {"goal.task": 1.0, "goal.task@world_model=dit-7b": 5.0}
    a = samples([{"goal.task": 0.9}], run_id="a", context={"world_model": "dit-7b"})
    b = samples([{"goal.task": 0.4}], run_id="b", context={"world_model": "dit-2b"})
    same_task = [
        replace(s, event=structs.replace(s.event, meta=s.event.meta | {"task_id": "t"})) for s in (*a, *b)
    ]
    rated = rate(same_task, snapshot(weights))
    assert rated[0].reward == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert rated[0].reward + rated[1].reward == pytest.approx(1.0)


def test_the_order_of_the_samples_changes_no_bit() -> None:
    given = samples([{"goal.task": x / 7, "flicker.quality": 1 / (x + 1)} for x in range(7)])
    rewards = {s.id: s.reward for s in rate(given, MODEL)}
    shuffled = given.copy()
    random.Random(1).shuffle(shuffled)
    assert {s.id: s.reward for s in rate(shuffled, MODEL)} == rewards


def test_meta_that_is_no_context_is_passed_over() -> None:
    odd = [
        replace(
            s,
            event=structs.replace(
                s.event, meta=s.event.meta | {"context": "a text", "candidate_context": [1]}
            ),
        )
        for s in samples([{"goal.task": 0.9}, {"goal.task": 0.4}])
    ]
    assert rate(odd, MODEL)[0].reward > 0.5


def test_each_pair_is_judged_as_the_models_own_probability_and_confidence_have_it() -> None:
    """With scores, contexts and numbers that some lack, and one score that is a mark for a missing one."""
    weights = {
        "goal.task": 1.5,
        "flicker.quality": -0.5,
        "goal.task@world_model=dit-7b": 2.0,
        "@arm=task": 0.7,
        "@cost": -1.0,
    }
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    model = sealed(structs.replace(snapshot(weights), covariance=tuple(map(tuple, (root @ root.T).tolist()))))
    critics: list[dict[str, float | None]] = [
        {"goal.task": 0.9, "flicker.quality": 0.1},
        {"goal.task": 0.4, "flicker.quality": None},
        {"goal.task": None, "flicker.quality": 0.7},
        {"flicker.quality": -999.0, "goal.task": 0.3},
        {"goal.task": 1.0, "flicker.quality": 0.2},
    ]
    shared_by = [{"world_model": "dit-7b"} if i % 3 else None for i in range(5)]
    given = [
        factories.event(i, 0.5, run_id="r", critics=scores, context=context)
        for i, (scores, context) in enumerate(zip(critics, shared_by, strict=True))
    ]
    contexts: list[dict[str, str | float]] = [
        {},
        {"arm": "task"},
        {"cost": 2.0},
        {"arm": "physics"},
        {"cost": 0.5},
    ]
    events = [
        structs.replace(event, meta=event.meta | {"task_id": "t", "candidate_context": of_video})
        for event, of_video in zip(given, contexts, strict=True)
    ]
    rated = rate([Sample(event=event, video=Path("v.mp4"), critic_reward=0.5) for event in events], model)
    for i, one in enumerate(rated):
        opinions = []
        for event in (*events[:i], *events[i + 1 :]):
            shared = {k: v for k, v in events[i].context.items() if event.context.get(k) == v}
            d = differences(
                events[i].critic_scores(),
                event.critic_scores(),
                context=shared,
                of_a=events[i].candidate_context,
                of_b=event.candidate_context,
            )
            opinions.append((prob_prefer(model, d), confidence(model, d)))
        assert one.rating.probability == pytest.approx(np.mean([p for p, _ in opinions]), abs=1e-12)
        assert one.rating.confidence == pytest.approx(np.mean([c for _, c in opinions]), abs=1e-12)


def test_200_videos_of_a_task_are_rated_in_well_under_a_second() -> None:
    """Of processor time, with as many features as a run with contexts has."""
    rng = np.random.default_rng(0)
    names = [f"critic-{n}.task" for n in range(36)]
    covariance = tuple(map(tuple, np.eye(36).tolist()))
    model = sealed(structs.replace(snapshot(dict.fromkeys(names, 0.1)), covariance=covariance))
    given = samples([dict(zip(names, rng.random(36).tolist(), strict=True)) for _ in range(200)])
    started = time.process_time()
    rated = rate(given, model)
    assert time.process_time() - started < 1.0
    assert math.fsum(one.reward for one in rated) == pytest.approx(100.0)
