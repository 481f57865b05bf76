"""Pairs as rows of an array, bit for bit equal to ``trainers.bradley_terry.features.of_pair``.

A pair's layout lists the critics of each side, and the contexts. The assignment to columns is computed
once per layout, and one loop fills in the numbers of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import numpy as np

from streams.messages.contracts import TEXT_FEATURES, PreferencePair
from streams.messages.feature_names import critic_feature, interaction, number_feature
from trainers.bradley_terry.bounded_cache import BoundedCache, size_of
from trainers.bradley_terry.features import LONGEST_VALUE, Context, categories, indicators, numbers
from trainers.bradley_terry.kernels import fill_rows
from trainers.bradley_terry.shown import ShownScores
from trainers.bradley_terry.vocabulary import Vocabulary
from trainers.compiled import Array, Ints

Layout = tuple[tuple[str, ...], ...]
"""Critics of the chosen and of the rejected side; with contexts, also the categories that both share, those
of each side (alternating keys and values), and the numbers that both sides have."""

_CACHED, _CACHED_BYTES = 1000, 16 << 20
"""Maximum number of cached layouts, or contexts, and of their bytes; others are recomputed, with equal
results."""

_ints = partial(np.array, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Read:
    """The contents of several pairs; the numbers of pair i start at ``begins[i]``."""

    layouts: Sequence[Layout]
    begins: Sequence[int]
    values: Sequence[float | None]
    """Chosen side first, then rejected: critics in the layout's order, then numbers."""
    array: Array
    """``values`` with NaN for null and, once the pair's row is made, for marks."""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnPlan:
    """Maps a layout to columns; the arguments of ``fill_rows``."""

    column: Ints
    left: Ints
    right: Ints
    sign: Array
    in_mean: Ints
    scores: Ints
    """Indices of the scores whose critics have a row in ``ShownScores``."""
    critics: Ints
    """The rows of those critics in ``ShownScores``."""
    waiting: tuple[tuple[str, int, int], ...]
    """Features that become known with the first pair that has both their numbers, with the numbers' indices;
    −1 for an indicator, which every pair of the layout has."""
    known: int
    """Number of features in the vocabulary when the plan was made."""
    has_all: bool
    """Whether there is, or was, room for every feature."""
    size: int
    """Size of the plan in bytes."""


class RowMaker:
    """Makes rows with the columns of a vocabulary, which grows with the pairs."""

    def __init__(self, vocabulary: Vocabulary, shown: ShownScores | None = None) -> None:
        self.vocabulary = vocabulary
        self.shown = ShownScores() if shown is None else shown
        self._plans: BoundedCache[Layout, ColumnPlan] = BoundedCache(_CACHED, _CACHED_BYTES)
        self._contexts: BoundedCache[tuple[tuple[tuple[str, object], ...], ...], Layout] = BoundedCache(
            _CACHED, _CACHED_BYTES
        )
        self._joined: tuple[dict[ColumnPlan, int], tuple[Array | Ints, ...]] = {}, ()

    def read(self, pairs: Sequence[PreferencePair]) -> Read:
        """The pairs' contents. Changes nothing. Raises TypeError or ValueError for non-numbers."""
        layouts: list[Layout] = []
        begins: list[int] = []
        values: list[float | None] = []
        for pair in pairs:
            begins.append(len(values))
            chosen, rejected = pair.chosen_critics, pair.rejected_critics
            layout: Layout = (tuple(chosen), tuple(rejected))
            values += chosen.values()
            if pair.context or pair.chosen_context or pair.rejected_context:
                contexts = self._contexts_of(pair)
                layout += contexts
                values += _values_of(pair.chosen_context, contexts[-1])
                values += rejected.values()
                values += _values_of(pair.rejected_context, contexts[-1])
            else:
                values += rejected.values()
            layouts.append(layout)
        return Read(layouts, begins, values, np.array(values, dtype=np.float64))

    def plan(self, read: Read, i: int) -> ColumnPlan:
        """The plan of pair i, which is about to be learnt; admits its new features while there is room."""
        layout, vocabulary = read.layouts[i], self.vocabulary
        plan = self._plans.get(layout)
        if plan is None or (plan.waiting and plan.known != len(vocabulary.columns)):
            plan = self._remember(layout)
        if plan.waiting:
            begin, values, before = read.begins[i], read.values, len(vocabulary.columns)
            for name, left, right in plan.waiting:
                if left < 0 or (values[begin + left] is not None and values[begin + right] is not None):
                    vocabulary.admit(name)
            if len(vocabulary.columns) != before:
                plan = self._remember(layout)
        vocabulary.pairs_without_room += not plan.has_all
        return plan

    def rows(
        self, read: Read, chosen: Sequence[int], plans: Sequence[ColumnPlan], *, is_news: bool = True
    ) -> tuple[Array, Array]:
        """The differences X (n, d) of these pairs by feature, NaN where one is missing, and those of the
        critics' means (n, 1).

        Records the critics' scores, unless the pairs are no news.
        """
        X = np.full((len(chosen), len(self.vocabulary.columns)), np.nan)
        means = np.zeros((len(chosen), 1))
        if chosen:
            numbers_of, joined = self._joined_with(plans)
            begins = _ints([read.begins[i] for i in chosen])
            plan_numbers = _ints([numbers_of[plan] for plan in plans])
            fill_rows(read.array, begins, plan_numbers, self.shown.rows, is_news, *joined, X, means[:, 0])
        return X, means

    def rows_of(self, pairs: Sequence[PreferencePair]) -> Array:
        """The differences X (n, d) of these pairs, without the critics' means."""
        read = self.read(pairs)
        return self.rows(read, range(len(pairs)), [self.plan(read, i) for i in range(len(pairs))])[0]

    def _contexts_of(self, pair: PreferencePair) -> Layout:
        """The contexts' part of a layout."""
        contexts = (pair.context, pair.chosen_context, pair.rejected_context)
        shared, of_chosen, of_rejected = (tuple(context.items()) for context in contexts)
        at = (shared, of_chosen, of_rejected)
        try:
            known = self._contexts.get(at)
        except TypeError:  # one of them contains a list or an object
            known = None
        if known is None:
            named = [tuple([part for one in categories(c).items() for part in one]) for c in contexts]
            rejected = numbers(pair.rejected_context)
            known = (*named, tuple([key for key in numbers(pair.chosen_context) if key in rejected]))
            # Only if all are texts, because equal texts are the same, while True and 1.0 are equal but
            # differ; and only short ones, because long texts hardly repeat.
            if all(_is_short(value) for context in contexts for value in context.values()):
                self._contexts.keep(at, known, sum([size_of((*of, *of.values())) for of in contexts]))
        return known

    def _joined_with(
        self, plans: Sequence[ColumnPlan]
    ) -> tuple[dict[ColumnPlan, int], tuple[Array | Ints, ...]]:
        """The plans' numbers, these plans included, and all entries concatenated."""
        if not self._joined[0].keys() >= set(plans):
            before = self._joined[0]
            if len(before) >= _CACHED or sum(plan.size for plan in before) > _CACHED_BYTES:
                before = {}
            numbers_of = {plan: number for number, plan in enumerate(dict.fromkeys([*before, *plans]))}
            self._joined = numbers_of, _join(list(numbers_of))
        return self._joined

    def _remember(self, layout: Layout) -> ColumnPlan:
        plan = _plan(layout, self.vocabulary, self.shown)
        self._plans.keep(layout, plan, plan.size + sum(map(size_of, layout)))
        return plan


def _plan(layout: Layout, vocabulary: Vocabulary, shown: ShownScores) -> ColumnPlan:
    """Indices in the current vocabulary; a new shared context becomes a reference."""
    chosen, rejected = layout[:2]
    shared, of_chosen, of_rejected, both = layout[2:] or ((), (), (), ())
    second = len(chosen) + len(both)
    left = {name: at for at, name in enumerate(chosen)}
    right = {name: second + at for at, name in enumerate(rejected)}
    critics = [(critic_feature(name), left[name], right[name]) for name in sorted(left.keys() & right.keys())]
    entries: list[tuple[str, int, int, float]] = [(*critic, 0.0) for critic in critics]
    signs = indicators(_by_key(of_chosen), _by_key(of_rejected))
    entries += [(name, -1, -1, sign) for name, sign in signs.items()]
    entries += [
        (number_feature(key), len(chosen) + at, second + len(rejected) + at, 0.0)
        for at, key in enumerate(both)
    ]
    has_all = True
    for key, value in _by_key(shared).items():
        interacts = vocabulary.interacts(key, value)
        has_all &= interacts is not None
        if interacts:
            entries += [(interaction(name, key, value), a, b, 0.0) for name, a, b in critics]
    learnt = []
    waiting = []
    for name, at_left, at_right, sign in entries:
        if name in vocabulary.columns:
            learnt.append((vocabulary.columns[name], at_left, at_right, sign))
        elif vocabulary.has_room(name):
            waiting.append((name, at_left, at_right))
        else:
            has_all = False
    scores = [
        (at, number) for name, at in (*left.items(), *right.items()) if (number := shown.number_of(name)) >= 0
    ]
    column, left_at, right_at, sign_of = zip(*learnt, strict=True) if learnt else ((), (), (), ())
    return ColumnPlan(
        column=_ints(column),
        left=_ints(left_at),
        right=_ints(right_at),
        sign=np.array(sign_of, dtype=np.float64),
        in_mean=_ints(
            [at for at, name in enumerate(chosen) if name not in TEXT_FEATURES]
            + [-1 - second - at for at, name in enumerate(rejected) if name not in TEXT_FEATURES]
        ),
        scores=_ints([at for at, _ in scores]),
        critics=_ints([number for _, number in scores]),
        waiting=tuple(waiting),
        known=len(vocabulary.columns),
        has_all=has_all,
        size=40 * len(learnt) + 24 * (len(chosen) + len(rejected)) + size_of([name for name, *_ in waiting]),
    )


def _join(plans: Sequence[ColumnPlan]) -> tuple[Array | Ints, ...]:
    """The offset of each plan's entries, and all entries; likewise for the mean and for the scores."""
    return (
        _ints([0, *accumulate(len(plan.column) for plan in plans)]),
        np.concatenate([plan.column for plan in plans]),
        np.concatenate([plan.left for plan in plans]),
        np.concatenate([plan.right for plan in plans]),
        np.concatenate([plan.sign for plan in plans]),
        _ints([0, *accumulate(len(plan.in_mean) for plan in plans)]),
        np.concatenate([plan.in_mean for plan in plans]),
        _ints([0, *accumulate(len(plan.scores) for plan in plans)]),
        np.concatenate([plan.scores for plan in plans]),
        np.concatenate([plan.critics for plan in plans]),
    )


def _by_key(pairs: Sequence[str]) -> dict[str, str]:
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def _is_short(value: object) -> bool:
    return type(value) is str and len(value) <= LONGEST_VALUE


def _values_of(context: Context, keys: Sequence[str]) -> list[float]:
    """The numbers with these names."""
    if not keys:
        return []
    found = numbers(context)
    return [found[key] for key in keys]
