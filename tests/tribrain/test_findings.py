"""What a demo's report claims of its runs, and what it does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from streams.messages.contracts import GateState, RewardSnapshot, RunEnd
from tests import factories
from trainers.online.train import train_on_pairs
from tribrain.demo.findings import Gains, gains_of, headline, lead, refinement, steering
from tribrain.story.gains import difference_of_means, mean_over_runs
from tribrain.story.traced_run import TracedRun


def model(gate: GateState, closed_times: int = 0) -> RewardSnapshot:
    made = train_on_pairs([factories.pair({"goal.task": 0.9}, {"goal.task": 0.1})])
    metrics = made.metrics | {"gate": {"closed_times": closed_times}}
    return replace(made, gate=gate, metrics=metrics)


def gains(never: Sequence[float], throughout: Sequence[float], measure: str = "true quality") -> Gains:
    return Gains(
        measure=measure,
        everyone=[*never, *throughout],
        never=never,
        throughout=throughout,
        first_mean=0.5,
        best_mean=0.6,
    )


LITTLE, MUCH = [0.10, 0.12, 0.08, 0.11], [0.30, 0.33, 0.28, 0.31]
ANYTHING = [0.9, -0.7, 0.4, -0.2]


def test_a_gain_whose_interval_leaves_out_0_is_claimed_with_both_figures() -> None:
    said = headline(51, model("active"), gains(LITTLE, MUCH))
    assert said == (
        "After 51 runs the model beat the critics' mean, and runs that it steered improved their first video "
        "by 0.30 rather than 0.10 in true quality."
    )
    assert "a difference of +0.20 (95% interval +0.17 to +0.24)" in steering(gains(LITTLE, MUCH))
    assert "not what the model alone did" in steering(gains(LITTLE, MUCH))


def test_a_gain_whose_interval_covers_0_is_not_claimed() -> None:
    said = headline(51, model("active"), gains(LITTLE, ANYTHING))
    assert said.endswith("; steering was not shown to improve the videos.")
    assert "The interval covers 0, so no difference is shown." in steering(gains(LITTLE, ANYTHING))


def test_a_loss_is_said_as_one() -> None:
    assert "improved their first video by only 0.10 rather than 0.30" in headline(
        51, model("active"), gains(MUCH, LITTLE)
    )


@pytest.mark.parametrize(
    ("never", "throughout", "lacks"), [([], MUCH, "every"), (LITTLE, [], "no"), ([], [], "no")]
)
def test_without_both_groups_nothing_is_said_of_steering(
    never: list[float], throughout: list[float], lacks: str
) -> None:
    found = gains(never, throughout)
    assert "what steering changes is not known" in headline(51, model("active"), found)
    assert steering(found).startswith(f"There is nothing to compare: {lacks} judged run was steered ")


def test_the_first_and_best_means_are_as_exact_as_the_gain_between_them() -> None:
    """With two digits these would read 0.52 to 0.58, by 0.07."""
    found = dataclasses.replace(gains([0.0652, 0.0648], [0.065]), first_mean=0.5151, best_mean=0.5801)
    assert "went from 0.515 (first) to 0.580 (best), by +0.07" in refinement(found)


def test_a_single_run_of_a_group_is_no_evidence() -> None:
    said = headline(51, model("active"), gains(LITTLE, [0.9]))
    assert said.endswith("; steering was not shown to improve the videos.")
    assert "With a single run in a group nothing more can be said." in steering(gains(LITTLE, [0.9]))


@pytest.mark.parametrize(
    ("n_runs", "snapshot", "said"),
    [
        (0, None, "No run had finished, so there is nothing to tell."),
        (1, None, "After 1 run no reward model was published, so nothing was steered."),
        (
            51,
            model("shadow"),
            "After 51 runs the model has not been shown to beat the critics' mean, so it steered nothing.",
        ),
        (
            51,
            model("shadow", closed_times=1),
            "After 51 runs the model has lost its lead over the critics' mean, and steers nothing any more.",
        ),
    ],
)
def test_where_nothing_was_shown_the_headline_says_so(
    n_runs: int, snapshot: RewardSnapshot | None, said: str
) -> None:
    assert headline(n_runs, snapshot, gains(LITTLE, MUCH)) == said


def test_that_the_critics_own_score_rises_is_no_proof() -> None:
    assert "no proof of better videos" in refinement(gains(LITTLE, MUCH, "critics' score"))
    assert "no proof" not in refinement(gains(LITTLE, MUCH))
    assert "Refinement was not shown to improve them." in refinement(gains(ANYTHING, []))


def test_runs_without_a_judged_video_are_told_without_a_figure() -> None:
    run = TracedRun(run_id="r", folder=Path(), events=(factories.event(0, None),))
    assert lead(None, gains_of([run])) == ["No run has both a first and a best video that were judged."]


def test_a_gain_is_that_of_the_best_over_the_first_video() -> None:
    events = tuple(factories.event(i, score) for i, score in enumerate([0.4, 0.7, 0.6]))
    end = RunEnd(run_id="r", iterations=(0, 1, 2))
    run = TracedRun(run_id="r", folder=Path(), events=events, end=end)
    found = gains_of([run])
    assert found.never == pytest.approx([0.3])
    assert (found.first_mean, found.best_mean) == pytest.approx((0.4, 0.7))


def test_intervals_are_students_and_welchs() -> None:
    """By SciPy's ``ttest_1samp`` and ``ttest_ind`` (``equal_var=False``)."""
    stats = pytest.importorskip("scipy.stats")
    one = stats.ttest_1samp(LITTLE, 0.0).confidence_interval(0.95)
    two = stats.ttest_ind(MUCH, ANYTHING, equal_var=False).confidence_interval(0.95)
    mine, apart = mean_over_runs(LITTLE), difference_of_means(MUCH, ANYTHING)
    assert mine is not None
    assert apart is not None
    assert mine.ci95 == pytest.approx((one.low, one.high))
    assert apart.ci95 == pytest.approx((two.low, two.high))


def test_runs_that_do_not_vary_leave_no_doubt() -> None:
    found = difference_of_means([0.2, 0.2], [0.1, 0.1])
    assert found is not None
    assert found.ci95 == pytest.approx((0.1, 0.1))
