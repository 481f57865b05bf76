"""A model's line of checkpoints: what is counted, reserved and shown survives, whoever reads the events."""

from __future__ import annotations

import pytest

from runner.finetune.comparison import PairedTask
from runner.finetune.line import RESERVED, SHOWN, comparable, line_of, prompts_of, with_new_seeds
from streams.errors import BadInput
from streams.messages.contracts import FinetuneEvent, FinetuneStep
from tests.factories import finetune_event as event
from trainers.datasets.prompts import prompt_digest

TASKS = [PairedTask("pour the tea", 1), PairedTask("pour the tea", 2), PairedTask("open the drawer", 3)]


def training(version: int, end: FinetuneStep) -> list[FinetuneEvent]:
    steps: tuple[FinetuneStep, ...] = ("planned", "dataset", "trained", "compared", end)
    return [event(version, step) for step in steps]


def test_a_comparison_that_promoted_nothing_counts_for_good() -> None:
    events = [*training(1, "kept"), *training(2, "kept"), *training(3, "promoted"), *training(4, "kept")]
    assert line_of(events).without_promotion == 3


def test_a_step_that_is_told_twice_counts_once() -> None:
    assert line_of(training(1, "kept") * 2).without_promotion == 1


def test_a_comparison_that_was_given_up_counts() -> None:
    given_up = [event(1, "planned", job="other"), event(1, "trained", job="other")]
    assert line_of([*given_up, *training(1, "promoted")]).without_promotion == 1


def test_a_training_without_videos_costs_nothing() -> None:
    assert line_of([event(1, "planned"), event(1, "kept")]).without_promotion == 0


def test_what_was_reserved_or_shown_once_stays_so() -> None:
    line = line_of(
        [
            event(1, "planned", details={RESERVED: ["a"]}),
            event(1, "dataset", details={SHOWN: ["x", "y"]}),
            event(2, "planned", details={RESERVED: ["b"]}),
            event(2, "dataset", details={SHOWN: ["z"]}),
        ]
    )
    assert line.reserved == {"a", "b"}
    assert line.shown == {"x", "y", "z"}


def test_a_prompt_that_was_shown_is_not_compared_on() -> None:
    shown = {prompt_digest("Pour the  tea.")}
    assert comparable(TASKS, shown) == TASKS[2:]


def test_without_a_prompt_that_was_never_shown_nothing_can_be_compared() -> None:
    with pytest.raises(
        BadInput, match="found 2 prompts to compare checkpoints on, each already in a dataset"
    ):
        comparable(TASKS, prompts_of(TASKS))


def test_each_comparison_has_seeds_of_its_own_and_the_same_ones_when_it_goes_on() -> None:
    one, later, again = (with_new_seeds(TASKS, *of) for of in ((1, 0), (2, 1), (1, 1)))
    assert one == with_new_seeds(TASKS, 1, 0)
    assert len({task.seed for task in one + later + again}) == 9
    assert all(2**30 <= task.seed < 2**31 for task in one)
    assert [task.goal for task in one] == [task.goal for task in TASKS]
