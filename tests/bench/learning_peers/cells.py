"""Cells of the benchmark of peers: splits of the sets of human preferences, as files that any peer reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from streams.messages.contracts import PreferencePair
from streams.messages.feature_names import is_critic
from tests.bench.learning_peers import BOTH, CRITICS, KINDS, WHO
from tests.bench.learning_peers.pairs import Cell, Ints, Pairs, shared_weights
from trainers.bradley_terry.features import unit_of
from trainers.evidence.evaluate import PairTable, tables

_EARLY_ORDERS, _EARLY_PAIRS = 8, 100
_ORDERS, _PAIRS_OF_ALL_ORDERS = 8, 24_000
"""All pairs are learnt in so many orders, or in fewer (two at least) where these would be more pairs."""
_MOST_MAKERS = 50
"""More makers than that are no makers but names of single candidates."""
_SPEED_PAIRS, _SPEED_FEATURES, _SPEED_MAKERS = 20_000, 12, 16


def kinds_of(pairs: Sequence[PreferencePair]) -> tuple[str, ...]:
    """The kinds of features that there are: who made each side is not always known."""
    return KINDS if len(_makers(pairs)) < _MOST_MAKERS else (CRITICS,)


def cells(train: Sequence[PreferencePair], holdout: Sequence[PreferencePair]) -> Iterator[tuple[str, Cell]]:
    """Each kind of features, and the cell; pairs without ties."""
    kinds = kinds_of([*train, *holdout])
    train, holdout = ([_without(pair, makers=WHO not in kinds) for pair in part] for part in (train, holdout))
    makers = _makers([*train, *holdout])
    known, unseen = tables(train, holdout)
    for kind in kinds:
        of_train, of_holdout = (
            _pairs(pairs, table, kind, makers, seed)
            for seed, (pairs, table) in enumerate(((train, known), (holdout, unseen)))
        )
        n = min(_ORDERS, max(2, _PAIRS_OF_ALL_ORDERS // len(of_train)))
        orders = [_orders(known, number) for number in range(_EARLY_ORDERS)]
        yield (
            kind,
            Cell(
                of_train,
                of_holdout.both_ways(),
                np.array([order for order, _ in orders[:n]]),
                np.array([first for _, first in orders]),
            ),
        )


def _orders(table: PairTable, number: int) -> tuple[Ints, Ints]:
    """All rows task by task, and the first hundred of any task; the very ones of ``evaluate.measure``."""
    rng = np.random.default_rng([0, number])
    rank = rng.permutation(table.n_tasks)
    order = np.argsort(rank[table.tasks], kind="stable").astype(np.int64)
    return order, rng.permutation(len(table.X))[:_EARLY_PAIRS]


def _pairs(
    pairs: Sequence[PreferencePair], table: PairTable, kind: str, makers: Sequence[str], seed: int
) -> Pairs:
    kept = [kind == BOTH or is_critic(name) == (kind == CRITICS) for name in table.features]
    features = tuple(name for name, keep in zip(table.features, kept, strict=True) if keep)
    X = np.nan_to_num(table.X[:, kept]) / np.array([unit_of(name) for name in features])
    number = {maker: at for at, maker in enumerate(makers)}
    chosen = np.array([number[_maker(pair.chosen_context)] for pair in pairs], dtype=np.int64)
    rejected = np.array([number[_maker(pair.rejected_context)] for pair in pairs], dtype=np.int64)
    wins = np.random.default_rng(seed).random(len(pairs)) < 0.5
    return Pairs(
        np.where(wins[:, None], X, -X),
        np.where(wins, chosen, rejected),
        np.where(wins, rejected, chosen),
        wins,
        shared_weights(table.tasks),
        table.tasks,
        features,
        len(makers),
    )


def _makers(pairs: Sequence[PreferencePair]) -> list[str]:
    return sorted({_maker(side) for pair in pairs for side in (pair.chosen_context, pair.rejected_context)})


def _maker(context: Mapping[str, object]) -> str:
    return str(context.get("generator", ""))


def _without(pair: PreferencePair, *, makers: bool) -> PreferencePair:
    """Without the context of the task, and of the sides where ``makers`` says so."""
    pair = replace(pair, context={})
    return replace(pair, chosen_context={}, rejected_context={}) if makers else pair


def speed_cell() -> Cell:
    """Drawn pairs of which people follow all critics alike; a task each."""
    rng = np.random.default_rng(0)
    n = _SPEED_PAIRS
    X = rng.normal(0.0, 1.0, (n, _SPEED_FEATURES))
    first = rng.integers(0, _SPEED_MAKERS, n)
    second = (first + rng.integers(1, _SPEED_MAKERS, n)) % _SPEED_MAKERS
    wins = rng.random(n) < 1.0 / (1.0 + np.exp(-0.3 * X.sum(axis=1)))
    names = tuple(f"c{j}" for j in range(_SPEED_FEATURES))
    pairs = Pairs(X, first, second, wins, np.ones(n), np.arange(n), names, _SPEED_MAKERS)
    none = np.empty((0, 0), dtype=np.int64)
    return Cell(pairs, pairs.take(np.arange(64)), none, none)
