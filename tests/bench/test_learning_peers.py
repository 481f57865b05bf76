"""The benchmark of other libraries: what they are shown, what is made of their answers, that each learns."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tests.bench import learning
from tests.bench.learning_peers import BOTH, CRITICS, KINDS, OWN, PEERS, WHO, installed_in, run, tables
from tests.bench.learning_peers.__main__ import Run
from tests.bench.learning_peers.cells import cells, speed_cell
from tests.bench.learning_peers.judge import AFTER, Judged, best_of, judged, shown
from tests.bench.learning_peers.pairs import (
    Array,
    Cell,
    Flags,
    NoAnswer,
    Pairs,
    Peer,
    Setting,
    shared_weights,
)
from tests.bench.learning_peers.programs import Job, Programs
from trainers.evidence.evaluate import PairTable, figures, measure
from trainers.evidence.evaluate import tables as tables_of
from trainers.pairs.weights import weight_of_each


@pytest.fixture
def small(folder: Path) -> dict[str, Cell]:
    """The cells of one split of the small set, by kind of features."""
    return dict(cells(*learning.split(_pairs(folder), 0)))


def _pairs(folder: Path) -> list[Any]:
    return [pair for pair in learning.with_contexts(folder, "small") if not pair.tie]


def _peer(name: str) -> Peer:
    entry = {**OWN, **PEERS}[name]
    pytest.importorskip(entry.package)
    peer: Peer = importlib.import_module(f"tests.bench.learning_peers.{entry.module}").peer(name)
    return peer


def _drawn(n: int = 300, seed: int = 0) -> Pairs:
    """Pairs, three a task, in which people follow the first of two features and like makers by number."""
    rng = np.random.default_rng(seed)
    X = rng.normal(0.0, 1.0, (n, 2))
    first = rng.integers(0, 4, n)
    second = (first + rng.integers(1, 4, n)) % 4
    wins = rng.random(n) < 1.0 / (1.0 + np.exp(-(X[:, 0] + 0.5 * (first - second))))
    tasks = np.arange(n) // 3
    return Pairs(X, first, second, wins, shared_weights(tasks), tasks, ("a.b", "c.d"), 4)


class Fake:
    """A peer that predicts what it is told, and says that it is as sure as that."""

    settings: tuple[Setting, ...] = ({"p": 0.5}, {"p": 0.9}, {})
    uncertain: tuple[Setting, ...] = ({"p": 0.5},)
    most_orders, most_early_orders, bootstraps = 2, 1, 50

    def __init__(self) -> None:
        self._mean, self._p, self._sd = np.zeros(1), 0.5, np.zeros(1)

    def rows(self, X: Array) -> Sequence[Any]:
        return ()

    def fit(self, pairs: Pairs, setting: Setting) -> Fake:
        if "p" not in setting:
            raise NoAnswer("no setting")
        fitted = Fake()
        fitted._p, fitted._mean = setting["p"], pairs.X[:, :1].mean(axis=0)
        fitted._sd = pairs.X[:, :1].std(axis=0) / np.sqrt(len(pairs))
        return fitted

    def predict(self, pairs: Pairs) -> Array:
        return np.where(pairs.wins, self._p, 1.0 - self._p)

    def estimates(self) -> Array:
        return self._mean

    def stated(self) -> dict[str, Array]:
        return {"SD": self._sd, "half the SD": np.diag(self._sd**2 / 4.0)}

    def fit_dicts(self, rows: Sequence[Mapping[str, float]], wins: Flags) -> None:
        raise NoAnswer("no dicts")


def test_pairs_of_a_task_weigh_what_the_learners_have_them_weigh() -> None:
    weights = shared_weights(np.array([0, 1, 1, 1, 0, 2]))
    assert weights == pytest.approx([weight_of_each(n) for n in (2, 3, 3, 3, 2, 1)])


def test_peers_see_the_pairs_and_orders_that_the_learners_are_measured_on(
    folder: Path, small: dict[str, Cell]
) -> None:
    *_, measured = measure("laplace", *_tables(folder), orders=2)
    found = run.predictions(_peer("laplace"), small[CRITICS])
    of_chosen = {
        after: np.where(small[CRITICS].holdout.wins, p, 1.0 - p)[:2]
        for after, p in ((after, np.array(found[f"default_{after}"])) for after in ("100", "all"))
    }
    assert measured.after_100 is not None
    assert of_chosen["100"] == pytest.approx(np.tile(measured.after_100, 2))
    assert of_chosen["all"] == pytest.approx(np.tile(measured.predictions, 2))


def _tables(folder: Path) -> tuple[PairTable, PairTable]:
    return tables_of(*learning.split(learning.preferences(folder, "small"), 0))


def test_half_of_the_pairs_have_the_preferred_side_second(small: dict[str, Cell]) -> None:
    assert 0.35 < small[CRITICS].train.wins.mean() < 0.65


def test_who_prefers_first_sides_gains_nothing_from_the_pairs_kept_apart(small: dict[str, Cell]) -> None:
    wins = small[CRITICS].holdout.wins
    [row] = judged("first", [({"setting": "{}"} | _alike(np.full((1, len(wins)), 0.6)), wins)])
    assert row.log_loss["all"] == pytest.approx(-np.log([0.6, 0.4]).mean())


def _alike(p: Array) -> dict[str, Array]:
    return {f"default_{after}": p for after in AFTER}


def test_kinds_of_features_are_critics_makers_and_both(small: dict[str, Cell]) -> None:
    columns = {kind: cell.train.features for kind, cell in small.items()}
    assert columns[CRITICS] == ("first", "second")
    assert all(name.startswith("@generator=") for name in columns[WHO])
    assert sorted(columns[BOTH]) == sorted(columns[CRITICS] + columns[WHO])


def test_a_cell_comes_back_from_its_file_as_it_was(tmp_path: Path, small: dict[str, Cell]) -> None:
    small[BOTH].save(tmp_path / "cell.npz")
    again = Cell.load(tmp_path / "cell.npz")
    assert again.train.features == small[BOTH].train.features
    assert (again.holdout.X == small[BOTH].holdout.X).all()
    assert (again.orders == small[BOTH].orders).all()


def test_cross_validation_chooses_the_setting_that_predicts_best() -> None:
    assert run.best_setting(Fake(), _drawn()) == {"p": 0.9}


def test_where_a_peer_has_no_answer_it_says_one_half() -> None:
    assert (run._predicted(Fake(), _drawn(), {}, _drawn()) == 0.5).all()


def test_an_sd_that_is_right_has_the_ratio_1_and_half_of_it_one_half() -> None:
    pairs = _drawn(600)
    own = Pairs(
        pairs.X, pairs.first, pairs.second, pairs.wins, np.ones(600), np.arange(600), pairs.features, 4
    )
    none = np.empty((0, 0), dtype=np.int64)
    found = run.uncertainty(Fake(), Cell(own, own, none, none))
    assert found["SD"] == pytest.approx(1.0, abs=0.35)
    assert found["half the SD"] == pytest.approx(found["SD"] / 2.0)


def test_figures_are_those_of_evaluate(folder: Path, small: dict[str, Cell]) -> None:
    cell = small[CRITICS]
    [row] = judged("laplace", [(run.predictions(_peer("laplace"), cell), cell.holdout.wins)])
    train, holdout = _tables(folder)
    *_, measured = measure("laplace", train, holdout, orders=len(cell.orders))
    expected = figures(measured, holdout.tasks)
    assert row.log_loss["all"] == pytest.approx(expected["log_loss"])
    assert row.ece == pytest.approx(expected["ece"])


def test_the_best_row_is_the_one_with_the_least_loss_after_so_many_pairs() -> None:
    rows = [Judged(name, "default", {"100": early, "all": late}, 0.0) for name, early, late in _LOSSES]
    assert (best_of(rows, "100").name, best_of(rows, "all").name) == ("vw-coin", "river")


_LOSSES = (("vw-coin", 0.4, 0.3), ("river", 0.5, 0.2))


def test_the_summary_sets_laplace_against_the_best_peer() -> None:
    rows = [
        Judged(name, "default", {"100": early, "all": late}, 0.0)
        for name, early, late in (*_LOSSES, ("laplace", 0.45, 0.25))
    ]
    *_, row = tables.summary({("small", CRITICS): rows})
    assert row.endswith("| vw-coin, default | 0.4000 | 0.4500 | river, default | 0.2000 | 0.2500 | +0.0500 |")


def test_settings_are_shown_as_they_are_given() -> None:
    assert shown(json.dumps({"arguments": "--coin"})) == "--coin"
    assert shown(json.dumps({"C": 0.1, "fit_intercept": False})) == "C=0.1, fit_intercept=False"
    assert shown(json.dumps({"arguments": ""})) == shown("{}") == "default"


def test_a_python_that_is_not_there_has_no_peers(tmp_path: Path) -> None:
    assert installed_in(tmp_path / "python", tuple(PEERS)) == ()


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_that_is_installed_learns(name: str) -> None:
    peer, known, unseen = _peer(name), _drawn(), _drawn(seed=1)
    known, unseen = known.read_by(peer), unseen.read_by(peer)
    predictions = [peer.fit(known, setting).predict(unseen) for setting in peer.settings]
    assert all(((p >= 0.0) & (p <= 1.0)).all() for p in predictions)
    assert ((predictions[0] > 0.5) == unseen.wins).mean() > 0.55


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_that_states_uncertainty_states_that_of_what_it_estimates(name: str) -> None:
    peer = _peer(name)
    features = ("@maker=a", "@maker=b") if CRITICS not in PEERS[name].kinds else ("a.b", "c.d")
    pairs = replace(_drawn(), features=features).read_by(peer)
    for setting in peer.uncertain:
        fitted: Any = peer.fit(pairs, setting)
        assert fitted.stated()
        for stated in fitted.stated().values():
            assert len(stated) == len(fitted.estimates())


def test_speed_is_measured_on_rows_and_on_dicts_where_a_peer_takes_them() -> None:
    cell = speed_cell()
    few = Cell(cell.train.take(np.arange(500)), cell.holdout, cell.orders, cell.first)
    assert set(run.speed(Fake(), few)) - {"mib"} == {"rows"}
    assert set(run.speed(_peer("river"), few)) - {"mib"} == {"rows", "dicts"}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is reset on Linux alone")
def test_memory_is_what_learning_adds_and_not_what_was_there_before() -> None:
    class Large(Fake):
        mib = 0

        def fit(self, pairs: Pairs, setting: Setting) -> Any:
            np.ones(self.mib << 17)
            return super().fit(pairs, setting)

    cell, peer, before = speed_cell(), Large(), np.ones(100 << 17)
    for peer.mib in (64, 0, 128):
        assert run.speed(peer, cell)["mib"] == pytest.approx(peer.mib, abs=16)
    assert len(before) > 0


def test_what_an_earlier_run_has_left_is_not_measured_again(tmp_path: Path) -> None:
    left = tmp_path / "there"
    left.write_bytes(b"measured before")
    Programs(peers_python=tmp_path).run([Job("vw-coin", "predict", [tmp_path / "cell"], [left])])
    assert left.read_bytes() == b"measured before"


class InProcess(Programs):
    """Does the programs' work here."""

    def run(self, jobs: Iterable[Job], done: Callable[[Job], None] = lambda _: None) -> None:
        for job in jobs:
            files = [",".join(map(str, paths)) for paths in (job.sources, job.targets)]
            run.main(job.name, job.task, *files)
            done(job)


def test_the_whole_report_has_a_table_for_every_kind_of_features(folder: Path, tmp_path: Path) -> None:
    programs = InProcess(peers_python=tmp_path)
    report = Run(folder, tmp_path, programs, ("laplace", "scikit-learn"), Console(quiet=True)).report()
    lines = [line for part in report for line in part.split("\n")]
    for kind in KINDS:
        assert f"## small: {kind}" in lines
    assert sum(line.startswith("| scikit-learn | best: C=") for line in lines) == len(KINDS)
    assert any(line.startswith("| **laplace** | posterior |") for line in lines)
