"""Where WoW's things are looked for, and the environment that its programs get."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.worlds.wow.checkout import Checkout


def conda(folder: Path) -> Path:
    """An interpreter of a conda environment."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    (folder / "conda-meta").mkdir()
    python.touch(mode=0o755)
    return python


def test_cuda_is_that_of_the_interpreters_own_conda_environment(tmp_path: Path) -> None:
    python = conda(tmp_path / "wow")
    outer = {"CONDA_PREFIX": "/other", "CUDA_HOME": "/older"}
    made = Checkout.at(tmp_path).environment("dit-2b", str(python), None, outer)
    assert made["CUDA_HOME"] == made["CONDA_PREFIX"] == str(tmp_path / "wow")


def test_without_conda_cuda_is_left_as_it_is(tmp_path: Path) -> None:
    made = Checkout.at(tmp_path).environment("dit-2b", "python", None, {"CUDA_HOME": "/usr/local/cuda"})
    assert made["CUDA_HOME"] == "/usr/local/cuda"


def test_what_stands_in_pythonpath_for_this_program_is_not_passed_on(tmp_path: Path) -> None:
    made = Checkout.at(tmp_path).environment("dit-7b", "python", "1", {"PYTHONPATH": "/mine"})
    parts = made["PYTHONPATH"].split(":")
    assert parts == [str(tmp_path / "dit_models" / "wow-dit-7b"), str(tmp_path), str(tmp_path / "scripts")]
    assert made["CUDA_VISIBLE_DEVICES"] == "1"


@pytest.mark.parametrize("name", ["ditmodels", "dit_models"])
def test_wan_is_found_under_either_of_wows_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name / "wow_wan").mkdir(parents=True)
    assert Checkout.at(tmp_path).wan == tmp_path / name


def test_a_file_that_another_option_replaces_is_not_needed(tmp_path: Path) -> None:
    checkout = Checkout.at(tmp_path)
    assert "checkpoint" in [need.what for need in checkout.missing("dit-2b")]
    for extra in (["--dit_path", "x.pt"], ["--dit_path=x.pt"]):
        assert "checkpoint" not in [need.what for need in checkout.missing("dit-2b", extra)]
