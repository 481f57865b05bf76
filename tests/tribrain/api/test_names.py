"""What ``from tribrain import …`` gives, and what it does not load."""

from __future__ import annotations

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import tribrain

SLOW = (
    *("torch", "transformers", "faust", "river", "kafka", "aiokafka", "confluent_kafka", "sklearn", "scipy"),
    *("numba", "matplotlib", "pandas", "polars", "narwhals", "cv2", "av", "click", "rich", "numpy"),
)
LEARN = "tribrain.learn([{'task': 1, 'left_a': 1, 'right_a': 0, 'winner': 'left'}])"
COMPARE = "tribrain.comparison({'a': 1.0}, {'a': 0.0}, 'left', task='tea')"


def loaded_by(program: str) -> set[str]:
    """Which of SLOW a new process has loaded after ``import tribrain`` and the program."""
    asked = f"import sys, tribrain\n{program}\nprint(*(set({SLOW}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("program", "allowed"),
    [
        ("", set()),
        ("dir(tribrain)", set()),
        ("tribrain.BadInput", set()),
        (COMPARE, set()),
        ("tribrain.pairs_from_table", set()),
        ("tribrain.Reward.read", set()),
        # numba compiles what learns, and looks for SciPy; what learns is a River estimator.
        (LEARN, {"numba", "numpy", "scipy", "river"}),
        ("tribrain.PreferenceLearner()", {"numba", "numpy", "scipy", "river"}),
        ("tribrain.learn, tribrain.PreferenceLearner", set()),
        ("tribrain.pairs_from_runs, tribrain.read_pairs", {"numpy"}),
        ("tribrain.RewardFeed", set()),
        ("for name in tribrain.__all__: getattr(tribrain, name)", {"numpy"}),
    ],
)
def test_a_name_loads_only_what_it_needs(program: str, allowed: set[str]) -> None:
    assert loaded_by(program) <= allowed


def test_all_names_are_there_and_none_is_private() -> None:
    for name in tribrain.__all__:
        assert getattr(tribrain, name) is not None
        assert name in dir(tribrain)
    assert tribrain.__all__ == sorted(tribrain.__all__)


def test_a_type_checker_sees_what_a_program_gets() -> None:
    """What stands under TYPE_CHECKING is imported from the same modules."""
    tree = ast.parse(Path(tribrain.__file__).read_text())
    seen = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen.keys() == set(tribrain.__all__) - {"__version__"}
    for name, module in seen.items():
        assert getattr(tribrain, name) is getattr(importlib.import_module(module or ""), name)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'tribrain' has no attribute 'lern'"):
        tribrain.lern  # type: ignore[attr-defined]  # noqa: B018


def test_everything_public_says_what_it_is() -> None:
    assert [one for one in PUBLIC if not one.__doc__] == []


PUBLIC = [getattr(tribrain, name) for name in tribrain.__all__ if name != "__version__"]


@pytest.mark.parametrize("module", sorted({"tribrain", *(one.__module__ for one in PUBLIC)}))
def test_the_examples_in_the_docstrings_hold(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_learning_and_ranking_have_examples() -> None:
    examples = [doctest.DocTestFinder().find(one) for one in (tribrain.learn, tribrain.Reward)]
    assert all(any(each.examples for each in found) for found in examples)


@pytest.mark.parametrize("package", ["streams", "trainers", "runner"])
def test_a_file_of_somebody_else_s_with_a_package_s_name_is_said(package: str, tmp_path: Path) -> None:
    """As a notebook's own runner.py beside it."""
    (tmp_path / f"{package}.py").touch()
    done = subprocess.run(
        [sys.executable, "-c", "import tribrain; tribrain.BadInput"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(tribrain.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{package}.py stands in the way of TriBrain's own package '{package}'" in done.stderr
    assert "rename it" in done.stderr
