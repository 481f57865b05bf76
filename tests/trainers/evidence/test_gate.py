"""The gate opens for a better model, and for one that is no better hardly ever, however gains are spread."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from trainers.bradley_terry.losses import LEAST_PROBABILITY, Gain, gain_of_pair
from trainers.evidence.gate import Gate

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
_RUNS, _TASKS = 1_000, 300
_EDGE = float(np.log((1 - LEAST_PROBABILITY) / LEAST_PROBABILITY))
"""The largest gain of a pair, nats."""
WON = Gain(0.2, -0.25, 0.25)
LOST = Gain(-0.2, -0.25, 0.25)


def opened_after(gains: list[Gain]) -> int | None:
    gate = Gate()
    for task, gain in enumerate(gains, start=1):
        gate.bet(gain, pairs_learnt=task)
        if gate.opened_at_pair is not None:
            break
    return gate.opened_at_pair


def bounded(gains: NDArray[np.float64], bound: float = _EDGE) -> list[Gain]:
    return [Gain(gain, -bound, bound) for gain in gains.tolist()]


def share_opened(draw: Draw) -> float:
    """Of runs whose gains have a mean of 0, how many ever open within 300 tasks."""
    rng = np.random.default_rng(0)
    return float(np.mean([opened_after(bounded(draw(rng, _TASKS))) is not None for _ in range(_RUNS)]))


def symmetric(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.uniform(-0.5, 0.5, n)


def mostly_a_little_gain_and_now_and_then_a_large_loss(
    rng: np.random.Generator, n: int
) -> NDArray[np.float64]:
    return np.where(rng.random(n) < 0.9, 0.2, -1.8)


def mostly_a_little_loss_and_now_and_then_a_large_gain(
    rng: np.random.Generator, n: int
) -> NDArray[np.float64]:
    return np.where(rng.random(n) < 0.9, -0.2, 1.8)


def heavy_tails(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return np.clip(0.1 * rng.standard_t(1.2, n), -_EDGE, _EDGE)


def changing_variance(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Wide after a run of gains, narrow after losses."""
    gains, width = np.empty(n), 0.1
    for i in range(n):
        gains[i] = rng.uniform(-width, width)
        width = min(_EDGE, max(0.05, width * (1.3 if gains[i] > 0 else 0.8)))
    return gains


def a_mean_that_falls_below_zero(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """With +.2 in nine tasks of ten and a loss that outweighs them in the tenth."""
    return np.where(rng.random(n) < 0.9, 0.2, -_EDGE)


@pytest.mark.parametrize(
    "draw",
    [
        symmetric,
        mostly_a_little_gain_and_now_and_then_a_large_loss,
        mostly_a_little_loss_and_now_and_then_a_large_gain,
        heavy_tails,
        changing_variance,
        a_mean_that_falls_below_zero,
    ],
)
def test_without_a_gain_to_be_expected_at_most_one_run_in_twenty_ever_opens(draw: Draw) -> None:
    assert share_opened(draw) <= 0.05


def test_predictions_that_are_no_better_open_it_in_at_most_one_run_in_twenty() -> None:
    """Labels are as the reference says, and the model says otherwise by chance, boldly at times."""
    rng, opened = np.random.default_rng(1), 0
    for _ in range(_RUNS):
        gate = Gate()
        for task in range(100):
            q = rng.uniform(0.3, 0.7)
            p = 1 / (1 + np.exp(-(np.log(q / (1 - q)) + rng.standard_t(2))))
            of_pair = gain_of_pair(p, q) if rng.random() < q else gain_of_pair(1 - p, 1 - q)
            gate.bet(of_pair, pairs_learnt=task)
        opened += gate.opened_at_pair is not None
    assert opened <= 0.05 * _RUNS


def test_drift_alarms_are_no_further_chances_to_open_in_error() -> None:
    rng, opened = np.random.default_rng(2), 0
    for _ in range(_RUNS):
        gate = Gate()
        for task, gain in enumerate(bounded(symmetric(rng, _TASKS))):
            gate.bet(gain, pairs_learnt=task)
            if task % 20 == 19 and gate.position == "shadow":
                gate.close()
        opened += gate.opened_at_pair is not None
    assert opened <= 0.05 * _RUNS


def test_it_opens_when_the_model_is_better() -> None:
    gains = np.random.default_rng(0).normal(0.1, 0.2, 400)
    assert opened_after(bounded(np.clip(gains, -1.0, 1.0), 1.0)) is not None


def test_a_small_gain_on_predictions_that_hardly_differ_opens_it_too() -> None:
    rng = np.random.default_rng(3)
    gains = [
        gain_of_pair(0.62, 0.55) if rng.random() < 0.65 else gain_of_pair(0.38, 0.45) for _ in range(900)
    ]
    assert opened_after(gains) is not None


def test_one_lucky_task_cannot_open_it() -> None:
    assert opened_after([gain_of_pair(1.0, 0.0)]) is None


def test_a_task_on_which_both_say_the_same_changes_no_evidence() -> None:
    gate = Gate()
    gate.bet(gain_of_pair(0.7, 0.7), pairs_learnt=1)
    assert (gate.tasks, gate.evidence) == (1, 1.0)


def test_a_gain_beyond_its_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="not within"):
        Gate().bet(Gain(0.3, -0.2, 0.2), pairs_learnt=1)


def test_evidence_stays_finite() -> None:
    gate = Gate()
    for task in range(20_000):
        gate.bet(Gain(0.25, -0.25, 0.25), pairs_learnt=task)
    assert np.isfinite(gate.evidence)


def test_a_restored_gate_goes_on_to_the_bit() -> None:
    gains = bounded(np.clip(np.random.default_rng(2).normal([0.1] * 60 + [-0.1] * 60, 0.2), -1.0, 1.0), 1.0)
    whole, half = Gate(), Gate()
    for i, gain in enumerate(gains):
        whole.bet(gain, pairs_learnt=i)
        half = Gate.from_state(half.state())
        half.bet(gain, pairs_learnt=i)
    assert half.state() == whole.state()


def opened() -> Gate:
    gate = Gate()
    while gate.position == "shadow":
        gate.bet(WON, pairs_learnt=1)
    return gate


def test_an_open_gate_closes_when_the_critics_mean_has_become_better_and_then_wants_new_evidence() -> None:
    gate = opened()
    losses = 0
    while gate.position == "active":
        gate.bet(LOST, pairs_learnt=2)
        losses += 1
    assert 5 < losses < 80
    assert (gate.closed_times, gate.evidence) == (1, 1.0)
    gate.bet(WON, pairs_learnt=3)
    assert gate.position == "shadow"


def test_an_open_gate_closes_once_all_that_had_opened_it_is_lost() -> None:
    gate = Gate()
    for task in range(200):
        gate.bet(WON, pairs_learnt=task)
        if gate.position == "active":
            break
    least = gate.evidence
    while gate.position == "active":
        least = gate.evidence
        gate.bet(Gain(-0.02, -0.25, 5.0), pairs_learnt=1)
    assert 0.05 < least < 0.06
    assert (gate.evidence, gate.closed_times) == (1.0, 1)


def test_gains_of_long_ago_do_not_keep_it_open() -> None:
    gate = opened()
    for _ in range(10_000):
        gate.bet(WON, pairs_learnt=2)
    for _ in range(80):
        gate.bet(LOST, pairs_learnt=3)
    assert gate.position == "shadow"


def test_an_open_gate_stays_open_while_the_model_is_as_good_as_the_mean() -> None:
    gate, rng = opened(), np.random.default_rng(7)
    for gain in bounded(np.clip(rng.normal(0.01, 0.1, 2_000), -1.0, 1.0), 1.0):
        gate.bet(gain, pairs_learnt=2)
    assert gate.position == "active"


def test_a_closed_gate_that_closes_again_counts_once() -> None:
    gate = opened()
    gate.close()
    gate.close()
    assert gate.closed_times == 1
