"""``tribrain experiment-finetune``: one object, one table, and it goes on where it was."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests.tribrain.processes import command, needs_proc
from tests.tribrain.test_experiment import files
from tests.waiting import wait_until
from tribrain.cli import main

PLAN = ("--seeds", "3", "--tasks", "3", "--rounds", "2", "--unseen-tasks", "4")


def run(out: Path, *words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["experiment-finetune", "--out", str(out), *PLAN, *words])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert run(out, "--processes", "1") == 0
    return out


def test_json_is_one_object_with_every_difference(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(finished, "--json") == 0
    said = orjson.loads(capsys.readouterr().out)
    assert list(said["difference"]) == ["reward minus random", "critics minus random", "reward minus critics"]
    assert all(len(rounds) == 2 for rounds in said["difference"].values())
    assert said["simulated"] == "the world model, its fine-tuning and the people"
    assert said == orjson.loads((finished / "experiment.json").read_bytes())


def test_the_table_says_that_the_training_is_simulated(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(finished) == 0
    said = capsys.readouterr()
    assert "The training is simulated, too." in said.out
    assert "reward minus random" in said.out
    assert said.err == ""


def test_the_picture_goes_where_it_is_asked_for_too(finished: Path, tmp_path: Path) -> None:
    assert run(finished, "--plot", str(tmp_path / "p.png")) == 0
    assert (tmp_path / "p.png").read_bytes() == (finished / "experiment.png").read_bytes()


@needs_proc
def test_it_goes_on_after_a_kill_of_everything(tmp_path: Path, finished: Path) -> None:
    out = tmp_path / "out"
    words = ["experiment-finetune", "--out", str(out), *PLAN, "--processes", "1"]
    with command(words, tmp_path / "said") as killed:
        wait_until(lambda: any((out / "units").glob("seed*")), 60)
        killed.kill_everything()
    assert 0 < len(list((out / "units").glob("seed*"))) < 3
    assert run(out, "--processes", "2") == 0
    assert files(out) == files(finished)
