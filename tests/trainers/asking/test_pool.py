"""Which pairs can be asked about."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streams.errors import BadInput
from tests.trainers.asking.pools import candidates
from trainers.asking.pool import MOST_PAIRS, as_preference, named, pairs_to_ask


def test_every_two_candidates_of_a_task_are_a_pair_also_of_different_runs() -> None:
    pairs = pairs_to_ask(candidates(tasks=2, of_each=4))
    assert len({named(pair) for pair in pairs}) == len(pairs) == 2 * 6
    assert all(one.task_id == other.task_id for one, other in pairs)
    assert any(one.run_id != other.run_id for one, other in pairs)


def test_the_pairs_do_not_depend_on_the_order_of_the_candidates() -> None:
    given = candidates(tasks=3, of_each=8)
    assert pairs_to_ask(given, most_per_task=5) == pairs_to_ask(given[::-1], most_per_task=5)


def test_a_task_has_no_more_pairs_than_it_may_and_keeps_most_of_them_as_candidates_come() -> None:
    given = candidates(tasks=1, of_each=12)
    before = {named(pair) for pair in pairs_to_ask(given[:-1], most_per_task=20)}
    after = {named(pair) for pair in pairs_to_ask(given, most_per_task=20)}
    assert len(before) == len(after) == 20
    assert len(before & after) >= 12


def test_all_tasks_together_are_bounded_and_each_has_a_pair() -> None:
    pairs = pairs_to_ask(candidates(tasks=1_500, of_each=4))
    assert len(pairs) == 1_500 * (MOST_PAIRS // 1_500)


def test_no_pair_spans_two_reward_models() -> None:
    given = candidates(tasks=2, of_each=4)
    models = {candidate.name: f"model-{n % 2}" for n, candidate in enumerate(given)}
    pairs = pairs_to_ask(given, model_of=lambda candidate: models[candidate.name])
    assert len(pairs) == 2 * 2
    assert all(models[one.name] == models[other.name] for one, other in pairs)


def test_a_candidate_that_is_given_twice_counts_as_it_is_given_last() -> None:
    one, other = candidates(tasks=1, of_each=2)
    scored = replace(one, critics={"goal.task": 0.9})
    assert pairs_to_ask([one, other, scored]) == pairs_to_ask([scored, other])


@pytest.mark.parametrize("given", [candidates(tasks=1, of_each=1), []])
def test_where_no_task_has_two_candidates_there_is_no_pair(given: list) -> None:  # type: ignore[type-arg]
    assert pairs_to_ask(given) == []


def test_less_than_one_pair_of_a_task_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"most_per_task is 0; expected at least 1 pair per task"):
        pairs_to_ask([], most_per_task=0)


def test_runs_share_what_is_the_same_of_their_contexts_and_keep_the_rest() -> None:
    one, other = candidates(tasks=1, of_each=2)
    one = replace(one, context={"family": "pour", "world_model": "dit-2b", "steps": 1})
    other = replace(other, context={"family": "pour", "world_model": "wan-14b", "steps": True})
    pair = as_preference((one, other))
    assert pair.context == {"family": "pour"}
    assert pair.chosen_context == {"world_model": "dit-2b", "steps": 1, **one.candidate_context}
    assert pair.rejected_context == {"world_model": "wan-14b", "steps": True, **other.candidate_context}
