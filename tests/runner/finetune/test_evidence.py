"""Evidence that one comparison gives, and what a line of them needs."""

from __future__ import annotations

import math
from itertools import product

import pytest

from runner.finetune.evidence import ALPHA, e_value, level


def test_the_levels_of_all_comparisons_sum_to_five_percent() -> None:
    # What is left after n is ALPHA · 4 / (n + 4).
    spent = math.fsum(level(before) for before in range(100_000))
    assert spent == pytest.approx(ALPHA * (1 - 4 / 100_004))


def test_more_evidence_is_needed_after_each_comparison_that_promoted_nothing() -> None:
    needed = [1 / level(before) for before in range(50)]
    assert needed == sorted(needed)


@pytest.mark.parametrize("null", [0.5, 0.4, 1 / 3])
@pytest.mark.parametrize(
    "offsets", [(0.0,) * 6, (0.33, -0.33, 0.3, -0.3, 0.1, -0.1), (0.3, 0, 0, 0, 0, -0.3)]
)
@pytest.mark.parametrize("before", [0, 9])
def test_its_expected_value_is_at_most_one_for_tasks_that_are_won_or_lost(
    null: float, offsets: tuple[float, ...], before: int
) -> None:
    chances = [null + offset for offset in offsets]
    expected = math.fsum(
        math.prod(p if won else 1 - p for p, won in zip(chances, results, strict=True))
        * e_value(results, null, level(before))
        for results in product((0.0, 1.0), repeat=6)
    )
    assert expected <= 1.0 + 1e-12


@pytest.mark.parametrize("chances", [(0.25, 0.5, 0.25), (0.1, 0.8, 0.1), (0.4, 0.2, 0.4)])
def test_its_expected_value_is_at_most_one_with_ties(chances: tuple[float, float, float]) -> None:
    of = dict(zip((0.0, 0.5, 1.0), chances, strict=True))
    expected = math.fsum(
        math.prod(of[result] for result in results) * e_value(results, 0.5, level(0))
        for results in product(of, repeat=6)
    )
    assert expected == pytest.approx(1.0)


def test_the_order_of_the_tasks_changes_no_bit() -> None:
    results = [0.0, 0.25, 1.0, 1.0, 0.75, 0.5, 1.0]
    assert e_value(results, 0.5, level(3)) == e_value(results[::-1], 0.5, level(3))


def test_each_win_in_the_place_of_a_loss_is_more_evidence() -> None:
    evidence = [e_value([1.0] * wins + [0.0] * (40 - wins), 0.5, level(0)) for wins in range(20, 41)]
    assert evidence == sorted(evidence)


def test_seeds_that_agree_with_their_mean_are_more_evidence_than_wins_and_losses() -> None:
    assert e_value([0.75] * 40, 0.5, level(0)) > 10 * e_value([1.0] * 30 + [0.0] * 10, 0.5, level(0))


def test_ties_and_nothing_compared_are_no_evidence() -> None:
    assert e_value([0.5] * 200, 0.5, level(0)) == pytest.approx(1.0)
    assert e_value([], 0.5, level(0)) == 1.0


def test_any_number_of_wins_is_a_number() -> None:
    assert e_value([1.0] * 100_000, 0.5, level(0)) == pytest.approx(math.exp(690))


@pytest.mark.parametrize("result", [-0.01, 1.01, math.nan])
def test_a_result_beyond_its_bounds_is_refused(result: float) -> None:
    with pytest.raises(ValueError, match="must be within 0 and 1"):
        e_value([0.5, result], 0.5, level(0))
