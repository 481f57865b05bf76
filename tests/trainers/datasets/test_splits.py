"""Parts by task."""

from __future__ import annotations

from collections import Counter

import pytest

from streams.errors import BadInput
from trainers.datasets.splits import SplitShares

TASKS = [f"task {i}" for i in range(2000)]


def test_the_parts_have_about_the_shares_that_were_asked_for() -> None:
    counts = Counter(map(SplitShares(validation=0.2, test=0.1).split_of, TASKS))
    assert counts["test"] == pytest.approx(200, abs=60)
    assert counts["validation"] == pytest.approx(400, abs=80)


def test_without_shares_all_is_for_training() -> None:
    assert set(map(SplitShares().split_of, TASKS)) == {"train"}


def test_a_larger_share_only_adds_tasks() -> None:
    small, large = SplitShares(test=0.1), SplitShares(test=0.2)
    assert all(large.split_of(t) == "test" for t in TASKS if small.split_of(t) == "test")


def test_the_part_of_a_task_is_the_same_for_ever() -> None:
    """Datasets of before would otherwise have been trained on what tests a later one."""
    shares = SplitShares(validation=0.3, test=0.3)
    assert [shares.split_of(t) for t in ("a", "b", "c", "d", "e", "f")] == [
        "validation",
        "train",
        "validation",
        "train",
        "test",
        "train",
    ]


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (-0.1, 0.0), (0.0, float("nan")), (1.0, 0.0)])
def test_shares_that_leave_nothing_to_train_on_are_refused(validation: float, test: float) -> None:
    with pytest.raises(BadInput, match="leave nothing to train on"):
        SplitShares(validation=validation, test=test)
