"""The numbers behind the report's pictures, and names that are hard to draw."""

from __future__ import annotations

import math

import pytest

from tribrain.figures.plots import mean_curve, weights_plot


def test_a_run_that_stopped_keeps_its_best_in_the_mean() -> None:
    curve = mean_curve("a group", [[0.2, 0.4], [0.4]], 3)
    assert curve.mean == pytest.approx((0.3, 0.4, 0.4))
    assert curve.error == pytest.approx((0.1, 0.0, 0.0))


def test_an_iteration_without_any_value_is_a_gap() -> None:
    curve = mean_curve("a group", [[None, 0.5]], 2)
    assert math.isnan(curve.mean[0])
    assert curve.error == (0.0, 0.0)


def test_names_of_critics_are_no_formulas() -> None:
    picture = weights_plot({r"$\frac{.$\broken{": 0.5, "a_very" * 20 + ".mode": -0.5})
    assert picture.png.startswith(b"\x89PNG")
