"""The numbers behind the report's plots, and what they are drawn as."""

from __future__ import annotations

import math

import pytest

from tribrain.figures.report_plots import LearningStep, course_plot, evidence_plot, log_loss_plot, mean_curve


def step(pairs: int, *, active: bool = False, evidence: float = 1.0) -> LearningStep:
    return LearningStep(pairs, 0.5, 0.6, evidence, active)


def test_a_run_that_stopped_keeps_its_best_in_the_mean() -> None:
    curve = mean_curve("a group", [[0.2, 0.4], [0.4]], 3)
    assert curve.mean == pytest.approx((0.3, 0.4, 0.4))
    assert curve.error == pytest.approx((0.1, 0.0, 0.0))


def test_an_iteration_without_any_value_is_a_gap() -> None:
    curve = mean_curve("a group", [[None, 0.5]], 2)
    assert math.isnan(curve.mean[0])
    assert curve.error == (0.0, 0.0)


def test_a_course_without_any_value_is_no_run() -> None:
    assert mean_curve("a group", [[None, None], [], [0.5]], 2).n_runs == 1


def test_a_group_without_runs_is_not_drawn_and_none_is_no_plot() -> None:
    nobody, somebody = mean_curve("nobody", [], 2), mean_curve("somebody", [[0.1, 0.2]], 2)
    drawn = course_plot("a title", [nobody, somebody])
    assert drawn is not None
    assert "somebody (1 run)" in drawn.svg
    assert "nobody" not in drawn.svg
    assert course_plot("a title", [nobody]) is None


def test_the_same_numbers_are_the_same_text() -> None:
    assert log_loss_plot([step(3), step(9)]) == log_loss_plot([step(3), step(9)])


def test_no_plot_names_an_element_that_another_one_names_too() -> None:
    drawn = [log_loss_plot([step(3), step(9)]), evidence_plot([step(3), step(9)], 20.0)]
    assert all(plot is not None and '<g id="' not in plot.svg for plot in drawn)


def test_each_opening_of_the_gate_is_marked_and_named_once() -> None:
    steps = [step(3), step(5, active=True), step(7), step(9, active=True), step(11, active=True)]
    drawn, closed = evidence_plot(steps, 20.0), evidence_plot([step(3), step(5)], 20.0)
    assert drawn is not None
    assert closed is not None
    assert drawn.svg.count(">gate opened<") == 1
    assert ">gate opened<" not in closed.svg
    # Of the two openings and of the line in the legend.
    assert drawn.svg.count("stroke-dasharray: 1.2") - closed.svg.count("stroke-dasharray: 1.2") == 3


def test_evidence_is_written_in_plain_numbers() -> None:
    drawn = evidence_plot([step(3, evidence=1.0), step(5, evidence=400.0)], 20.0)
    assert drawn is not None
    assert ">100<" in drawn.svg
    assert "mathdefault" not in drawn.svg


def test_without_a_trusted_pair_there_is_nothing_to_draw() -> None:
    assert log_loss_plot([LearningStep(0, None, None, 1.0, False)]) is None
    assert evidence_plot([LearningStep(0, None, None, 1.0, False)], 20.0) is None
