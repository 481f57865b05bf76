"""Rounds of mutated messages; ``make test-faults`` runs a million of them."""

from __future__ import annotations

import logging

import pytest

from tests.fuzz.rounds import MUTATED, run_round


@pytest.fixture(autouse=True)
def _no_line_for_each_dead_letter(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


def run_rounds(first: int, n: int) -> None:
    for seed in range(first, first + n):
        try:
            run_round(seed)
        except BaseException as error:
            error.add_note(f"python -m tests.fuzz {seed} runs it again")
            raise


@pytest.mark.parametrize("first", range(0, 20, 5))
def test_no_message_ends_anything_and_a_model_is_as_if_the_refused_had_never_come(first: int) -> None:
    run_rounds(first, 5)


@pytest.mark.long
@pytest.mark.parametrize("part", range(10))
def test_a_million_mutated_messages_end_nothing(part: int) -> None:
    n = 1_000_000 // 10 // MUTATED
    run_rounds(1_000 + part * n, n)
