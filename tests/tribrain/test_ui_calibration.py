"""The curve of the Model page: where its points are, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from tribrain.ui.calibration import BOTTOM, LEFT, RIGHT, TOP, in_words, points


def of(*bins: tuple[int, float, float]) -> dict[str, Any]:
    return {"calibration": [{"n": n, "stated": stated, "right": right} for n, stated, right in bins]}


def test_a_point_stands_where_it_was_stated_and_came_true() -> None:
    half, sure = points(of((4, 0.5, 2.0), (10, 1.0, 10.0)))
    assert (half.x, half.y) == (LEFT, (TOP + BOTTOM) / 2)
    assert (sure.x, sure.y) == (RIGHT, TOP)


def test_the_interval_is_wilsons() -> None:
    # 8 of 10: 0.490 to 0.943 (Wilson 1927; also in Brown, Cai and DasGupta 2001).
    (point,) = points(of((10, 0.8, 8.0)))
    assert (point.low, point.high) == pytest.approx((0.490, 0.943), abs=0.001)
    assert point.y_low > point.y > point.y_high
    assert point.words == "stated 80%, came true 80% (49% to 94%) of 10"


@pytest.mark.parametrize(
    ("bins", "words"),
    [
        ([(100, 0.95, 60.0)], "It is overconfident where it states 95%."),
        ([(100, 0.6, 90.0), (100, 0.7, 95.0)], "It is underconfident where it states 60% and 70%."),
        (
            [(20, 0.8, 16.0)],
            "All stated probabilities lie within the 95% intervals of what was observed.",
        ),
    ],
)
def test_it_is_said_where_the_model_is_wrong_about_itself(
    bins: list[tuple[int, float, float]], words: str
) -> None:
    assert words in in_words(points(of(*bins)))


def test_one_pair_is_said_in_the_singular() -> None:
    assert "100% of 1 pair." in in_words(points(of((19, 0.6, 11.0), (1, 0.9, 1.0))))


def test_of_few_pairs_nothing_is_concluded() -> None:
    assert in_words(points(of((19, 0.9, 0.0)))) == "This is from 19 pairs, too few to say more."


@pytest.mark.parametrize(
    "figures",
    [
        None,
        {},
        {"n": 3},  # of a trainer that did not say it yet
        {"calibration": None},
        {"calibration": "0.5"},
        {"calibration": [None, 3, {}, {"n": 0, "stated": 0.8, "right": 0}]},
        of((2, 0.8, 3.0)),
        of((2, 0.3, 1.0)),
        of((-2, 0.8, -1.0)),
        of((2, float("nan"), 1.0)),
    ],
)
def test_what_is_no_figure_draws_nothing(figures: dict[str, Any] | None) -> None:
    assert points(figures) == []
