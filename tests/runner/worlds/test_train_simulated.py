"""The simulated world's training command: a dataset and the hidden truth in, a checkpoint out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from runner.critics.pixel import default_critics
from runner.loop.controller import ThompsonController
from runner.loop.refinement import RefinementLoop
from runner.loop.stopping import StopRules
from runner.worlds.scene import Failures
from runner.worlds.simulated import SimulatedWorld
from runner.worlds.simulated_checkpoint import WorldCheckpoint, finetuned, read_checkpoint
from trainers.datasets.build import MANIFEST

GOAL = "move the red cube to the blue bowl"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        RefinementLoop(
            goal=GOAL,
            world=SimulatedWorld(GOAL, seed, write_truth=True),
            critics=default_critics(),
            controller=ThompsonController(),
            stop=StopRules(max_iters=2),
            seed=seed,
            out_dir=folder / f"run-{seed}",
            run_id=f"run-{seed}",
        ).run()
    return folder


@pytest.fixture
def dataset(runs: Path, tmp_path: Path) -> Path:
    words = ["--runs", str(runs), "--format", "diffsynth", "--out", str(tmp_path / "dataset")]
    done = tool("tribrain.cli", "build-dataset", *words, "--validation", "0", "--caption", "prompt")
    assert done.returncode == 0, done.stderr
    return tmp_path / "dataset"


def tool(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, check=False)


def train(dataset: Path, runs: Path, out: Path, base: str = "") -> subprocess.CompletedProcess[str]:
    words = ["--dataset", str(dataset), "--runs", str(runs), "--base", base, "--out", str(out)]
    return tool("runner.worlds.train_simulated", *words)


def test_the_checkpoint_is_what_the_datasets_videos_make_of_it(
    dataset: Path, runs: Path, tmp_path: Path
) -> None:
    assert train(dataset, runs, tmp_path / "c1").returncode == 0
    shown = []
    for line in (dataset / MANIFEST).read_bytes().splitlines():
        row = orjson.loads(line)
        world = SimulatedWorld(GOAL, row["seed"])
        failures: Failures = world.failures(row["prompt"], seed=row["generation_seed"])
        shown.append(world.surprise(failures, row["prompt"]))
    assert read_checkpoint(tmp_path / "c1") == finetuned(WorldCheckpoint(), shown)


def test_a_training_goes_on_from_the_checkpoint_before(dataset: Path, runs: Path, tmp_path: Path) -> None:
    train(dataset, runs, tmp_path / "c1")
    assert train(dataset, runs, tmp_path / "c2", str(tmp_path / "c1")).returncode == 0
    first, second = read_checkpoint(tmp_path / "c1"), read_checkpoint(tmp_path / "c2")
    assert second.videos == 2 * first.videos
    assert second.shifts != first.shifts


def test_without_the_runs_it_says_what_to_do(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    failed = train(dataset, tmp_path / "bare", tmp_path / "c1")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "is not in the given runs; give its folder" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "c1").exists()


def test_without_the_truth_it_says_how_to_get_it(dataset: Path, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "copy", ignore=shutil.ignore_patterns("truth.json"))
    failed = train(dataset, tmp_path / "copy", tmp_path / "c1")
    assert failed.returncode == 1
    assert "make the run with --write-truth" in failed.stderr
