"""Sums of predictions, and what they say of how often a stated chance comes true."""

from __future__ import annotations

import pytest

from trainers.evidence.evidence import Evidence
from trainers.evidence.prequential import PrequentialScores


def predicted(*chances: float) -> PrequentialScores:
    """Of pairs whose chosen side was given these chances."""
    scores = PrequentialScores()
    for p in chances:
        scores.add(p, 0.5)
    return scores


def test_calibration_is_of_the_side_that_was_thought_better() -> None:
    # .9 said and right twice, .9 said and wrong once; .6 said and wrong.
    first, second = predicted(0.91, 0.92, 0.09, 0.42).calibration()
    assert first == {"n": 1, "stated": pytest.approx(0.58), "right": 0.0}
    assert second == {"n": 3, "stated": pytest.approx((0.91 + 0.92 + 0.91) / 3), "right": 2.0}


def test_what_was_thought_even_is_half_right() -> None:
    assert predicted(0.5, 0.5).calibration() == [{"n": 2, "stated": 0.5, "right": 1.0}]


def test_certainty_is_in_the_last_bin() -> None:
    assert predicted(1.0 - 1e-12, 0.96).calibration() == [
        {"n": 2, "stated": pytest.approx(0.98), "right": 2.0}
    ]


def test_bins_of_no_pair_are_left_out() -> None:
    assert predicted().calibration() == []


def test_a_snapshot_has_it_of_people_and_validators_together_and_critics_count_nothing() -> None:
    evidence = Evidence()
    evidence.predicted("human", 0.8, 0.5)
    evidence.predicted("outcome", 0.2, 0.5)
    evidence.predicted("critic", 0.8, 0.5)
    assert evidence.metrics()["trusted"]["calibration"] == [
        {"n": 2, "stated": pytest.approx(0.8), "right": 1.0}
    ]


def test_it_is_the_same_after_a_restart() -> None:
    evidence = Evidence()
    for p in (0.61, 0.7, 0.83, 0.37):
        evidence.predicted("human", p, 0.5)
    assert Evidence.from_state(evidence.state()).metrics() == evidence.metrics()


def test_sums_that_no_pairs_give_are_refused() -> None:
    sums = predicted(0.61).sums
    of_no_pair = sums.copy()
    of_no_pair[0] = 0.0
    for wrong in (of_no_pair, sums[:-1], -sums):
        with pytest.raises(ValueError, match=r"sums of figures|cannot reshape"):
            PrequentialScores.from_sums(wrong)
