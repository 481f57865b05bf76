"""What ``doctor`` finds on a machine, and when it says no."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from runner.machine import Gpu, gpus_in, packages
from runner.worlds.wow.checkout import MODELS, ModelName
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


@pytest.mark.parametrize("model", MODELS)
def test_what_is_missing_is_named_and_fails_only_when_required(
    wow: FakeWow, model: ModelName, capfd: Any
) -> None:
    other = MODELS[MODELS.index(model) - 1]
    for need in wow.checkout.needed(model):
        if need.path.is_file():
            need.path.unlink()
    assert doctor(*of_wow(wow)) == 0
    said = capfd.readouterr().out
    assert f"WoW's {model} is not ready:\n  missing: " in said
    assert doctor(*of_wow(wow), "--require", model) == 1
    assert doctor(*of_wow(wow), "--require", other) == 0


def test_an_interpreter_that_lacks_a_package_is_not_enough(wow: FakeWow, capfd: Any) -> None:
    (wow.checkout.diffsynth / "diffsynth" / "__init__.py").write_text("import no_such_module")
    assert doctor(*of_wow(wow), "--require", "wan-14b", "--json") == 1
    found = orjson.loads(capfd.readouterr().out)
    assert found["usable"] == {"dit-2b": True, "dit-7b": True, "wan-14b": False}
    assert "No module named 'no_such_module'" in found["wow"][2]["problems"][0]


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
