"""``tribrain experiment``: what it says, that it goes on after any end, and that processes change nothing."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from runner.lab.experiment_figures import Estimate, Figures
from runner.lab.experiment_plan import ALL_CONDITIONS, VOTES, ExperimentPlan
from tests.tribrain.processes import command, needs_proc
from tests.waiting import wait_until
from tribrain.cli import main
from tribrain.lab.experiment_plot import experiment_plot

TASKS, SEEDS = ("--tasks", "5"), ("--seeds", "2")
PLAN = (*TASKS, *SEEDS)


def run(out: Path, *words: str, plan: Sequence[str] = PLAN) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["experiment", "--out", str(out), *plan, *words])
    return int(ended.value.code or 0)


def files(out: Path) -> dict[str, bytes]:
    """Without the half-written ones, which a kill may leave and nobody reads."""
    found = (path for path in out.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an experiment that nothing disturbed."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert run(out, "--processes", "1") == 0
    return out


def test_json_is_one_object_with_every_condition(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(finished, "--json") == 0
    said = orjson.loads(capsys.readouterr().out)
    assert said["seeds"] == 2
    assert list(said["conditions"]) == ["clean", "aligned", "garbage", "flipped", "critic_fails"]
    assert list(said["rewrites"]) == ["rewrites 4"]
    assert list(said["votes"]) == [condition.name for condition in VOTES]
    kinds = ("conditions", "sensitivity", "rewrites", "votes")
    for figures in (f for kind in kinds for f in said[kind].values()):
        for name in ("generations_saved", "best_true_quality_gain"):
            assert figures[name].keys() == {"mean", "ci95"}
            assert len(figures[name]["ci95"]) == 2
    assert said == orjson.loads((finished / "experiment.json").read_bytes())


def test_the_table_has_a_line_for_every_condition(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(finished) == 0
    said = capsys.readouterr()
    assert all(f"│ {condition.name} " in said.out for condition in ALL_CONDITIONS)
    assert said.err == ""


def test_where_there_is_no_terminal_progress_is_a_line_at_each_tenth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "out", "--processes", "1") == 0
    lines = capsys.readouterr().err.splitlines()
    assert 1 < len(lines) <= 10
    assert all(re.fullmatch(r"seeds × conditions: \d+ of \d+", line) for line in lines)
    done, total = re.findall(r"\d+", lines[-1])
    assert done == total


def test_the_same_command_again_computes_nothing_and_says_the_same(finished: Path) -> None:
    before, content = [path.stat().st_mtime_ns for path in sorted(finished.glob("units/*"))], files(finished)
    assert run(finished) == 0
    assert [path.stat().st_mtime_ns for path in sorted(finished.glob("units/*"))] == before
    assert files(finished) == content


def test_a_dry_run_says_what_is_there_and_writes_nothing(
    tmp_path: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new"
    assert run(out, "--dry-run") == 0
    assert capsys.readouterr().out.startswith(
        f"would begin an experiment in {out}; nothing was made or written\n"
    )
    assert not out.exists()
    content = files(finished)
    assert run(finished, "--dry-run", "--json") == 0
    plan = orjson.loads(capsys.readouterr().out)
    parts = 2 * len(ALL_CONDITIONS)
    assert plan == {
        "dry_run": True,
        "out": str(finished),
        "first_seed": 0,
        "seeds": 2,
        "parts": parts,
        "finished": parts,
    }
    assert files(finished) == content


def test_a_dry_run_refuses_the_folder_of_another_experiment(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(finished, "--dry-run", "--outcome-share", "0.9") == 2
    assert "label_share 0.5 rather than 0.9" in capsys.readouterr().err


@pytest.mark.long
def test_the_number_of_processes_changes_nothing(tmp_path: Path, finished: Path) -> None:
    assert run(tmp_path / "out", "--processes", "3") == 0
    assert files(tmp_path / "out") == files(finished)


def test_more_seeds_may_be_added(tmp_path: Path, finished: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    assert run(out, "--seeds", "3", plan=TASKS) == 0
    assert files(finished / "units").items() < files(out / "units").items()


@needs_proc
def test_it_goes_on_after_a_kill_of_everything(tmp_path: Path, finished: Path) -> None:
    out = tmp_path / "out"
    with command(["experiment", "--out", str(out), *PLAN, "--processes", "2"], tmp_path / "said") as killed:
        wait_until(lambda: any((out / "units").glob("seed*")), 60)
        killed.kill_everything()
    done = len(list((out / "units").glob("seed*")))
    assert 0 < done < len(list((finished / "units").iterdir()))
    assert run(out) == 0
    assert files(out) == files(finished)


@needs_proc
def test_its_processes_end_soon_when_it_is_killed_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with command(["experiment", "--out", str(out), "--processes", "2"], tmp_path / "said") as killed:
        wait_until(lambda: len(killed.started("spawn_main")) >= 2, 60)
        killed.process.kill()
        wait_until(lambda: not killed.children(), 60)


@needs_proc
def test_ctrl_c_is_code_130_one_line_and_leaves_no_process(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with command(["experiment", "--out", str(out), "--processes", "2"], tmp_path / "said") as interrupted:
        wait_until(lambda: len(interrupted.started("spawn_main")) >= 2, 60)
        for process in (*interrupted.started("spawn_main"), interrupted.process.pid):
            os.kill(process, signal.SIGINT)  # as a terminal does
        assert interrupted.wait(60) == 130
        assert interrupted.output.strip() == "tribrain: interrupted"
        wait_until(lambda: not interrupted.children(), 10)


@needs_proc
def test_a_killed_process_is_one_line_and_code_1(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with command(["experiment", "--out", str(out), "--processes", "1"], tmp_path / "said") as hurt:
        wait_until(lambda: hurt.started("spawn_main"), 60)
        os.kill(hurt.started("spawn_main")[0], signal.SIGKILL)
        assert hurt.wait(60) == 1
        assert hurt.output == "tribrain: a process was killed; run the same command again to continue\n"


def test_the_picture_shows_its_figures_to_those_who_cannot_see_it() -> None:
    saved = Estimate(mean=0.5, ci95=(0.4, 0.6))
    lost = Estimate(mean=-3.0, ci95=(-4.0, -2.0))
    measured = {
        name: Figures(
            generations_saved=estimate,
            best_true_quality_gain=Estimate(mean=0.07, ci95=(0.05, 0.09)),
            best_generated_gain=Estimate(mean=0.0, ci95=(0.0, 0.0)),
            generations_needed={"critics_alone": 8.0, "steered": 4.0},
            given_true_quality=0.7,
            best_true_quality={"critics_alone": 0.7, "steered": 0.77},
            curves={"critics_alone": (0.5, 0.7), "steered": (0.5, 0.77)},
            seeds_steered=2,
            steers_from_task=40.0,
        )
        for name, estimate in (("clean", saved), ("flipped", lost))
    }
    picture = experiment_plot(measured, ExperimentPlan(), 2)
    assert picture.png.startswith(b"\x89PNG")
    assert "clean: +50% generations saved, quality +0.070" in picture.alt
    assert "flipped: -300%" in picture.alt
