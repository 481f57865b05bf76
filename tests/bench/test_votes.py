"""The benchmark of rules that choose pairs on little data: it runs, and says what it measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.lab.experiment import SeedExperiment
from runner.lab.experiment_plan import ALL_CONDITIONS, ExperimentPlan, Result
from tests.bench import votes
from tests.runner.lab.test_vote_experiment import course
from trainers.asking.rules import DEFAULT_RULE, RULES


@pytest.fixture(autouse=True)
def few_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(votes, "CHECKPOINTS", (5, 20, 50, 100, 150, 200, 400))


def courses(folder: Path, known: votes.Known) -> votes.Courses:
    seeds = [votes.Begin(folder)(seed) for seed in range(2)]
    return {"small": {name: [seed(f"{known} small {name}") for seed in seeds] for name in votes.plans(known)}}


def simulated(plan: ExperimentPlan) -> dict[str, list[Result]]:
    by_name = {condition.name: condition for condition in ALL_CONDITIONS}
    seeds = [SeedExperiment(plan, seed) for seed in range(2)]
    return {name: [seed.run(by_name[name]) for seed in seeds] for name in votes._SIMULATED}


def test_every_rule_has_a_row_in_the_tables(folder: Path) -> None:
    found: dict[votes.Known, votes.Courses] = {
        "critics": courses(folder, "critics"),
        "makers": courses(folder, "makers"),
    }
    plan = ExperimentPlan(tasks=3, learning_tasks=1)
    written = votes.document(found, 2, simulated(plan), plan)
    for rule in RULES:
        assert written.count(f"\n| {rule} |") == 6
        assert f"\n| {rule} without spread |" in written
    assert written.count("\n## ") == 9
    assert written.count("\n| rising share |") == 7
    assert "\n| votes no gate | +" in written
    assert f"`{DEFAULT_RULE}` is the default" in written
    assert "None" not in written


def test_makers_are_features_where_they_are_few(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = votes.pairs_of(folder, "makers", "small")
    assert {pair.chosen_context["generator"] for pair in pairs} == {"0", "1", "2", "3"}
    assert all(not pair.chosen_context for pair in votes.pairs_of(folder, "critics", "small"))
    monkeypatch.setattr(votes, "_FEW_MAKERS", 4)
    assert votes.pairs_of(folder, "makers", "small") == []


def test_what_is_better_than_spread_in_every_repetition_is_so_in_the_table() -> None:
    of = {
        "spread": [course((0.7, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6), None)] * 3,
        "best": [course((0.7, 0.61, 0.55, 0.5, 0.5, 0.5, 0.5), None)] * 3,
    }
    row = list(votes.against_spread({"small": of}, ["best"]))[-1]
    assert row.startswith("| best | +10.0 to +10.0 (1, 0) | -50.0 to -50.0 (0, 1) |")
