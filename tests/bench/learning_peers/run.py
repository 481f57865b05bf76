"""One peer at work: ``python -m tests.bench.learning_peers.run NAME TASK IN OUT``.

TASK is ``predict`` (IN is a ``Cell``, OUT its predictions), ``uncertainty`` (IN is a ``Cell`` of which the
training part is all pairs) or ``speed`` (IN is a ``Cell``, too). IN may be several files, separated by
commas, and OUT as many. Needs NumPy and the peer, and of TriBrain nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from tests.bench.learning_peers import ENTRIES
from tests.bench.learning_peers.pairs import (
    Array,
    Cell,
    Ints,
    NoAnswer,
    Pairs,
    Peer,
    Setting,
    Uncertain,
    shared_weights,
)

EARLY = (25, 50, 100)
_FOLDS = 3
_PAIRS_TO_CHOOSE = 3_000
"""Cross-validation takes so many pairs at most, of tasks drawn at random."""


def predictions(peer: Peer, cell: Cell) -> dict[str, Any]:
    """``default_100`` and so on: (orders, holdout) P(first preferred) after so many pairs; and ``setting``.

    ``best_…`` are those of the setting that cross-validation by task chose, where there is a choice.
    """
    train, holdout = cell.train.read_by(peer), cell.holdout.read_by(peer)
    chosen = best_setting(peer, train)
    found: dict[str, Any] = {"setting": json.dumps(chosen)}
    for name, setting in {"default": peer.settings[0], "best": chosen}.items():
        if name == "best" and len(peer.settings) == 1:
            continue
        for n in EARLY:
            rows = cell.first[: peer.most_early_orders, :n]
            found[f"{name}_{n}"] = _after_each(peer, train, rows, setting, holdout)
        found[f"{name}_all"] = _after_each(peer, train, cell.orders[: peer.most_orders], setting, holdout)
    return found


def best_setting(peer: Peer, train: Pairs) -> Setting:
    """The one with the least log loss on tasks that were left out."""
    if len(peer.settings) == 1:
        return peer.settings[0]
    rng = np.random.default_rng(0)
    place = rng.permutation(train.n_tasks)[train.tasks]
    order = np.argsort(place, kind="stable")[:_PAIRS_TO_CHOOSE]
    fold = place[order] % _FOLDS
    losses = dict.fromkeys(range(len(peer.settings)), 0.0)
    for left_out in range(_FOLDS):
        known, unseen = train.take(order[fold != left_out]), train.take(order[fold == left_out])
        for number, setting in enumerate(peer.settings):
            p = _predicted(peer, known, setting, unseen)
            losses[number] -= float(np.log(np.maximum(np.where(unseen.wins, p, 1.0 - p), 1e-12)).sum())
    return peer.settings[min(losses, key=losses.__getitem__)]


def _after_each(peer: Peer, train: Pairs, orders: Ints, setting: Setting, holdout: Pairs) -> Array:
    """(orders, holdout): predictions when the rows of each order (orders, n) are learnt."""
    parts = (train.take(order, shared_weights(train.tasks[order])) for order in orders)
    return np.array([_predicted(peer, part, setting, holdout) for part in parts])


def _predicted(peer: Peer, known: Pairs, setting: Setting, unseen: Pairs) -> Array:
    """One half of each where the peer has no answer."""
    try:
        return peer.fit(known, setting).predict(unseen)
    except NoAnswer:
        return np.full(len(unseen), 0.5)


def uncertainty(peer: Peer, cell: Cell) -> dict[str, float]:
    """How it is stated to stated SD over SD when the tasks are drawn again, the median over what is learnt.

    Of ratings of who made each side, their differences to the mean rating count, which alone say anything.
    """
    pairs = cell.train.read_by(peer)
    of_makers = all(name.startswith("@") for name in pairs.features)
    rows = [np.flatnonzero(pairs.tasks == task) for task in range(pairs.n_tasks)]
    found: dict[str, float] = {}
    for setting in peer.uncertain:
        rng = np.random.default_rng(0)
        stated = _fitted(peer, pairs, rows, rng.permutation(len(rows)), setting).stated()
        again = [rng.integers(0, len(rows), len(rows)) for _ in range(peer.bootstraps)]
        drawn = np.array([_fitted(peer, pairs, rows, tasks, setting).estimates() for tasks in again])
        if of_makers:
            drawn -= drawn.mean(axis=1, keepdims=True)
        sd = np.std(drawn, axis=0, ddof=1)
        found |= {how: float(np.nanmedian(_sds(of, of_makers) / sd)) for how, of in stated.items()}
    return found


def _fitted(peer: Peer, pairs: Pairs, rows: Sequence[Ints], tasks: Ints, setting: Setting) -> Uncertain:
    known = pairs.take(np.concatenate([rows[task] for task in tasks]))
    return cast("Uncertain", peer.fit(known, setting))


def _sds(stated: Array, of_makers: bool) -> Array:
    if stated.ndim == 1:
        return stated
    k = len(stated)
    minus_mean = np.eye(k) - 1.0 / k if of_makers else np.eye(k)
    return np.asarray(np.sqrt(np.maximum(np.diag(minus_mean @ stated @ minus_mean.T), 0.0)))


def speed(peer: Peer, cell: Cell) -> dict[str, float]:
    """Pairs a second of CPU at the defaults, of rows of numbers and of dicts.

    And ``mib``: how much memory learning the rows adds at its peak, where the system tells that.
    """
    peer.fit(cell.holdout.read_by(peer), peer.settings[0])  # what is compiled is compiled now
    before = peak_from_now_on()
    found = {"rows": _rate(len(cell.train), lambda: peer.fit(cell.train.read_by(peer), peer.settings[0]))}
    if before is not None:
        found["mib"] = peak() - before
    names = cell.train.features
    dicts = [dict(zip(names, row, strict=True)) for row in cell.train.X.tolist()]
    with contextlib.suppress(NoAnswer):
        found["dicts"] = _rate(len(dicts), lambda: peer.fit_dicts(dicts, cell.train.wins))
    return found


def peak_from_now_on() -> float | None:
    """The memory in use, MiB, with which ``peak`` begins anew; None where the system cannot do that.

    ``ru_maxrss`` cannot: it begins with the peak of the program that started this one.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak
    except OSError:
        return None
    return peak()


def peak() -> float:
    """The most memory in use since the peak began anew, MiB (proc(5), VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (of_peak,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(of_peak.split()[1]) / 1024


def _rate(n: int, work: Any) -> float:
    started = time.process_time()
    work()
    return n / (time.process_time() - started)


def main(name: str, task: str, sources: str, targets: str) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    module = importlib.import_module(f"{__package__}.{ENTRIES[name].module}")
    peer: Peer = module.peer(name)
    for source, target in zip(sources.split(","), targets.split(","), strict=True):
        cell, unfinished = Cell.load(Path(source)), Path(f"{target}.unfinished")
        with unfinished.open("wb") as file:
            if task == "predict":
                np.savez(file, **predictions(peer, cell))
            else:
                measured = uncertainty(peer, cell) if task == "uncertainty" else speed(peer, cell)
                file.write(json.dumps(measured).encode())
        unfinished.replace(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
