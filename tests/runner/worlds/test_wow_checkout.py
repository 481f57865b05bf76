"""Where WoW's things are looked for, and the environment that its programs get."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runner.worlds.wow.checkout import Checkout, require
from runner.worlds.wow.names import MODELS, ModelName
from streams.errors import BadInput
from tests.runner.wow_doubles.checkout import LAYOUTS, Layout, fake_checkout


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


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("model", MODELS)
def test_each_needed_thing_is_noticed_once_and_alone(
    tmp_path: Path, layout: Layout, model: ModelName
) -> None:
    checkout = fake_checkout(tmp_path / "WoW", layout).checkout
    needed = checkout.needed(model)
    assert checkout.missing(model) == []
    assert checkout.problems(model) == []
    for need in needed:
        aside = need.path.rename(tmp_path / "aside")
        (missing,) = checkout.missing(model)
        assert (missing.what, missing.lack) == (need.what, "is missing")
        assert missing.path == need.path or need.what == "diffsynth"  # today's is asked for
        aside.rename(need.path)
        for group in need.holds:
            (file,) = [path for name in group for path in need.path.glob(name)]
            file.rename(tmp_path / "aside")
            (missing,) = checkout.missing(model)
            assert (missing.path, missing.lack) == (need.path, f"lacks {' or '.join(group)}")
            aside.rename(file)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9884567\n"


def put(file: Path, what: bytes | None) -> None:
    """Have the file hold this; a folder for None."""
    file.unlink()
    if what is None:
        file.mkdir()
    else:
        file.write_bytes(what)


@pytest.mark.parametrize(
    ("there", "said"),
    [(POINTER, "is a Git LFS pointer"), (b"", "is empty"), (None, "is a folder; a file is needed")],
    ids=["pointer", "empty", "folder"],
)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("model", MODELS)
def test_what_is_there_by_name_alone_is_not_there(
    tmp_path: Path, layout: Layout, model: ModelName, there: bytes | None, said: str
) -> None:
    checkout = fake_checkout(tmp_path / "WoW", layout).checkout
    for need in checkout.needed(model):
        groups = [[path for name in group for path in need.path.glob(name)] for group in need.holds]
        for (file,) in groups or [[need.path]]:
            if file.name == "__init__.py" and there == b"":
                continue  # as a package may have it
            before = file.read_bytes()
            put(file, there)
            missing = checkout.missing(model)
            assert [one.what for one in missing] == [need.what], file
            # DeepSpeed's own weights are a folder, of which a file is missing then.
            assert said in missing[0].lack or (there is None and missing[0].lack == "is missing"), file
            file.rmdir() if there is None else file.unlink()
            file.write_bytes(before)
    assert checkout.missing(model) == []


def test_one_shard_that_was_not_fetched_is_named(tmp_path: Path) -> None:
    checkout = fake_checkout(tmp_path / "WoW").checkout
    t5 = next(need for need in checkout.needed("dit-2b") if need.what == "T5 encoder")
    (t5.path / "y.safetensors").write_bytes(POINTER)
    assert t5.lack.startswith("has y.safetensors, which is a Git LFS pointer")
    (t5.path / "pytorch_model.bin").write_bytes(b"whole")
    assert t5.is_there


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_that_were_not_fetched_are_asked_for_where_they_lie(tmp_path: Path, layout: Layout) -> None:
    checkout = fake_checkout(tmp_path / "WoW", layout).checkout
    before = checkout.wan_weights("wan-14b")
    for file in before.base.iterdir():
        if file.is_file():
            file.write_bytes(POINTER)
    assert checkout.wan_weights("wan-14b") == before


def test_todays_layout_and_the_first_are_told_apart(tmp_path: Path) -> None:
    found = [fake_checkout(tmp_path / layout, layout).checkout.found("wan-14b") for layout in LAYOUTS]
    assert found == [
        ("dit_models/wan-simple", "dit_models/checkpoints/WoW-1-Wan-14B-600k"),
        ("ditmodels/wow_wan/DiffSynth-Studio", "ditmodels/wow_wan/models--Wan-AI--Wan2.1-I2V-14B-480P"),
    ]


def test_new_code_goes_with_weights_that_were_left_where_they_were(tmp_path: Path) -> None:
    """As after a ``git pull``: nobody moves 60 GB for it."""
    checkout = fake_checkout(tmp_path, "DiffSynth-Studio").checkout
    (tmp_path / "dit_models" / "wan-simple" / "diffsynth").mkdir(parents=True)
    (tmp_path / "dit_models" / "wan-simple" / "diffsynth" / "__init__.py").touch()
    assert checkout.missing("wan-14b") == []
    assert checkout.found("wan-14b")[0] == "dit_models/wan-simple"


def test_of_a_checkout_with_nothing_in_it_todays_layout_is_asked_for(tmp_path: Path) -> None:
    asked = [str(need.path.relative_to(tmp_path)) for need in Checkout.at(tmp_path).missing("wan-14b")]
    assert asked[:2] == [
        "dit_models/wan-simple/diffsynth",
        "dit_models/checkpoints/WoW-1-Wan-14B-600k/WoW_video_dit.pt",
    ]


def test_the_weights_may_have_the_other_name_of_wows_scripts(tmp_path: Path) -> None:
    wow = fake_checkout(tmp_path)
    wow.trained.rename(wow.trained.with_name("wow-wan-600k-epoch=55-mp_rank_00_model_states.pt"))
    assert wow.checkout.missing("wan-14b") == []


@pytest.mark.parametrize(
    ("model", "extra", "asked"),
    [
        ("dit-2b", ["--dit_path", "x.pt"], "dit_models/wow-dit-2b/x.pt"),
        ("dit-2b", ["--dit_path=x.pt"], "dit_models/wow-dit-2b/x.pt"),
        ("dit-7b", ["--diffusion_transformer_dir", "x"], "dit_models/wow-dit-7b/checkpoints/x/model.pt"),
        ("wan-14b", ["--checkpoint", "x.pt"], "x.pt"),
        ("wan-14b", ["--diffsynth", "x"], "x/diffsynth"),
    ],
)
def test_what_another_option_names_is_needed_in_its_place(
    tmp_path: Path, model: ModelName, extra: list[str], asked: str
) -> None:
    checkout = fake_checkout(tmp_path).checkout
    assert [need.path for need in checkout.missing(model, extra)] == [tmp_path / asked]


def test_a_t5_encoder_may_lie_in_hugging_faces_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = fake_checkout(tmp_path / "WoW").checkout
    encoder = checkout.dit_7b / "checkpoints" / "google-t5" / "t5-11b"
    cached = tmp_path / "hub" / "models--google-t5--t5-11b" / "snapshots" / "90f3"
    cached.parent.mkdir(parents=True)
    encoder.rename(cached)
    assert [need.what for need in checkout.missing("dit-7b")] == ["T5 encoder"]
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert checkout.missing("dit-7b") == []


def test_a_diffsynth_without_a_model_manager_is_refused(tmp_path: Path) -> None:
    wow = fake_checkout(tmp_path)
    (wow.checkout.diffsynth / "diffsynth" / "core").mkdir()
    with pytest.raises(BadInput, match=r"is DiffSynth-Studio 2, which has no ModelManager"):
        require(wow.checkout, "wan-14b", image=wow.image, python=sys.executable)
