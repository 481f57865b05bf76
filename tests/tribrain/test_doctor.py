"""What ``doctor`` finds on a machine, and when it says no."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from runner.machine import TRAINING, Gpu, gpus_in, packages
from runner.worlds.wow.checkout import POST_TRAINED
from runner.worlds.wow.names import MODELS, ModelName
from tests.runner.wow_doubles.checkout import FakeWow, fake_checkout
from tribrain.cli import main


@pytest.fixture
def wow(tmp_path: Path) -> FakeWow:
    return fake_checkout(tmp_path / "WoW")


def doctor(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *words])
    return int(str(ended.value.code))


def of_wow(wow: FakeWow) -> list[str]:
    return ["--wow-repo", str(wow.repo), "--wow-python", sys.executable]


def test_it_lists_packages_kafka_and_gpus(capfd: Any) -> None:
    assert doctor("--json") == 0
    found = orjson.loads(capfd.readouterr().out)
    assert {"numpy", "torch"} <= {package["name"] for package in found["packages"]}
    assert found["python"] == sys.version.split()[0]
    assert {"kafka", "ffmpeg", "gpus", "wow"} <= set(found)


def test_the_packages_are_those_of_the_program_and_of_its_extras() -> None:
    extras = {package.name: package.extra for package in packages()}
    assert (extras["numpy"], extras["torch"], extras["pyarrow"], "pytest" in extras) == (
        "",
        "lora",
        "data",
        False,
    )


def test_a_whole_checkout_is_ready(wow: FakeWow, capfd: Any) -> None:
    assert doctor(*of_wow(wow)) == 0
    said = capfd.readouterr().out
    assert [model for model in MODELS if f"WoW's {model} is ready." not in said] == []


@pytest.fixture
def content_python(tmp_path: Path) -> Path:
    """An interpreter that can import everything and sees a GPU, at once."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho \'{"cuda_devices": 1, "problems": {}}\'\n')
    python.chmod(0o755)
    return python


@pytest.mark.parametrize("model", MODELS)
def test_it_is_never_ready_where_one_needed_thing_is_missing(
    wow: FakeWow, model: ModelName, content_python: Path, tmp_path: Path, capfd: Any
) -> None:
    given = ["--wow-repo", str(wow.repo), "--wow-python", str(content_python), "--require"]
    assert doctor(*given, model) == 0
    other = MODELS[MODELS.index(model) - 1]
    for need in wow.checkout.needed(model):
        aside = need.path.rename(tmp_path / "aside")
        assert doctor(*given, model) == 1, need
        assert f"  missing: {need.what} {need.path}\n" in capfd.readouterr().out
        if need.what != "diffsynth":
            assert doctor(*given, other) == 0, need
        aside.rename(need.path)
    assert doctor(*given, model) == 0


def test_the_training_is_never_ready_where_one_needed_thing_is_missing(
    wow: FakeWow, content_python: Path, tmp_path: Path, capfd: Any
) -> None:
    given = ["--wow-repo", str(wow.repo), "--wow-python", str(content_python), "--require", TRAINING]
    assert doctor(*given) == 0
    for need in wow.checkout.needed_to_train():
        aside = need.path.rename(tmp_path / "aside")
        assert doctor(*given) == 1, need
        assert f"  missing: {need.what} {need.path}\n" in capfd.readouterr().out.partition(TRAINING)[2]
        aside.rename(need.path)


def test_it_says_which_layout_it_found_and_where_what_is_missing_comes_from(
    wow: FakeWow, content_python: Path, capfd: Any
) -> None:
    wow.trained.unlink()
    doctor("--wow-repo", str(wow.repo), "--wow-python", str(content_python))
    assert (
        f"""
WoW's wan-14b is not ready:
  found: dit_models/wan-simple
  found: dit_models/checkpoints/WoW-1-Wan-14B-600k
  missing: checkpoint {wow.trained}
  get it from https://huggingface.co/WoW-world-model/WoW-1-Wan-14B-600k
"""
        in capfd.readouterr().out
    )


def test_another_model_in_the_place_of_dit_7bs_is_named(
    wow: FakeWow, content_python: Path, capfd: Any
) -> None:
    link = wow.checkout.dit_7b / "checkpoints" / POST_TRAINED / "model.pt"
    link.parent.mkdir()
    link.write_text("another")
    given = ["--wow-repo", str(wow.repo), "--wow-python", str(content_python), "--require", "dit-7b"]
    assert doctor(*given) == 1
    assert f"{link} is a file of its own, and dit-7b needs a link" in capfd.readouterr().out


def test_an_interpreter_that_lacks_something_is_not_enough(wow: FakeWow, capfd: Any) -> None:
    diffsynth = wow.checkout.diffsynth / "diffsynth" / "__init__.py"
    diffsynth.write_text(diffsynth.read_text().replace("class ModelManager", "class Other"))
    script = wow.checkout.script("dit-2b")
    script.write_text(script.read_text().replace("import argparse", "import no_such_module"))
    assert doctor(*of_wow(wow), "--require", "wan-14b", "--json") == 1
    found = orjson.loads(capfd.readouterr().out)
    assert found["usable"] == {
        "dit-2b": False,
        "dit-7b": True,
        "wan-14b": False,
        "wan-1.3b": False,
        TRAINING: True,
    }
    problems = {of["model"]: of["problems"] for of in found["wow"]}
    assert problems["dit-2b"] == [
        f"{script} does not start: ModuleNotFoundError: No module named 'no_such_module'"
    ]
    assert problems["wan-14b"] == [f"{sys.executable} cannot use diffsynth: it has no ModelManager"]


def test_a_machine_without_a_gpu_is_not_enough(wow: FakeWow, capfd: Any) -> None:
    torch = wow.repo / "torch.py"
    torch.write_text(torch.read_text().replace("return 1", "return 0"))
    assert doctor(*of_wow(wow), "--require", "dit-2b") == 1
    assert "sees no GPU" in capfd.readouterr().out


def test_an_interpreter_that_is_none_is_named(wow: FakeWow, capfd: Any) -> None:
    assert doctor("--wow-repo", str(wow.repo), "--wow-python", "no-such-python") == 0
    assert "interpreter no-such-python is not a program" in capfd.readouterr().out


def test_nothing_is_changed(wow: FakeWow) -> None:
    before = {path for path in wow.repo.rglob("*") if "__pycache__" not in path.parts}
    doctor(*of_wow(wow))
    assert {path for path in wow.repo.rglob("*") if "__pycache__" not in path.parts} == before


def test_nvidia_smis_table_is_read() -> None:
    assert gpus_in("0, NVIDIA H100 80GB HBM3, 81559, 550.54.15\n1, Other, [N/A], 550\n") == (
        Gpu(index=0, name="NVIDIA H100 80GB HBM3", memory_mib=81559, driver="550.54.15"),
        Gpu(index=1, name="Other", memory_mib=0, driver="550"),
    )
