from __future__ import annotations

import numpy as np

from trainers.gate import Gate


def opened_after(gains: np.ndarray) -> int | None:
    gate = Gate()
    for task, gain in enumerate(gains, start=1):
        gate.bet(float(gain), pairs_learnt=task)
    return gate.opened_at_pair


def test_it_opens_when_the_model_is_better() -> None:
    assert opened_after(np.random.default_rng(0).normal(0.1, 0.2, 400)) is not None


def test_watched_at_every_step_it_rarely_opens_without_a_gain() -> None:
    rng = np.random.default_rng(1)
    false_openings = sum(opened_after(rng.normal(0.0, 0.3, 500)) is not None for _ in range(200))
    assert false_openings <= 10


def test_one_lucky_task_cannot_open_it() -> None:
    assert opened_after(np.array([1e9])) is None


def test_evidence_stays_finite() -> None:
    gate = Gate()
    for task in range(20_000):
        gate.bet(1.0, pairs_learnt=task)
    assert np.isfinite(gate.evidence)


def test_a_restored_gate_goes_on_to_the_bit() -> None:
    gains = np.random.default_rng(2).normal([0.1] * 60 + [-0.1] * 60, 0.2)
    whole, half = Gate(), Gate()
    for i, gain in enumerate(gains):
        whole.bet(float(gain), pairs_learnt=i)
        half = Gate.from_state(half.state())
        half.bet(float(gain), pairs_learnt=i)
    assert half.state() == whole.state()


def opened() -> Gate:
    gate = Gate()
    while gate.position == "shadow":
        gate.bet(0.25, pairs_learnt=1)
    return gate


def test_an_open_gate_closes_when_the_critics_mean_has_become_better_and_then_wants_new_evidence() -> None:
    gate = opened()
    losses = 0
    while gate.position == "active":
        gate.bet(-0.2, pairs_learnt=2)
        losses += 1
    assert 20 < losses < 80
    assert (gate.closed_times, gate.evidence) == (1, 1.0)
    gate.bet(0.25, pairs_learnt=3)
    assert gate.position == "shadow"


def test_gains_of_long_ago_do_not_keep_it_open() -> None:
    gate = opened()
    for _ in range(10_000):
        gate.bet(0.1, pairs_learnt=2)
    for _ in range(80):
        gate.bet(-0.2, pairs_learnt=3)
    assert gate.position == "shadow"


def test_an_open_gate_stays_open_while_the_model_is_as_good_as_the_mean() -> None:
    gate, rng = opened(), np.random.default_rng(7)
    for _ in range(2_000):
        gate.bet(float(rng.normal(0.01, 0.1)), pairs_learnt=2)
    assert gate.position == "active"


def test_a_closed_gate_that_closes_again_counts_once() -> None:
    gate = opened()
    gate.close()
    gate.close()
    assert gate.closed_times == 1
