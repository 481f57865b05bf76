"""The order of learning."""

from __future__ import annotations

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from trainers.lora.batches import PART_TOKENS, batch_order, filled


@given(st.lists(st.integers(1, 256), min_size=1, max_size=300), st.integers(1, 20), st.integers(0, 9))
def test_every_pair_comes_once_an_epoch(lengths: list[int], batch: int, seed: int) -> None:
    batches = batch_order(lengths, batch, seed, epoch=0)
    assert sorted(chain.from_iterable(batches)) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch)


def test_seed_and_epoch_decide_the_order() -> None:
    lengths = list(range(64))
    order = batch_order(lengths, 8, seed=0, epoch=0)
    assert order == batch_order(lengths, 8, seed=0, epoch=0)
    assert order != batch_order(lengths, 8, seed=1, epoch=0)
    assert order != batch_order(lengths, 8, seed=0, epoch=1)


def test_texts_of_like_length_are_together_in_a_random_order_of_batches() -> None:
    lengths = [1 + at * 37 % 256 for at in range(256)]
    batches = batch_order(lengths, 8, seed=0, epoch=0)
    spread = [max(lengths[at] for at in one) - min(lengths[at] for at in one) for one in batches]
    assert max(spread) < 10
    longest = [max(lengths[at] for at in one) for one in batches]
    assert longest != sorted(longest)


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=60))
def test_parts_have_every_place_once_in_its_order_and_few_tokens(tokens: list[int]) -> None:
    found = list(filled(range(len(tokens)), tokens))
    assert list(chain.from_iterable(found)) == list(range(len(tokens)))
    assert all(len(one) == 1 or sum(tokens[at] for at in one) <= PART_TOKENS for one in found)


def test_a_part_takes_what_still_fits() -> None:
    assert list(filled([2, 0, 1], [1000, 500, 537])) == [[2], [0, 1]]
    assert list(filled([2, 0, 1], [1000, 500, 536])) == [[2, 0], [1]]


def test_nothing_has_no_parts() -> None:
    assert list(filled([], [])) == []
