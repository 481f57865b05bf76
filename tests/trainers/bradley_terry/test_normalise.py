"""Critics on one scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import factories
from trainers.bradley_terry.marks import MARKS, MARKS_AMONG_FRACTIONS
from trainers.bradley_terry.normalise import CriticRanges

finite = st.floats(-1e6, 1e6)


def test_the_ends_are_percentiles_of_both_sides_of_the_pairs() -> None:
    pairs = [factories.pair({"clip": 20.0 + n}, {"clip": 20.0 - n}) for n in range(101)]
    sides = [20.0 + n for n in range(101)] + [20.0 - n for n in range(101)]
    assert CriticRanges.of_pairs(pairs).ends["clip"] == pytest.approx(tuple(np.percentile(sides, [1, 99])))


def test_an_outlier_does_not_squeeze_the_rest() -> None:
    pairs = [factories.pair({"a": n / 500}, {"a": 0.0}) for n in range(500)]
    outlier = factories.pair({"a": 1e9}, {"a": 0.5})
    scaled = CriticRanges.of_pairs([*pairs, outlier]).apply({"a": 0.5})["a"]
    assert scaled is not None
    assert 0.4 < scaled < 0.6


def test_a_score_at_an_end_or_beyond_is_0_or_1() -> None:
    ranges = CriticRanges({"a": (10.0, 20.0)})
    assert [ranges.apply({"a": score})["a"] for score in (-5.0, 10.0, 15.0, 20.0, 90.0)] == [0, 0, 0.5, 1, 1]


def test_a_missing_score_stays_missing() -> None:
    assert CriticRanges({"a": (0.0, 1.0)}).apply({"a": None}) == {"a": None}


@pytest.mark.parametrize("mark", [-1.0, -999.0, 1e6])
def test_a_mark_for_a_missing_score_is_missing_and_moves_no_end(mark: float) -> None:
    marked, missing = (
        CriticRanges.of_pairs([factories.pair({"a": n / 50}, {"a": of}) for n in range(50)])
        for of in (mark, None)
    )
    assert marked == missing
    assert marked.apply({"a": mark}) == {"a": None}


def test_missing_scores_move_no_end() -> None:
    pairs = [factories.pair({"a": 1.0, "b": None}, {"a": 0.0}), factories.pair({"a": None}, {"a": None})]
    assert CriticRanges.of_pairs(pairs).ends == {"a": pytest.approx((0.01, 0.99))}


def test_a_critic_that_never_varies_is_left_out() -> None:
    ranges = CriticRanges.of_pairs([factories.pair({"a": 0.5, "b": 0.1}, {"a": 0.5, "b": 0.2})])
    assert ranges.apply({"a": 0.7, "b": 0.15}).keys() == {"b"}


def test_a_critic_that_the_training_pairs_lack_is_left_out() -> None:
    assert CriticRanges({"a": (0.0, 2.0)}).apply({"a": 1.0, "new": 5.0}) == {"a": 0.5}


def test_both_sides_of_a_pair_are_scaled_and_nothing_else() -> None:
    pair = factories.pair({"a": 15.0}, {"a": 10.0}, weight=0.5)
    scaled = CriticRanges({"a": (10.0, 20.0)}).apply_to_pair(pair)
    assert (scaled.chosen_critics, scaled.rejected_critics) == ({"a": 0.5}, {"a": 0.0})
    assert (scaled.task_id, scaled.weight) == (pair.task_id, 0.5)


no_marks = finite.filter(lambda score: score not in MARKS + MARKS_AMONG_FRACTIONS)


@given(st.lists(st.tuples(finite, finite), min_size=1), no_marks)
def test_what_comes_out_is_within_0_and_1(sides: list[tuple[float, float]], score: float) -> None:
    ranges = CriticRanges.of_pairs([factories.pair({"a": a}, {"a": b}) for a, b in sides])
    scaled = ranges.apply({"a": score}).get("a", 0.5)
    assert scaled is not None
    assert 0.0 <= scaled <= 1.0
