"""The wheel, installed where nothing else of TriBrain is."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"streams", "trainers", "runner", "tribrain"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment with the wheel, and what it depends on as it is here."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True, env=clean())
    (packages,) = folder.glob("lib/python*/site-packages")
    # A path alone: what is installed there as a link to this folder is not followed.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def said(*words: str, cwd: Path) -> str:
    return subprocess.run(words, cwd=cwd, env=clean(), capture_output=True, text=True, check=True).stdout


def test_a_wheel_has_the_four_packages_all_with_types_and_nothing_else(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES
    assert {name for name in names if name.endswith("py.typed")} == {f"{name}/py.typed" for name in PACKAGES}


@pytest.mark.long
def test_an_installed_wheel_can_be_imported_learns_and_has_the_program(
    installed: Path, tmp_path: Path
) -> None:
    python, tribrain = str(installed / "python"), str(installed / "tribrain")
    program = (
        "import tribrain\n"
        "rows = [{'task': 1, 'left_a': 1, 'right_a': 0, 'winner': 'left'}]\n"
        "tribrain.learn(rows).write('bt_reward.json')\n"
        "print(tribrain.__file__)"
    )
    place = Path(said(python, "-c", program, cwd=tmp_path).strip())
    assert place.is_relative_to(installed.parent)
    assert said(tribrain, "--help", cwd=tmp_path) == said(
        python, "-m", "tribrain.cli", "--help", cwd=tmp_path
    )
    assert "×" in said(tribrain, "explain", "--model", "bt_reward.json", cwd=tmp_path)


@pytest.mark.long
def test_an_installed_wheel_makes_runs_with_processes_of_its_own(installed: Path, tmp_path: Path) -> None:
    """Broker, trainer and runs are started by their modules' names."""
    said(str(installed / "tribrain"), "demo", "--tasks", "2", "--out", "demo", cwd=tmp_path)
    assert (tmp_path / "demo" / "report.html").is_file()
