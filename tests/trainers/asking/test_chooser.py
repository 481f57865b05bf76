"""The next pair: by what it is chosen, how probably, and that several people are asked different ones."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from msgspec.structs import replace

from streams.errors import BadInput
from streams.messages.contracts import RewardSnapshot
from streams.messages.votes import RANDOM_RULE
from tests.trainers.asking.pools import candidates, learnt
from trainers.asking.chooser import SPREAD_RULE, Chooser, is_for_chance
from trainers.asking.pool import as_preference, named, pairs_to_ask
from trainers.asking.rules import DEFAULT_RULE, RULES
from trainers.bradley_terry.beliefs import beliefs_of, differences_for
from trainers.bradley_terry.estimators import Recipe

POOL = pairs_to_ask(candidates(tasks=4, of_each=4))
REWARD = learnt(POOL[:12])
ASKED = {"task-0": 2, "task-1": 2}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_chooses_a_pair_of_the_tasks_that_were_asked_least(rule: str) -> None:
    chooser = Chooser(random_share=0.0, seed=0, rule=rule)
    chosen = [chooser.choose(POOL, REWARD, asked=ASKED) for _ in range(6)]
    assert {one.left.task_id for one in chosen if one} <= {"task-2", "task-3"}
    assert {one.rule for one in chosen if one} == {rule}


def test_the_variance_rule_takes_the_pair_of_which_the_model_is_least_sure() -> None:
    beliefs = beliefs_of(REWARD, differences_for(REWARD, [as_preference(pair) for pair in POOL]))
    chosen = Chooser(random_share=0.0, seed=0, rule="variance").choose(POOL, REWARD, asked={})
    assert chosen is not None
    assert named(chosen[:2]) == named(POOL[int(np.argmax(beliefs.variances))])


@pytest.mark.parametrize(
    "reward",
    [
        None,
        learnt(POOL[:12], recipe=Recipe(learner="river-logistic")),
        learnt(POOL[:12], label_source="critic"),
    ],
    ids=["no model", "a point estimate", "critics alone"],
)
def test_where_no_model_knows_people_any_pair_of_the_least_asked_tasks_is_taken(
    reward: RewardSnapshot | None,
) -> None:
    chooser = Chooser(random_share=0.0, seed=0)
    chosen = [chooser.choose(POOL, reward, asked=ASKED) for _ in range(100)]
    assert {one.rule for one in chosen if one} == {SPREAD_RULE}
    assert len({named(one[:2]) for one in chosen if one}) == 12
    assert {one.probability for one in chosen if one} == {1 / 12}


def test_a_dimension_that_nobody_judged_is_spread_and_another_is_chosen_by_its_own_model() -> None:
    reward = learnt(POOL[:12], dimension="physics")
    chooser = Chooser(random_share=0.0, seed=0)
    rules = [chooser.choose(POOL, reward, asked={}, dimension=name) for name in ("physics", "smoothness")]
    assert [one.rule for one in rules if one] == [DEFAULT_RULE, SPREAD_RULE]


@pytest.mark.parametrize("reward", [None, REWARD], ids=["no model", "a model"])
def test_the_probability_is_how_often_a_pair_is_chosen(reward: RewardSnapshot | None) -> None:
    pool, n = POOL[:9], 1_500  # six pairs of one task, three of another
    drawn: Counter[frozenset[tuple[str, int]]] = Counter()
    told = {}
    for seed in range(n):
        chosen = Chooser(random_share=0.4, seed=seed).choose(pool, reward, asked={"task-0": 1})
        assert chosen is not None
        drawn[named(chosen[:2])] += 1
        told[named(chosen[:2])] = chosen.probability
    assert sum(told.values()) == pytest.approx(1.0)
    for pair, probability in told.items():
        assert drawn[pair] / n == pytest.approx(probability, abs=4 * np.sqrt(probability / n))


def test_the_random_share_is_drawn_whatever_the_model_believes() -> None:
    chosen = [Chooser(random_share=1.0, seed=i).choose(POOL, REWARD, asked={}) for i in range(400)]
    assert {one.rule for one in chosen if one} == {RANDOM_RULE}
    assert {named(one[:2]) for one in chosen if one} == {named(pair) for pair in POOL}
    assert {one.probability for one in chosen if one} == {1 / 4 / 6}


def test_no_rule_chooses_on_the_tasks_that_are_kept_for_chance() -> None:
    pool = [
        (replace(a, task_id=f"t{n}"), replace(b, task_id=f"t{n}")) for n in range(40) for a, b in POOL[:2]
    ]
    kept = {pair[0].task_id for pair in pool if is_for_chance(pair[0].task_id, 0.3)}
    chooser = Chooser(random_share=0.3, seed=1)
    chosen = [one for _ in range(200) if (one := chooser.choose(pool, REWARD, asked={}))]
    assert 0 < len(kept) < 40
    assert {one.left.task_id for one in chosen if one.rule == RANDOM_RULE} == kept
    assert not {one.left.task_id for one in chosen if one.rule != RANDOM_RULE} & kept


def test_a_share_of_the_tasks_is_kept_for_chance_by_their_names() -> None:
    kept = sum(is_for_chance(f"task {n}", 0.1) for n in range(5000))
    assert kept == pytest.approx(500, abs=100)
    assert not any(is_for_chance(f"task {n}", 0.0) for n in range(100))


def test_so_many_votes_are_random_as_the_share_says() -> None:
    chooser = Chooser(random_share=0.25, seed=3)
    rules = Counter(one.rule for _ in range(800) if (one := chooser.choose(POOL, None, asked={})))
    assert rules[RANDOM_RULE] == pytest.approx(200, abs=40)
    assert rules.total() == 800


def test_either_of_the_two_is_on_the_left_as_often() -> None:
    chooser = Chooser(seed=0)
    lefts = [one.left == POOL[0][0] for _ in range(400) if (one := chooser.choose(POOL[:1], None, asked={}))]
    assert sum(lefts) == pytest.approx(200, abs=40)


def test_pairs_that_are_passed_over_are_never_chosen_and_where_all_are_there_is_none() -> None:
    chooser = Chooser(random_share=0.5, seed=0)
    passed = {named(pair) for pair in POOL[:-2]}
    left = {named(pair) for pair in POOL[-2:]}
    chosen = [chooser.choose(POOL, REWARD, asked={}, passed_over=passed) for _ in range(50)]
    assert {named(one[:2]) for one in chosen if one} == left
    assert chooser.choose(POOL, REWARD, asked={}, passed_over=passed | left) is None
    assert chooser.choose([], REWARD, asked={}) is None


def test_several_people_are_asked_different_pairs_of_one_task_under_one_snapshot() -> None:
    pool = pairs_to_ask(candidates(tasks=1, of_each=6))
    chooser = Chooser(random_share=0.0, seed=0)
    chosen = [chooser.choose(pool, REWARD, asked={}) for _ in range(4)]
    assert len({named(one[:2]) for one in chosen if one}) > 2


def test_once_a_snapshot_has_learnt_the_answers_the_model_speaks_for_itself() -> None:
    chooser, fresh = (Chooser(random_share=0.0, seed=0) for _ in range(2))
    chosen = [chooser.choose(POOL, REWARD, asked={}) for _ in range(5)]
    later = replace(REWARD, labels={"human": REWARD.labels["human"] + len(chosen)})
    one, other = (each.choose(POOL, later, asked={}) for each in (chooser, fresh))
    assert one is not None
    assert other is not None
    assert named(one[:2]) == named(other[:2])


def test_the_same_seed_makes_the_same_choices() -> None:
    choosers = Chooser(seed=7), Chooser(seed=7)
    chosen = [[each.choose(POOL, REWARD, asked={}) for _ in range(5)] for each in choosers]
    assert chosen[0] == chosen[1]


def test_pairs_without_any_critic_in_common_can_be_asked() -> None:
    one, other = candidates(tasks=1, of_each=2)
    bare = [replace(one, critics={}, candidate_context={}), replace(other, critics={}, candidate_context={})]
    chosen = Chooser(random_share=0.0, seed=0).choose(pairs_to_ask(bare), REWARD, asked={})
    assert chosen is not None
    assert chosen.probability == 1.0


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_beyond_its_bounds_is_bad_input(share: float) -> None:
    with pytest.raises(BadInput, match=r"the random share is .*; expected a number from 0 to 1"):
        Chooser(random_share=share)


def test_an_unknown_rule_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"no rule is called 'best'; expected one of variance, "):
        Chooser(rule="best")


def test_the_random_share_rises_with_the_votes_and_the_tasks_that_are_kept_for_it_with_it() -> None:
    pool = pairs_to_ask(candidates(tasks=60, of_each=2))
    tasks = sorted({pair[0].task_id for pair in pool})
    for votes, share in ((0, 0.1), (100, 0.1), (150, 0.3), (1000, 0.5)):
        asked = {"elsewhere": votes} if votes else {}
        chosen = [Chooser(seed=i).choose(pool, REWARD, asked=asked) for i in range(300)]
        random = [one for one in chosen if one is not None and one.rule == RANDOM_RULE]
        assert len(random) == pytest.approx(300 * share, abs=30)
        kept = {task for task in tasks if is_for_chance(task, share)}
        assert {one.left.task_id for one in random} <= kept
        assert not {one.left.task_id for one in chosen if one is not None and one not in random} & kept


def test_the_probability_is_that_of_the_share_at_that_vote() -> None:
    pool = pairs_to_ask(candidates(tasks=1, of_each=4))
    for votes, share in ((0, 0.1), (150, 0.3), (300, 0.5)):
        chosen = Chooser(seed=0).choose(pool, None, asked={pool[0][0].task_id: votes})
        assert chosen is not None
        assert chosen.probability == pytest.approx(share / 6 + (1 - share) / 6)
    by_rule = [Chooser(random_share=None, seed=i).choose(pool, REWARD, asked={"x": 150}) for i in range(20)]
    found = {round(one.probability, 9) for one in by_rule if one is not None and one.rule == DEFAULT_RULE}
    assert found == {round(0.3 / 6 + 0.7, 9)}
