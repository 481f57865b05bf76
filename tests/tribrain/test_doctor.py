"""What ``doctor`` finds on a machine, and when it says no."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest

from runner.finetune.comparison import PairedTask
from runner.machine import TRAINING, Gpu, gpus_in, packages
from runner.worlds.wow.checkout import POST_TRAINED
from runner.worlds.wow.models import open_world
from runner.worlds.wow.names import MODELS, ModelName
from runner.worlds.wow.settings import WowSettings
from streams.errors import BadInput
from tests.runner.worlds.test_train_wan import dataset_of, train
from tests.runner.wow_doubles.checkout import FakeWow, fake_checkout
from trainers import extras
from tribrain.cli import main
from tribrain.data.finetune_wow import OPTIONS, wow_training


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


IMPORTED = {
    "torch.py",
    "scripts/wow_double.py",
    "dit_models/wow-dit-2b/cosmos_predict2/__init__.py",
    "dit_models/wow-dit-7b/cosmos_predict1/__init__.py",
}
"""What the programs import; the interpreter says whether it can, and this one always does."""


def opened_by(program: ModelName | Literal["train-wow-wan"], wow: FakeWow, folder: Path) -> set[Path]:
    """The files of the checkout without which the program has ended with an error."""
    before = len(wow.calls("needs"))
    folder.mkdir()
    if program == "train-wow-wan":
        code, said = train(wow, dataset_of(folder, "pour the tea"), folder / "lora")
        assert code == 0, said
        opened_by("wan-14b", wow, folder / "compared")
    else:
        settings = WowSettings(checkout=wow.checkout, image=wow.image, python=sys.executable, timeout_s=60.0)
        with open_world(program, settings) as world:
            world.generate("pour the tea", seed=7, out_dir=folder)
    return {Path(call["path"]) for call in wow.calls("needs")[before:]}


def test_each_program_is_ready_where_all_that_it_opens_is_there_and_never_otherwise(
    wow: FakeWow, content_python: Path, tmp_path: Path, capfd: Any
) -> None:
    repo = wow.repo.resolve()
    files = {path for path in repo.rglob("*") if path.is_file()} - {repo / name for name in IMPORTED}
    programs: tuple[ModelName | Literal["train-wow-wan"], ...] = (*MODELS, TRAINING)
    opened = {program: opened_by(program, wow, tmp_path / program) for program in programs}
    assert set().union(*opened.values()) >= files
    for file in sorted(files):
        aside = file.rename(tmp_path / "aside")
        capfd.readouterr()
        assert doctor("--wow-repo", str(repo), "--wow-python", str(content_python), "--json") == 0
        found = orjson.loads(capfd.readouterr().out)
        assert found["usable"] == {program: file not in opened[program] for program in opened}, file
        for of in found["wow"]:
            named = any(str(file) in line or f"{file.parent} lacks" in line for line in of["missing"])
            assert named == (file in opened[of["model"]]), file
        aside.rename(file)


def finetuning_refuses(wow: FakeWow, python: Path) -> str:
    """What ``data finetune --train wow-wan`` says before its first step; empty if it would begin."""
    given = {**dict.fromkeys(OPTIONS), "wow_repo": wow.repo, "wow_python": str(python)}
    task = PairedTask(goal="pour the tea", seed=1, image=str(wow.image))
    try:
        wow_training(given, [task], "", 60.0)
    except BadInput as refusal:
        return str(refusal)
    return ""


def test_training_is_ready_where_its_command_begins_and_never_where_it_refuses(
    wow: FakeWow, content_python: Path, tmp_path: Path, capfd: Any
) -> None:
    repo = wow.repo.resolve()
    given = ["--wow-repo", str(repo), "--wow-python", str(content_python), "--require", TRAINING]
    scripts = wow.checkout.training_scripts
    needed = [*(need.path for need in wow.checkout.needed("wan-14b")), scripts.encode, scripts.train]
    refusals = []
    for path in sorted(path.resolve() for path in {*needed, wow.checkout.script("dit-2b")}):
        aside = path.rename(tmp_path / "aside")
        refusals.append(finetuning_refuses(wow, content_python))
        assert doctor(*given) == bool(refusals[-1]), path
        aside.rename(path)
    assert refusals.count("") == 1  # it does not need the script of another model
    (wow.checkout.diffsynth / "diffsynth" / "core").mkdir()
    assert "has no ModelManager" in finetuning_refuses(wow, content_python)
    capfd.readouterr()
    assert doctor(*given) == 1
    assert capfd.readouterr().out.count("is DiffSynth-Studio 2, which has no ModelManager") == 3


def test_training_is_not_ready_without_the_packages_of_its_datasets(
    wow: FakeWow, content_python: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(extras, "_PACKAGES", {"data": ("no_such_package",)})
    given = ["--wow-repo", str(wow.repo), "--wow-python", str(content_python), "--require"]
    assert (doctor(*given, "wan-14b"), doctor(*given, TRAINING)) == (0, 1)
    assert 'a dataset needs no_such_package; install the extra with pip install -e ".[data]"' in (
        capfd.readouterr().out
    )


@pytest.mark.parametrize("program", [*MODELS, TRAINING])
def test_what_is_required_decides_the_exit_code(wow: FakeWow, content_python: Path, program: str) -> None:
    given = ["--wow-repo", str(wow.repo), "--wow-python", str(content_python), "--require", program]
    assert doctor(*given) == 0
    wow.trained.unlink()
    assert doctor(*given) == (program in ("wan-14b", TRAINING))


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
        TRAINING: False,
    }
    problems = {of["model"]: of["problems"] for of in found["wow"]}
    assert problems["dit-2b"] == [
        f"{script} does not start: ModuleNotFoundError: No module named 'no_such_module'"
    ]
    without = [f"{sys.executable} cannot use diffsynth: it has no ModelManager"]
    assert problems["wan-14b"] == problems[TRAINING] == without


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
