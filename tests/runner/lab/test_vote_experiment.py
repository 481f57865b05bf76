"""Votes that are simulated: who is asked what, what is learnt of it, and how many votes a rule needs."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from msgspec.structs import replace

from runner.lab.vote_experiment import arms_of, measure_votes
from runner.lab.vote_figures import first_reached, vote_figures
from runner.lab.vote_simulation import (
    ANY_PAIR,
    ASKABLE,
    LearningCurve,
    Split,
    VotePlan,
    _answer,
    _Asking,
    run_votes,
)
from streams.errors import BadInput
from streams.messages.contracts import PreferencePair
from tests import factories
from trainers.asking.chooser import SPREAD_RULE
from trainers.bradley_terry.estimators import Recipe


def judged(tasks: int = 24, seed: int = 0, noise: float = 0.15) -> list[PreferencePair]:
    """People follow the first of four critics, mostly; six pairs of a task, one of them a tie."""
    rng = np.random.default_rng(seed)
    pairs = []
    for task in range(tasks):
        scores = rng.random((4, 4))
        for a in range(4):
            for b in range(a):
                better, worse = (a, b) if scores[a, 0] + rng.normal(0, noise) > scores[b, 0] else (b, a)
                one, other = (
                    dict(zip(("good", "vain", "dull", "odd"), scores[side].tolist(), strict=True))
                    for side in (better, worse)
                )
                pair = factories.pair(one, other, task_id=f"task-{task}")
                pairs.append(replace(pair, tie=(a, b) == (1, 0)))
    return pairs


SPLIT = Split.of(judged(), 0)


def course(log_losses: tuple[float, ...], gate_opened_at: int | None) -> LearningCurve:
    """Picks get better as the log loss falls."""
    return LearningCurve(log_losses, tuple(1.0 - loss for loss in log_losses), gate_opened_at)


def asked(plan: VotePlan, votes: int) -> list[tuple[int, bool]]:
    asking = _Asking(SPLIT.known, plan, np.random.default_rng(0))
    learner = Recipe().new().with_features(SPLIT.known.features)
    return [asking.next(learner) for _ in range(votes)]


def test_the_tasks_that_are_asked_about_are_not_those_that_are_measured_on() -> None:
    assert SPLIT.known.n_tasks == 18
    assert SPLIT.held_out.n_tasks == 6


def test_log_loss_is_of_pairs_that_are_no_ties() -> None:
    kept, judged_pairs = ~SPLIT.held_out.ties, SPLIT.judged
    decided = Split(
        SPLIT.known,
        SPLIT.held_out.decided,
        dataclasses.replace(
            judged_pairs, chosen=judged_pairs.chosen[kept], rejected=judged_pairs.rejected[kept]
        ),
    )
    with_ties, without = (
        run_votes(split, VotePlan(rule=SPREAD_RULE), (5, 50), seed=0) for split in (SPLIT, decided)
    )
    assert with_ties.log_losses == without.log_losses


def test_a_part_kept_apart_of_ties_alone_is_bad_input() -> None:
    ties = [replace(pair, tie=True) for pair in judged(tasks=8)]
    with pytest.raises(BadInput, match=r"all 12 pairs that were kept apart to measure on are ties"):
        Split.of(ties, 0)


@pytest.mark.parametrize("rule", ASKABLE)
def test_every_pair_is_asked_about_once(rule: str) -> None:
    rows = [row for row, _ in asked(VotePlan(rule=rule, random_share=0.3), len(SPLIT.known.X))]
    assert sorted(rows) == list(range(len(SPLIT.known.X)))


@pytest.mark.parametrize("rule", [rule for rule in ASKABLE if rule != ANY_PAIR])
def test_rules_take_one_pair_of_each_task_before_a_second_of_any(rule: str) -> None:
    rows = [row for row, _ in asked(VotePlan(rule=rule), 36)]
    assert set(Counter(SPLIT.known.tasks[rows[:18]]).values()) == {1}
    assert set(Counter(SPLIT.known.tasks[rows]).values()) == {2}


def test_without_spread_a_rule_may_stay_with_one_task() -> None:
    rows = [row for row, _ in asked(VotePlan(rule="variance", spread=False), 18)]
    assert max(Counter(SPLIT.known.tasks[rows]).values()) > 1


def test_so_many_votes_are_random_as_the_plan_says() -> None:
    flags = [is_random for _, is_random in asked(VotePlan(rule="loss-optimal", random_share=0.4), 100)]
    assert 25 < sum(flags) < 55
    assert not any(is_random for _, is_random in asked(VotePlan(rule="loss-optimal"), 50))


def test_answers_err_as_often_as_the_plan_says() -> None:
    rng = np.random.default_rng(0)
    signs = Counter(_answer(False, 0.2, rng) for _ in range(1_000))
    assert signs[-1.0, False] == pytest.approx(200, abs=50)
    assert signs.keys() == {(1.0, False), (-1.0, False)}
    of_ties = Counter(_answer(True, 0.4, rng) for _ in range(1_000))
    assert of_ties[1.0, True] == pytest.approx(600, abs=60)
    assert of_ties[1.0, False] == pytest.approx(of_ties[-1.0, False], abs=60)


def test_votes_teach_and_errors_teach_less() -> None:
    losses = [
        run_votes(SPLIT, VotePlan(rule=SPREAD_RULE, flips=flips), (5, 100), seed=0).log_losses
        for flips in (0.0, 0.5)
    ]
    assert losses[0][1] < losses[0][0]  # type: ignore[operator]
    assert losses[0][1] < losses[1][1]  # type: ignore[operator]


def test_the_same_seed_gives_the_same_course_and_votes_end_with_the_pairs() -> None:
    plan = VotePlan(rule="loss-optimal", random_share=0.2, flips=0.1)
    one, again = (run_votes(SPLIT, plan, (50, 108, 109), seed=3) for _ in range(2))
    assert one == again
    assert one.log_losses[1] is not None
    assert one.log_losses[2] is None


def test_the_gate_opens_by_random_votes_alone() -> None:
    split = Split.of(judged(tasks=200), 0)
    at = [
        run_votes(split, VotePlan(rule="loss-optimal", random_share=share, votes=150), (5,), 0).gate_opened_at
        for share in (0.0, 0.5)
    ]
    assert at[0] is None
    assert at[1] is not None


def test_a_curve_reaches_a_level_between_two_numbers_of_votes() -> None:
    curve = np.array([0.7, 0.6, 0.5])
    assert first_reached(curve, 0.55, (10, 20, 40)) == pytest.approx(30.0)
    assert first_reached(curve, 0.8, (10, 20, 40)) == 10.0
    assert first_reached(curve, 0.4, (10, 20, 40)) == np.inf


def test_a_rule_that_learns_twice_as_fast_needs_half_the_votes_and_is_worth_twice_as_many() -> None:
    votes = (50, 100, 200, 400)
    slow = [course((0.68 + e, 0.66 + e, 0.62 + e, 0.54 + e), None) for e in (0.0, 0.01, 0.02)]
    fast = [course((0.66 + e, 0.62 + e, 0.54 + e, 0.53 + e), 60) for e in (0.0, 0.01, 0.02)]
    figures = vote_figures({"random": slow, "fast": fast}, "random", votes)
    assert [one.votes for one in figures["fast"].needed] == pytest.approx([50, 100, 200])
    assert [one.ci95 for one in figures["fast"].needed] == [pytest.approx((v, v)) for v in (50, 100, 200)]
    assert figures["fast"].worth[:3] == pytest.approx((100, 200, 400))
    assert figures["fast"].worth[3] is None
    assert figures["fast"].minus_random_ci95[0] == pytest.approx((-0.02, -0.02))
    assert figures["fast"].picked == pytest.approx((0.33, 0.37, 0.45, 0.46))
    assert figures["fast"].picked_minus_random == pytest.approx((0.02, 0.04, 0.08, 0.01))
    assert figures["fast"].picked_minus_random_ci95[2] == pytest.approx((0.08, 0.08))
    assert (figures["fast"].gate_opened, figures["fast"].gate_opened_at) == (3, 60.0)
    assert (figures["random"].gate_opened, figures["random"].gate_opened_at) == (0, None)


def test_random_votes_are_always_measured_with_each_share_of_errors() -> None:
    arms = arms_of(["variance"], (0.0, 0.1), (0.0, 0.2), votes=100)
    assert [arm.name for arm in arms] == [
        "random", "variance", "variance, 20% random",
        "random, 10% wrong", "variance, 10% wrong", "variance, 20% random, 10% wrong",
    ]  # fmt: skip


def test_what_people_follow_is_learnt_with_fewer_votes_where_they_are_chosen() -> None:
    arms = arms_of(["loss-optimal"], (0.0,), (0.0,), votes=100)
    measured = measure_votes(judged(tasks=60, noise=0.4), arms, seeds=range(8))
    needed = measured.figures[arms[1]].needed[0]
    assert (measured.pairs, measured.tasks, measured.ties, measured.repetitions) == (360, 60, 60, 8)
    assert needed.random == 100
    assert needed.votes is not None
    assert needed.votes < 80


def test_curves_end_where_the_shortest_repetition_does() -> None:
    arms = arms_of([SPREAD_RULE], (0.0,), (0.0,), votes=400)
    measured = measure_votes(judged(tasks=8), arms, seeds=range(2))
    assert measured.checkpoints == (5, 10, 15, 20, 30)
    assert [len(of.log_loss) for of in measured.figures.values()] == [5, 5]
    assert [of.needed for of in measured.figures.values()] == [(), ()]


@pytest.mark.parametrize(
    ("pairs", "votes", "says"),
    [
        (judged(tasks=1), 100, r"the pairs are of 1 tasks; expected 2 or more"),
        (judged(tasks=8), 4, r"the votes end before the first figure, after 5 votes; give more --votes"),
    ],
)
def test_where_nothing_can_be_measured_is_bad_input(
    pairs: list[PreferencePair], votes: int, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        measure_votes(pairs, arms_of([], (0.0,), (0.0,), votes=votes), seeds=range(2))
