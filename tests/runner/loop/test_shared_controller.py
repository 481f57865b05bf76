"""What runs learn into one file: nothing is lost, nothing is added twice, and a run begins as it began."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from runner.loop.controller import FEATURES, Prior, ThompsonController
from runner.loop.refiner import ARMS
from runner.loop.shared_controller import ADDED, SharedController
from streams.errors import BadInput


def learn(controller: ThompsonController, seed: int) -> ThompsonController:
    rng = np.random.default_rng(seed)
    for arm in ARMS:
        controller.update(rng.random(len(FEATURES)), arm, rng.normal())
    return controller


def one_run(path: Path, folder: Path, seed: int) -> None:
    folder.mkdir()
    shared = SharedController(path)
    shared.add(folder, folder.name, learn(shared.begin(folder), seed))


def test_a_run_begins_with_what_the_runs_before_it_learnt(tmp_path: Path) -> None:
    one_run(tmp_path / "state.json", tmp_path / "a", 0)
    (tmp_path / "b").mkdir()
    begun = SharedController(tmp_path / "state.json").begin(tmp_path / "b")
    alone = learn(ThompsonController(), 0)
    assert begun.mean()[0].tolist() == alone.mean()[0].tolist()
    assert begun.rounds == len(ARMS)


def test_a_run_that_is_gone_on_with_begins_as_it_began(tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    shared = SharedController(tmp_path / "state.json")
    shared.begin(tmp_path / "slow")
    one_run(tmp_path / "state.json", tmp_path / "quick", 1)
    assert shared.begin(tmp_path / "slow").rounds == 0


def test_runs_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        list(pool.map(one_run, [path] * 12, [tmp_path / f"run{i}" for i in range(12)], range(12)))
    together = ThompsonController()
    for seed in range(12):
        learn(together, seed)
    shared = SharedController(path).known()
    assert shared.rounds == 12 * len(ARMS)
    assert shared.mean()[0] == pytest.approx(together.mean()[0])


def test_a_run_that_is_added_again_counts_once(tmp_path: Path) -> None:
    path, folder = tmp_path / "state.json", tmp_path / "a"
    folder.mkdir()
    shared = SharedController(path)
    ended = learn(shared.begin(folder), 0)
    shared.add(folder, "a", ended)
    once = path.read_bytes()
    shared.add(folder, "a", ended)
    assert path.read_bytes() == once


def test_one_run_after_the_other_is_one_controller_to_the_bit(tmp_path: Path) -> None:
    for seed in range(3):
        one_run(tmp_path / "state.json", tmp_path / f"run{seed}", seed)
    alone = ThompsonController()
    for seed in range(3):
        learn(alone, seed)
    assert SharedController(tmp_path / "state.json").known().mean()[0].tolist() == alone.mean()[0].tolist()


def test_a_run_that_was_interrupted_and_went_on_counts_whole_and_once(tmp_path: Path) -> None:
    path, folder = tmp_path / "state.json", tmp_path / "a"
    folder.mkdir()
    shared = SharedController(path)
    shared.add(folder, "a", learn(shared.begin(folder), 0))
    one_run(path, tmp_path / "b", 1)
    shared.add(folder, "a", learn(learn(shared.begin(folder), 0), 2))
    alone = ThompsonController()
    for seed in (0, 1, 2):
        learn(alone, seed)
    assert shared.known().rounds == alone.rounds
    assert shared.known().mean()[0] == pytest.approx(alone.mean()[0])


def test_a_run_that_was_killed_between_adding_and_noting_it_counts_once(tmp_path: Path) -> None:
    path, folder = tmp_path / "state.json", tmp_path / "a"
    folder.mkdir()
    shared = SharedController(path)
    shared.add(folder, "a", learn(shared.begin(folder), 0))
    (folder / ADDED).unlink()
    shared.add(folder, "a", learn(shared.begin(folder), 0))
    assert shared.known().rounds == len(ARMS)


def test_without_a_file_a_run_begins_anew_and_keeps_what_it_learnt(tmp_path: Path) -> None:
    shared = SharedController(None)
    shared.add(tmp_path, "a", learn(shared.begin(tmp_path), 0))
    assert ThompsonController.load(tmp_path / "controller.json").rounds == len(ARMS)
    assert shared.known().rounds == 0


def test_another_prior_is_refused() -> None:
    before, after = ThompsonController(), learn(ThompsonController(Prior(noise=0.2)), 0)
    with pytest.raises(BadInput, match="learnt with"):
        ThompsonController().plus("a", before, after)


def test_a_file_that_is_no_state_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(BadInput, match="not a controller's state"):
        SharedController(tmp_path / "state.json").begin(tmp_path)


def test_a_file_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    shared = SharedController(tmp_path / "taken" / "state.json")
    (tmp_path / "a").mkdir()
    begun = shared.begin(tmp_path / "a")
    with pytest.raises(BadInput, match="cannot be written"):
        shared.add(tmp_path / "a", "a", learn(begun, 0))


def test_what_was_learnt_before_is_not_begun_anew(tmp_path: Path) -> None:
    learn(ThompsonController(), 0).save(tmp_path / "given.json")
    shared = SharedController(tmp_path / "state.json")
    shared.start_from(tmp_path / "given.json")
    one_run(tmp_path / "state.json", tmp_path / "a", 1)
    shared.start_from(tmp_path / "given.json")
    assert shared.known().rounds == 2 * len(ARMS)
