"""What a label judges, however that is written, and what a model says of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from streams.messages.contracts import PreferencePair, RewardSnapshot
from tests import factories
from trainers.online.train import train_on_pairs


def learnt(dimensions: Sequence[str]) -> RewardSnapshot:
    """Of a pair on each."""
    pairs: list[PreferencePair] = [
        replace(
            factories.pair({"eye.task": 0.9}, {"eye.task": 0.1 + n / 100}, task_id=f"t{n}", pair_id=str(n)),
            dimension=dimension,
        )
        for n, dimension in enumerate(dimensions)
    ]
    return train_on_pairs(pairs, model="default")


@pytest.mark.parametrize("whole", ["overall", "Overall", " OVERALL\t", " ", "\n"])
def test_the_whole_is_the_whole_whatever_its_case_and_spaces(whole: str) -> None:
    assert learnt([whole, whole]) == learnt(["", ""])


@pytest.mark.parametrize("name", ["physics ", " physics", "\tphysics\n"])
def test_spaces_around_a_dimension_make_no_other(name: str) -> None:
    assert learnt([name, "", name]) == learnt(["physics", "", "physics"])


def test_a_dimension_may_differ_by_case_alone() -> None:
    assert set(learnt(["Physics", "physics"]).dimensions) == {"Physics", "physics"}


def test_a_model_of_dimensions_alone_says_so() -> None:
    assert learnt(["task", "physics"]).statement == (
        "Made of labels on physics, task alone: it says nothing of the whole."
    )


def test_a_model_of_the_whole_and_of_dimensions_says_what_it_is_made_of() -> None:
    assert learnt(["task", ""]).statement.startswith("Made of 1 human labels: ")
