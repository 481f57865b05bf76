"""What is remembered to save work takes bounded memory, whatever pairs carry."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from streams.messages.contracts import PreferencePair
from streams.messages.limits import MAX_CONTEXT_ENTRIES, MAX_SCORES
from tests.factories import pair
from trainers.bradley_terry import rows
from trainers.bradley_terry.bounded_cache import BoundedCache
from trainers.bradley_terry.rows import RowMaker
from trainers.bradley_terry.vocabulary import Vocabulary

ONE = pair({"a.b": 0.9}, {"a.b": 0.2})


def with_a_story(n: int) -> PreferencePair:
    return replace(ONE, chosen_context={"notes": f"{n}" + "s" * 500_000})


def with_many_kinds(n: int) -> PreferencePair:
    context = {f"{n}-{i}-" + "k" * 200: "v" * 64 for i in range(MAX_CONTEXT_ENTRIES)}
    return replace(ONE, rejected_context=context)


def with_many_critics(n: int) -> PreferencePair:
    scores: dict[str, float | None] = {f"{n}-{i}.{'m' * 500}": 0.5 for i in range(MAX_SCORES)}
    return pair(scores, scores)


def with_many_critics_that_say_nothing(n: int) -> PreferencePair:
    """So that there is always room for what they make together with contexts."""
    scores: dict[str, float | None] = {f"{n}-{i}.mode": None for i in range(MAX_SCORES)}
    return replace(pair(scores, scores), context={f"k{i}": f"{n % 2}" for i in range(16)})


@pytest.mark.parametrize(
    ("make", "n"),
    [
        (with_a_story, 20),
        (with_many_kinds, 200),
        (with_many_critics, 20),
        (with_many_critics_that_say_nothing, 10),
    ],
)
def test_what_rows_remember_of_layouts_and_contexts_is_bounded(
    make: Callable[[int], PreferencePair], n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_CACHED_BYTES", 1 << 20)
    maker = RowMaker(Vocabulary())
    maker.rows_of([ONE])  # compiles the kernel
    tracemalloc.start()
    for i in range(n):
        maker.rows_of([make(i)])
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 4 << 20


def test_a_context_with_a_story_does_not_take_the_place_of_others() -> None:
    maker = RowMaker(Vocabulary())
    maker.rows_of([replace(ONE, context={"arm": "physics"}), with_a_story(1)])
    assert len(maker._contexts) == 1


def test_a_cache_holds_no_more_entries_and_bytes_than_it_may() -> None:
    cache: BoundedCache[int, str] = BoundedCache(3, 100)
    for n in range(3):
        cache.keep(n, "small", 10)
    assert sorted(cache) == [0, 1, 2]
    cache.keep(3, "one too many", 10)
    assert sorted(cache) == [3]
    cache.keep(4, "too large with the other", 95)
    assert sorted(cache) == [4]
    cache.keep(5, "too large for any cache", 101)
    assert sorted(cache) == [4]
