"""Which candidate of a run is best: one number each, whatever the order and whatever is missing."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from runner.rewards.preference import PreferencePolicy, RewardComparison
from runner.rewards.standings import SAMPLE, Standing, Standings, best_of, combined_rewards
from streams.messages.contracts import CriticResult, RewardSnapshot, TraceEvent
from tests.runner.fakes import Scores, judged, snapshot

PEOPLE = snapshot({"eye.quality": 0.1, "eye.task": 2.0})
SURE = snapshot({"eye.task": 50.0})

unit = st.floats(0.0, 1.0)
score = st.one_of(st.none(), unit)
few = st.lists(st.fixed_dictionaries({"quality": unit, "task": score}), min_size=1, max_size=8)


def drawn(seed: int) -> list[Scores]:
    """More than anything is compared with."""
    rng = random.Random(seed)
    return [
        {"quality": rng.random(), "task": rng.random() if rng.random() < 0.9 else None}
        for _ in range(rng.randint(SAMPLE + 1, 2 * SAMPLE))
    ]


seeds = st.integers(0, 999)
candidates = st.one_of(few, seeds.map(drawn))


def standings(
    *scores: Scores,
    under: RewardSnapshot | None = None,
    policy: PreferencePolicy | None = None,
    order: Sequence[int] | None = None,
) -> dict[int, Standing]:
    """By the number of the scores, in whatever order they come."""
    run = Standings(policy or PreferencePolicy(weight=0.25))
    for idx in order if order is not None else range(len(scores)):
        run.add(judged(scores[idx], iter_idx=idx))
    return run.under(under)


def ring() -> list[dict[str, float]]:
    """Critics like the first best and people the last: each would replace the one before it."""
    return [{"quality": 0.9, "task": 0.0}, {"quality": 0.75, "task": 0.04}, {"quality": 0.6, "task": 0.09}]


# The order


@settings(deadline=None, max_examples=20)
@given(candidates, seeds)
def test_the_numbers_are_the_same_in_whatever_order_candidates_arrive(of: list[Scores], seed: int) -> None:
    order = random.Random(seed).sample(range(len(of)), len(of))
    one, other = standings(*of, under=PEOPLE), standings(*of, under=PEOPLE, order=order)
    assert one == other


@settings(deadline=None, max_examples=20)
@given(candidates, seeds)
def test_the_numbers_are_the_same_in_whatever_order_candidates_are_made(of: list[Scores], seed: int) -> None:
    order = random.Random(seed).sample(range(len(of)), len(of))
    one, other = standings(*of, under=PEOPLE), standings(*(of[idx] for idx in order), under=PEOPLE)
    assert [one[idx] for idx in order] == list(other.values())


def test_candidates_that_would_beat_each_other_in_a_ring_have_one_best() -> None:
    bests = {
        best_of(standings(*ring(), under=SURE, order=order)) for order in itertools.permutations(range(3))
    }
    assert len(bests) == 1


def test_of_equals_the_earlier_is_the_best() -> None:
    assert best_of(standings({"quality": 0.5}, {"quality": 0.5}, order=(1, 0))) == 0


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("others", [1, 2, 6])
def test_a_candidate_that_a_critic_failed_on_wins_no_tie(order: tuple[int, ...], others: int) -> None:
    """The lowest score of the critic is its only one, so both have the same reward."""
    whole: Scores = {**{f"k{n}": 0.1 * n for n in range(others)}, "j": 0.9}
    lacks: Scores = {**whole, "j": None}
    lacks_more: Scores = {**lacks, "k0": None}
    ranked = [(whole, lacks, lacks_more)[idx] for idx in order]
    best = best_of(standings(*ranked))
    assert best is not None
    assert ranked[best] is whole


def test_without_candidates_there_is_no_best() -> None:
    assert best_of(standings()) is None


# How far preferences go


@settings(deadline=None, max_examples=20)
@given(candidates, st.floats(0.0, 2.0))
def test_the_pick_is_never_worse_by_the_critics_than_the_weight_allows(
    of: list[Scores], weight: float
) -> None:
    found = standings(*of, under=SURE, policy=PreferencePolicy(weight=weight))
    pick = best_of(found)
    assert pick is not None
    assert found[pick].critic_reward >= max(s.critic_reward for s in found.values()) - weight - 1e-12


@settings(deadline=None)
@given(few, st.floats(0.0, 2.0))
def test_a_preference_moves_a_reward_by_no_more_than_the_weight(of: list[Scores], weight: float) -> None:
    found = standings(*of, under=SURE, policy=PreferencePolicy(weight=weight))
    assert all(abs(s.reward - s.critic_reward) <= weight + 1e-12 for s in found.values())


@settings(deadline=None)
@given(few)
def test_a_shadow_leaves_the_critics_reward_as_it_is(of: list[Scores]) -> None:
    found = standings(*of, under=replace(SURE, gate="shadow"))
    assert all(s.reward == s.critic_reward and s.confidence == 0.0 for s in found.values())


def test_a_preference_can_overrule_the_critics() -> None:
    """Critics like the pretty one better; people were seen to care for the task."""
    pretty, fulfilled = {"quality": 0.9, "task": 0.2}, {"quality": 0.5, "task": 0.5}
    assert best_of(standings(pretty, fulfilled)) == 0
    assert best_of(standings(pretty, fulfilled, under=PEOPLE)) == 1


def test_the_formula_is_the_mean_over_the_others() -> None:
    found = standings({"task": 0.5}, {"task": 0.52}, {"task": 0.56}, under=SURE)
    policy = PreferencePolicy(weight=0.25)
    events = [judged({"task": s}) for s in (0.5, 0.52, 0.56)]
    leans = [policy.compare(events[1], other, SURE).lean for other in (events[0], events[2])]
    assert found[1].reward == pytest.approx(0.52 + 0.25 * sum(leans) / 2)


def test_a_candidate_alone_has_the_critics_reward() -> None:
    (alone,) = standings({"quality": 0.4}, under=PEOPLE).values()
    assert (alone.reward, alone.critic_reward, alone.probability) == (0.4, 0.4, None)


def test_what_lies_too_low_is_not_lifted() -> None:
    rewards = combined_rewards(np.array([0.9, 0.6, 0.7]), np.array([-1.0, 1.0, 1.0]), 0.25)
    assert rewards == pytest.approx([0.65, 0.6, 0.95])


def test_a_newer_snapshot_scores_all_again() -> None:
    run = Standings(PreferencePolicy(weight=0.5))
    for idx, task in enumerate((0.4, 0.5, 0.6)):
        run.add(judged({"task": task}, iter_idx=idx))
    bests = [best_of(run.under(known)) for known in (SURE, snapshot({"eye.task": -50.0}), SURE)]
    assert bests == [2, 0, 2]


def test_the_cost_of_a_candidate_does_not_grow_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one seldom enters the sample, and is compared with all then: of ever more, ever more seldom."""
    asked = [0]

    def counting(
        policy: PreferencePolicy, one: TraceEvent, other: TraceEvent, of: RewardSnapshot
    ) -> RewardComparison:
        asked[-1] += 1
        return compare(policy, one, other, of)

    compare = PreferencePolicy.compare
    monkeypatch.setattr(PreferencePolicy, "compare", counting)
    run = Standings(PreferencePolicy())
    for idx in range(8 * SAMPLE):
        if idx % SAMPLE == 0:
            asked.append(0)
        run.add(judged({"quality": idx / 1000}, iter_idx=idx))
        run.under(PEOPLE)
    assert max(asked[2:]) < 3 * SAMPLE**2


def test_a_newer_snapshot_asks_each_candidate_for_a_sample_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def noting(
        policy: PreferencePolicy, one: TraceEvent, other: TraceEvent, of: RewardSnapshot
    ) -> RewardComparison:
        asked.append(one.iter_idx)
        return compare(policy, one, other, of)

    compare = PreferencePolicy.compare
    monkeypatch.setattr(PreferencePolicy, "compare", noting)
    standings(*({"quality": idx / 100} for idx in range(3 * SAMPLE)), under=PEOPLE)
    assert Counter(Counter(asked).values()) == {SAMPLE: 2 * SAMPLE, SAMPLE - 1: SAMPLE}


def test_as_many_as_the_sample_are_all_compared_with_each_other() -> None:
    of = [{"task": task / 100} for task in range(SAMPLE)]
    (highest, *_) = sorted(standings(*of, under=SURE).values(), key=lambda one: -one.reward)
    assert highest.probability == pytest.approx(
        np.mean([1 / (1 + math.exp(-50 * d / 0.25 / 100)) for d in range(1, SAMPLE)])
    )


# What is missing


def test_a_missing_score_counts_as_the_lowest_of_the_run() -> None:
    found = standings(
        {"quality": 0.9, "task": 0.1}, {"quality": 0.95, "task": None}, {"quality": 0.9, "task": 0.15}
    )
    assert found[1].critic_reward == pytest.approx((0.95 + 0.1) / 2)


@pytest.mark.parametrize(("quality", "best"), [(0.92, 2), (0.95, 0)])
def test_a_missing_score_counts_as_the_lowest_of_its_judge_and_the_other_scores_decide(
    quality: float, best: int
) -> None:
    found = standings(
        {"quality": quality, "task": None}, {"quality": 0.9, "task": 0.1}, {"quality": 0.88, "task": 0.15}
    )
    assert found[0].critic_reward == pytest.approx((quality + 0.1) / 2)
    assert best_of(found) == best


@settings(deadline=None)
@given(few.filter(lambda of: len(of) > 1), st.data())
def test_who_loses_a_score_gains_nothing_on_the_others(of: list[Scores], data: st.DataObject) -> None:
    """However good: the one that lacks a score is behind whoever is as good on the rest."""
    lost = data.draw(st.integers(0, len(of) - 1))
    other = data.draw(st.integers(0, len(of) - 1).filter(lambda i: i != lost))
    tried = [dict(one) for one in of]
    tried[lost]["task"] = None
    tried[other]["quality"] = tried[lost]["quality"]
    found = standings(*tried)
    assert found[lost].critic_reward <= found[other].critic_reward + 1e-12


def test_what_nobody_was_judged_on_does_not_count() -> None:
    found = standings({"quality": 0.4, "task": None}, {"quality": 0.6, "task": None})
    assert [s.reward for s in found.values()] == [0.4, 0.6]


def test_a_score_of_the_text_is_no_critics_reward() -> None:
    said = CriticResult(critic_name="text_rm", scores={"text": 0.99})
    late = judged({"quality": 0.6}, iter_idx=1)
    late = replace(late, critic_results=(*late.critic_results, said))
    run = Standings(PreferencePolicy())
    run.add(judged({"quality": 0.5}))
    run.add(late)
    assert [s.critic_reward for s in run.under(None).values()] == [0.5, 0.6]


def test_what_no_critic_could_judge_takes_no_part() -> None:
    assert list(standings({"quality": 0.5}, {"quality": None})) == [0]
