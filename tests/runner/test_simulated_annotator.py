"""Simulated annotators: right but for the share of errors that is their own."""

from __future__ import annotations

from random import Random

import pytest

from runner.worlds.simulated_annotator import INDISTINCT, SimulatedAnnotator, simulated_annotators
from streams.errors import BadInput


@pytest.mark.parametrize(
    ("left", "right", "said"), [(0.9, 0.1, "left"), (0.1, 0.9, "right"), (0.5, 0.5 + INDISTINCT / 2, "tie")]
)
def test_who_never_errs_says_the_truth(left: float, right: float, said: str) -> None:
    assert SimulatedAnnotator("a", 0.0).answer(left, right, Random(1)) == (said, False)


@pytest.mark.parametrize(
    ("left", "right", "said"), [(0.9, 0.1, {"right"}), (0.1, 0.9, {"left"}), (0.5, 0.5, {"left", "right"})]
)
def test_who_always_errs_says_something_else(left: float, right: float, said: set[str]) -> None:
    rng = Random(1)
    answers = [SimulatedAnnotator("a", 1.0).answer(left, right, rng) for _ in range(50)]
    assert {answer for answer, _ in answers} == said
    assert all(is_error for _, is_error in answers)


def test_each_errs_as_often_as_is_said() -> None:
    rng = Random(1)
    annotator = SimulatedAnnotator("a", 0.2)
    errors = sum(annotator.answer(0.9, 0.1, rng)[0] == "right" for _ in range(2_000))
    assert 330 < errors < 470  # 400, SD 18


def test_errors_rise_from_the_first_to_the_last() -> None:
    assert [each.error_rate for each in simulated_annotators(4)] == pytest.approx([0.05, 0.15, 0.25, 0.35])
    assert [each.error_rate for each in simulated_annotators(1)] == [0.05]
    assert simulated_annotators(0) == []
    assert len({each.name for each in simulated_annotators(20)}) == 20


def test_fewer_than_none_are_refused() -> None:
    with pytest.raises(BadInput, match="expected 0 or more"):
        simulated_annotators(-1)
