"""Pairs as texts: which count, and what would flatter a model."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streams.errors import BadInput
from tests.trainers.lora.tiny import good_over_bad, pair
from trainers.lora.texts import TextPair, check, pairs_sha256, select, split_by_task


def text(task: str, chosen: str, rejected: str) -> TextPair:
    return TextPair(task, "goal", chosen, rejected, "human", 1.0)


def test_trusted_labels_are_used_where_there_are_any() -> None:
    pairs = [*good_over_bad(4, source="critic"), *good_over_bad(2), *good_over_bad(2, source="outcome")]
    selected = select(pairs)
    assert selected.sources == ("human", "outcome")
    assert len(selected.pairs) == 4
    assert selected.n_others == 4


def test_all_labels_are_used_where_none_is_trusted_and_it_is_said() -> None:
    selected = select([*good_over_bad(4, source="critic"), *good_over_bad(2, source="proxy")])
    assert len(selected.pairs) == 6
    assert "none is trusted, so all are used" in selected.why_sources


def test_given_label_sources_are_used_and_no_others() -> None:
    selected = select([*good_over_bad(4, source="critic"), *good_over_bad(2)], ["critic"])
    assert {one.source for one in selected.pairs} == {"critic"}


def test_a_critics_label_counts_little_beside_others_and_fully_alone() -> None:
    critics = good_over_bad(1, source="critic")
    assert [one.weight for one in select(critics).pairs] == [1.0]
    mixed = select([*critics, *good_over_bad(1)], ["critic", "human"])
    assert [one.weight for one in mixed.pairs] == [0.02, 1.0]


def test_the_pairs_own_weight_counts_too() -> None:
    assert select([pair("t", "a", "b", weight=0.5)]).pairs[0].weight == 0.5


def test_ties_are_dropped_and_counted() -> None:
    tie = replace(pair("t", "one", "other"), tie=True)
    selected = select([tie, pair("t", "same", "same"), pair("t", "good", "bad")])
    assert ([one.chosen for one in selected.pairs], selected.n_ties, selected.n_equal) == (["good"], 1, 1)


def test_pairs_with_two_equal_texts_are_dropped_and_counted() -> None:
    selected = select([pair("t", "same", "same"), pair("t", "good", "bad")])
    assert (len(selected.pairs), selected.n_equal) == (1, 1)


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
def test_pairs_with_an_empty_text_are_dropped_and_counted(blank: str) -> None:
    pairs = [
        pair("t", blank, "bad"),
        pair("t", "good", blank),
        pair("t", "", blank),
        pair("t", "good", "bad"),
    ]
    selected = select(pairs)
    assert (len(selected.pairs), selected.n_empty, selected.n_equal) == (1, 3, 0)
    with pytest.raises(
        BadInput, match=r"nothing to learn from: .* 0 have two texts, none of them empty, and 0"
    ):
        select(pairs[:3])


def test_nothing_to_learn_from_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"nothing to learn from: found 1 human.*expected chosen_prompt and"):
        select([pair("t", "same", "same")])


def test_a_pair_that_names_no_task_is_of_the_task_that_its_goal_is() -> None:
    pairs = [pair("", "a", "b", goal=goal) for goal in ("one", "one", "two")]
    first, second, third = (one.task for one in select(pairs).pairs)
    assert first == second != third


def test_no_task_is_in_both_parts() -> None:
    train, held_out = split_by_task(select(good_over_bad(40, per_task=4)).pairs, 0.2, seed=0)
    assert {one.task for one in train}.isdisjoint({one.task for one in held_out})
    assert (len(train), len(held_out)) == (32, 8)


def test_the_seed_decides_which_tasks_are_kept_apart() -> None:
    pairs = select(good_over_bad(40)).pairs
    assert split_by_task(pairs, 0.2, seed=0) == split_by_task(pairs, 0.2, seed=0)
    assert split_by_task(pairs, 0.2, seed=0) != split_by_task(pairs, 0.2, seed=1)


def test_a_single_task_cannot_be_split() -> None:
    with pytest.raises(
        BadInput, match=r"found 2 pairs of a single task.*expected pairs of two tasks or more"
    ):
        split_by_task(select(good_over_bad(2)).pairs, 0.2, seed=0)


def test_a_text_that_comes_on_one_side_only_is_counted() -> None:
    train = [text("a", "x", "1"), text("b", "x", "2"), text("c", "y", "3"), text("d", "4", "y")]
    found = check(train, [])
    assert (found.one_sided_texts, found.one_sided_pairs) == (1, 2)


def test_a_text_that_is_in_both_parts_is_counted() -> None:
    found = check([text("a", "x", "1")], [text("b", "2", "x"), text("c", "3", "4")])
    assert (found.shared_texts, found.shared_held_out_pairs) == (1, 1)


def test_the_hash_of_the_pairs_tells_their_two_parts_apart() -> None:
    one, two = [text("a", "x", "y")], [text("b", "x", "y")]
    assert pairs_sha256(one, two) == pairs_sha256(one, two)
    assert pairs_sha256(one, two) != pairs_sha256(two, one)
    assert pairs_sha256([*one, *two], []) != pairs_sha256(one, two)
