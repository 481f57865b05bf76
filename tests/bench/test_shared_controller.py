"""The benchmark of a shared controller, on few runs."""

from __future__ import annotations

import orjson
import pytest
from click.testing import CliRunner

from tests.bench.shared_controller import ALONE, DIFFERENCE, SHARED, bench


def said(*arguments: str) -> dict[str, dict[str, float]]:
    done = CliRunner().invoke(bench, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, dict[str, float]] = orjson.loads(done.output)
    return found


def test_the_first_run_of_a_suite_has_nothing_to_share() -> None:
    found = said("--seeds", "2", "--tasks", "1", "--iters", "3")
    assert found[SHARED]["mean"] == found[ALONE]["mean"] > 0.0
    assert found[DIFFERENCE]["mean"] == 0.0


def test_both_ways_refine_the_same_tasks_and_come_out_otherwise() -> None:
    found = said("--seeds", "2", "--tasks", "4", "--iters", "4")
    assert found[SHARED]["mean"] != found[ALONE]["mean"]
    assert found[DIFFERENCE]["mean"] == pytest.approx(found[SHARED]["mean"] - found[ALONE]["mean"])
