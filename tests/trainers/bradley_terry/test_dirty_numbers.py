"""Numbers that are no measurements among good pairs: what they cost, and that they are noticed.

``test_marks`` has usual marks for missing scores in many pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from streams.messages.codec import decode_pair, encode
from streams.messages.contracts import PreferencePair, RewardSnapshot
from tests.factories import pair
from trainers.bradley_terry.estimators import LEARNERS, LearnerName, Recipe
from trainers.bradley_terry.features import of_pair
from trainers.bradley_terry.reward import prob_prefer
from trainers.online.train import train_on_pairs

CRITICS = ("a.x", "b.y")
N = 200

every_learner = pytest.mark.parametrize("learner", LEARNERS)


def judged(n: int, seed: int) -> list[PreferencePair]:
    """Pairs of tasks of their own, by people who go by the first critic and hardly by the second."""
    rng = np.random.default_rng(seed)
    pairs = []
    for task in range(n):
        chosen, rejected = rng.random((2, 2))
        if rng.random() > 1 / (1 + np.exp(-6 * (chosen - rejected) @ (1.0, 0.1))):
            chosen, rejected = rejected, chosen
        pairs.append(of_scores(chosen.tolist(), rejected.tolist(), task))
    return pairs


def of_scores(chosen: Sequence[float], rejected: Sequence[float], task: int) -> PreferencePair:
    return pair(
        dict(zip(CRITICS, chosen, strict=True)),
        dict(zip(CRITICS, rejected, strict=True)),
        run_id=f"run-{task}",
        task_id=f"run-{task}",
        pair_id=str(task),
    )


HOLDOUT = judged(2000, seed=1)
DIFFERENCES = np.array([list(of_pair(unseen).values()) for unseen in HOLDOUT])


def accuracy(pairs: Sequence[PreferencePair], learner: LearnerName) -> float:
    model = train_on_pairs(pairs, recipe=Recipe(learner=learner))
    coefficients = [model.weights[name] / model.scales[name] for name in CRITICS]
    return float(np.mean(DIFFERENCES @ coefficients > 0))


@pytest.mark.parametrize("mark", [-1.0, -10.0, -100.0, -999.0, 1e6, -1e6])
@every_learner
def test_no_single_pair_costs_more_than_a_hundredth_after_200(learner: LearnerName, mark: float) -> None:
    clean = judged(N, seed=0)
    best = accuracy(clean, learner)
    for at in (0, 10, 150):
        for chosen in ((mark, 0.5), (0.5, mark), (mark, -mark)):
            dirty = [*clean[:at], of_scores(chosen, (0.5, 0.5), at), *clean[at + 1 :]]
            assert accuracy(dirty, learner) >= best - 0.01, (at, chosen)


@every_learner
@pytest.mark.parametrize("value", [1.0, -0.5, 1.5, -7.25, 300.5, -7e5])
@pytest.mark.parametrize(("low", "high"), [(0.0, 0.25), (0.0, 1.5), (0.0, 3.0), (1.0, 5.0), (0.0, 100.0)])
def test_no_single_value_costs_more_on_any_other_scale(
    learner: LearnerName, low: float, high: float, value: float
) -> None:
    def scaled(side: Mapping[str, float | None]) -> list[float]:
        return [low + (high - low) * score for score in numbers(side)]

    both = [(scaled(one.chosen_critics), scaled(one.rejected_critics)) for one in judged(N, seed=0)]
    clean = [of_scores(chosen, rejected, at) for at, (chosen, rejected) in enumerate(both)]
    best = accuracy(clean, learner)
    for at in (0, 15, 19, 150):
        chosen, rejected = both[at]
        for bad in ([value, chosen[1]], rejected), (chosen, [value, rejected[1]]):
            dirty = [*clean[:at], of_scores(*bad, at), *clean[at + 1 :]]
            assert accuracy(dirty, learner) >= best - 0.01, (at, bad)


@every_learner
@pytest.mark.parametrize("high", [3.0, 100.0])
def test_ordinary_scores_on_any_scale_are_no_far_off_numbers(learner: LearnerName, high: float) -> None:
    model = Recipe(learner=learner).new().with_features(CRITICS)
    model.learn_many_differences(high * DIFFERENCES, np.ones(len(DIFFERENCES)))
    assert not model.far_off


@every_learner
@pytest.mark.parametrize("value", [1e9, -1e9, 2**31 - 1, -(2**31), 1e300])
def test_a_number_beyond_all_bounds_is_a_mark_of_a_missing_score(learner: LearnerName, value: float) -> None:
    clean = judged(N, seed=0)
    raw = encode(clean[100]).replace(
        b'"a.x":%s' % str(clean[100].chosen_critics["a.x"]).encode(), b'"a.x":%s' % str(value).encode(), 1
    )
    dirty = decode_pair(raw, "here")
    assert isinstance(dirty, PreferencePair)
    model = train_on_pairs([*clean[:100], dirty, *clean[101:]], recipe=Recipe(learner=learner))
    assert model.metrics["marks"] == {"a.x": 1}
    assert accuracy([*clean[:100], dirty, *clean[101:]], learner) >= accuracy(clean, learner) - 0.01


def numbers(scores: Mapping[str, float | None]) -> list[float]:
    return [score for score in scores.values() if score is not None]


@pytest.mark.parametrize("seed", range(5))
@every_learner
def test_garbage_in_two_of_a_hundred_pairs_costs_two_hundredths_at_most(
    learner: LearnerName, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    clean = judged(N, seed=0)
    dirty = list(clean)
    for at in rng.choice(N, N // 50, replace=False).tolist():
        scores = rng.choice([-1, 1], (2, 2)) * 10.0 ** rng.uniform(-1, 6, (2, 2))
        dirty[at] = of_scores(scores[0].tolist(), scores[1].tolist(), at)
    assert accuracy(dirty, learner) >= accuracy(clean, learner) - 0.02


def with_garbage(n: int) -> RewardSnapshot:
    pairs = judged(N, seed=0)
    for at in range(100, 100 + n):
        pairs[at] = of_scores((-998.0, 0.5), (0.5, 0.5), at)
    return train_on_pairs(pairs)


def test_a_number_that_is_too_far_off_and_no_usual_mark_is_noticed_and_said() -> None:
    model = with_garbage(3)
    assert model.metrics["far_off"] == {"a.x": 3}
    assert model.statement.endswith(" Not learnt, as too far off for a score: 3 differences of 'a.x'.")
    assert "far_off" not in with_garbage(0).metrics


def test_further_epochs_count_nothing_again() -> None:
    dirty = [*judged(N, seed=0), of_scores((-400.3, 0.5), (0.5, 0.5), N)]
    assert train_on_pairs(dirty, epochs=3).metrics["far_off"] == {"a.x": 1}


def test_a_number_that_is_too_far_off_counts_as_missing_where_candidates_are_compared() -> None:
    model = with_garbage(0)
    marked, missing = ({"a.x": -999.5, "b.y": 0.3}, {"b.y": 0.3})
    assert prob_prefer(model, marked) == prob_prefer(model, missing)


@every_learner
def test_a_critic_on_a_scale_of_its_own_is_learnt_all_the_same(learner: LearnerName) -> None:
    def in_thousands(clean: Sequence[PreferencePair]) -> list[PreferencePair]:
        return [
            of_scores(
                [1000 * score for score in one.chosen_critics.values()],  # type: ignore[operator]
                [1000 * score for score in one.rejected_critics.values()],  # type: ignore[operator]
                at,
            )
            for at, one in enumerate(clean)
        ]

    model = train_on_pairs(in_thousands(judged(N, seed=0)), recipe=Recipe(learner=learner))
    right = [prob_prefer(model, of_pair(unseen)) > 0.5 for unseen in in_thousands(HOLDOUT)]
    assert np.mean(right) >= accuracy(judged(N, seed=0), learner) - 0.01
    assert "far_off" not in model.metrics
