"""How good a picked candidate is: counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from runner.lab.vote_picks import Judged
from streams.messages.contracts import PreferencePair
from tests import factories


def pair(better: float, worse: float, *, task: str = "one", tie: bool = False) -> PreferencePair:
    """Of two candidates that are known by their only score."""
    made = factories.pair({"critic": better}, {"critic": worse}, task_id=task)
    return replace(made, tie=tie)


# Candidate .1 wins against both others, .2 wins once, .3 never.
THREE = [pair(0.1, 0.2), pair(0.1, 0.3), pair(0.2, 0.3)]


@pytest.mark.parametrize(
    ("p", "quality"),
    [
        ((0.9, 0.9, 0.9), 1.0),  # picks .1
        ((0.2, 0.9, 0.9), 0.5),  # picks .2
        ((0.65, 0.65, 0.9), 1.0),  # picks .1, to which .2 loses
        ((0.1, 0.1, 0.1), 0.0),  # picks .3
        ((0.5, 0.5, 0.5), 0.5),  # cannot tell them apart: each as much
    ],
)
def test_the_pick_is_worth_the_share_of_its_pairs_that_it_wins(p: tuple[float, ...], quality: float) -> None:
    assert Judged.of(THREE).quality_of_picks(np.array(p)) == pytest.approx(quality)


def test_a_tie_is_half_a_win_for_both() -> None:
    judged = Judged.of([pair(0.1, 0.2, tie=True), pair(0.1, 0.3)])
    assert judged.wins.tolist() == [0.75, 0.5, 0.0]


def test_each_task_counts_as_much_however_many_pairs_it_has() -> None:
    judged = Judged.of([*THREE, pair(0.1, 0.2, task="two")])
    assert judged.quality_of_picks(np.array([0.9, 0.9, 0.9, 0.1])) == pytest.approx(0.5)


def test_which_side_a_candidate_is_on_says_nothing() -> None:
    """A model that knows nothing picks as well as chance, though the file names the better side first."""
    several = [pair(0.1, 0.2, task=str(task)) for task in range(10)]
    assert Judged.of(several).quality_of_picks(np.full(10, 0.5)) == pytest.approx(0.5)


def test_candidates_with_the_same_critics_are_told_apart_by_their_contexts() -> None:
    one = replace(pair(0.5, 0.5), chosen_context={"generator": "a"}, rejected_context={"generator": "b"})
    assert Judged.of([one]).wins.tolist() == [1.0, 0.0]
    assert len(Judged.of([pair(0.5, 0.5)]).wins) == 1
