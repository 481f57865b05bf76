"""People of the simulated world: what they are asked, what they say, and what an experiment makes of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from runner.lab.experiment import Learning, SeedExperiment
from runner.lab.experiment_plan import CONDITIONS, VOTES, ExperimentCondition, ExperimentPlan
from runner.lab.people import People
from streams.messages.contracts import PreferencePair, TraceEvent
from streams.messages.votes import RANDOM_RULE
from trainers.online.learner import OnlineLearner

SHORT = ExperimentPlan(tasks=12, learning_tasks=6)
CHOSEN = next(condition for condition in VOTES if condition.name == "votes")


@pytest.fixture(scope="module")
def runs() -> tuple[list[list[TraceEvent]], SeedExperiment]:
    experiment = SeedExperiment(ExperimentPlan(tasks=6, learning_tasks=0), 1)
    return experiment.arm(CONDITIONS[0], 0.0)[0], experiment


def people(
    runs: tuple[list[list[TraceEvent]], SeedExperiment], *, random_share: float = 1.0, noise: float = 0.0
) -> tuple[People, dict[tuple[str, int], float]]:
    """Who have watched the runs, and the true qualities."""
    events, experiment = runs
    found = People(random_share=random_share, noise=noise, seed=0)
    truth: dict[tuple[str, int], float] = {}
    for task, run in enumerate(events):
        qualities = experiment.qualities(CONDITIONS[0], task, run)
        found.watch(run, qualities)
        truth |= {(run[0].run_id, e.iter_idx): q for e, q in zip(run, qualities, strict=True)}
    return found, truth


def chosen_and_rejected(pair: PreferencePair) -> tuple[tuple[str, int], tuple[str, int]]:
    return (
        (pair.run_id, int(pair.meta["chosen_iter_idx"])),
        (pair.run_id, int(pair.meta["rejected_iter_idx"])),
    )


def votes(asked: People, n: int) -> list[PreferencePair]:
    found = [asked.vote(None) for _ in range(n)]
    return [pair for pair in found if pair is not None]


def test_they_prefer_the_better_video_where_they_do_not_err(
    runs: tuple[list[list[TraceEvent]], SeedExperiment],
) -> None:
    asked, truth = people(runs)
    for pair in votes(asked, 40):
        chosen, rejected = chosen_and_rejected(pair)
        assert truth[chosen] > truth[rejected]


def test_with_much_noise_they_err_half_the_time(runs: tuple[list[list[TraceEvent]], SeedExperiment]) -> None:
    asked, truth = people(runs, noise=100.0)
    right = [
        truth[chosen] > truth[rejected] for chosen, rejected in map(chosen_and_rejected, votes(asked, 160))
    ]
    assert 55 < sum(right) < 105


def test_each_pair_is_asked_once_and_then_there_is_none(
    runs: tuple[list[list[TraceEvent]], SeedExperiment],
) -> None:
    asked, _ = people(runs)
    found = votes(asked, 6 * 28 + 3)
    assert len(found) == 6 * 28
    assert len({frozenset(chosen_and_rejected(pair)) for pair in found}) == 6 * 28
    assert len({pair.pair_id for pair in found}) == 6 * 28


def test_they_are_asked_by_the_chooser(runs: tuple[list[list[TraceEvent]], SeedExperiment]) -> None:
    learner = OnlineLearner()
    asked, _ = people(runs, random_share=0.5)
    rules: Counter[str] = Counter()
    for _ in range(60):
        pair = asked.vote(learner.snapshot())
        assert pair is not None
        learner.on_message(pair)
        rules[pair.meta["rule"]] += 1
    assert rules.keys() == {RANDOM_RULE, "spread", "loss-optimal"}
    assert rules["spread"] < 5
    assert 18 < rules[RANDOM_RULE] < 42


def labels(plan: ExperimentPlan, condition: ExperimentCondition) -> dict[str, int]:
    """What was learnt in the steered arm of a seed."""
    learning = Learning()
    SeedExperiment(plan, 1).arm(condition, 0.25, learning=learning)
    return dict(learning.learner.labels)


def test_a_fifth_as_many_votes_are_given_as_videos_are_judged_otherwise() -> None:
    learnt = labels(SHORT, CHOSEN)
    assert learnt["human"] == int(0.2 * 0.5 * 8 * 12)
    assert "outcome" not in learnt


def test_nobody_votes_where_nobody_is_asked() -> None:
    assert "human" not in labels(replace(SHORT, label_share=0.0), CHOSEN)


def test_without_a_gate_the_first_snapshot_steers() -> None:
    by_name = {condition.name: condition for condition in VOTES}
    experiment = SeedExperiment(SHORT, 1)
    assert experiment.run(by_name["votes no gate"]).steers_from_task == 1
    assert experiment.run(CHOSEN).steers_from_task is None
