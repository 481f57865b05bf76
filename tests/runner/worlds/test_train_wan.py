"""WoW's own training of wan-14b, on stand-ins that have its scripts' arguments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.finetune.comparison import NEW, OLD, PairedTask, compare
from runner.look import put_as_mp4
from runner.video import write_video
from runner.worlds.wow.lora_worlds import LoraWorlds
from runner.worlds.wow.settings import WowSettings
from runner.worlds.wow.train_wan import LORA, lay_out, lora_of
from streams.errors import BadInput
from tests.recorded_runs import footage
from tests.runner.fakes import ScriptedCritic
from tests.runner.wow_doubles.checkout import FakeWow, fake_checkout
from trainers.datasets.formats import write_split
from trainers.datasets.rows import Row


@pytest.fixture
def wow(tmp_path: Path) -> FakeWow:
    return fake_checkout(tmp_path / "WoW")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return dataset_of(tmp_path, "pour the tea", "fold the towel")


def dataset_of(folder: Path, *captions: str) -> Path:
    write_video(folder / "v.mp4", footage(1), 8.0)
    rows = [Row(id=f"{i:020x}", caption=c, video=folder / "v.mp4", record={}) for i, c in enumerate(captions)]
    (folder / "dataset").mkdir()
    write_split("wow-wan", folder / "dataset" / "train", rows, put_as_mp4)
    return folder / "dataset"


def train(wow: FakeWow, dataset: Path, out: Path, *more: str, base: str = "") -> tuple[int, str]:
    out.mkdir(exist_ok=True)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "runner.worlds.wow.train_wan", "--dataset", str(dataset)),
            *("--work", str(dataset.parent / "work"), "--base", base, "--out", str(out)),
            *("--wow-repo", str(wow.repo), "--wow-python", sys.executable, *more),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "CONDA_PREFIX"},
    )
    return done.returncode, done.stdout + done.stderr


def moved(lora: Path) -> int:
    return int(json.loads(lora.read_text())["blocks.0.lora_B.default.weight"])


def test_videos_are_encoded_and_a_lora_is_trained_and_then_continued(
    wow: FakeWow, dataset: Path, tmp_path: Path
) -> None:
    code, said = train(wow, dataset, tmp_path / "one", "--gpus", "3,5", "--steps", "20", "--lora-rank", "8")
    assert code == 0, said
    code, said = train(wow, dataset, tmp_path / "two", "--lora-rank", "8", base=str(tmp_path / "one"))
    assert code == 0, said
    assert [moved(tmp_path / name / LORA) for name in ("one", "two")] == [1, 2]
    assert not (tmp_path / "work").exists()
    assert [call["videos"] for call in wow.calls("trained")] == [2, 2]
    first = wow.calls("train_wan_i2v")[0]
    given, weights = first["arguments"], wow.checkout.wan_weights("wan-14b")
    assert first["environment"]["CUDA_VISIBLE_DEVICES"] == "3,5"
    assert (given["num_gpus"], given["steps_per_epoch"], given["lora_rank"]) == (2, 20, 8)
    assert (given["lora_alpha"], given["batch_size"], given["train_architecture"]) == (8.0, 1, "lora")
    assert given["dit_path"].split(",")[-1] == str(weights.checkpoint)
    assert len(given["dit_path"].split(",")) == 8
    encoding = wow.calls("train_wan_i2v_data")[0]["arguments"]
    assert (encoding["num_frames"], encoding["height"], encoding["width"]) == (81, 480, 832)
    assert encoding["image_encoder_path"] == str(
        weights.base / "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
    )


def test_what_was_encoded_before_a_kill_is_kept_but_for_a_file_that_was_cut_short(
    wow: FakeWow, dataset: Path, tmp_path: Path
) -> None:
    wow.checkout.training_scripts.train.rename(tmp_path / "train.py")
    wow.checkout.training_scripts.train.write_text("raise SystemExit(3)")
    code, said = train(wow, dataset, tmp_path / "out")
    assert code == 1
    assert "Error: WoW's train_wan_i2v.py --task train ended with status 3" in said
    cut = tmp_path / "work" / "videos" / f"{0:020x}.mp4.tensors.pth"
    cut.write_bytes(cut.read_bytes()[:-10])
    (tmp_path / "train.py").rename(wow.checkout.training_scripts.train)
    code, said = train(wow, dataset, tmp_path / "out")
    assert code == 0, said
    indices = [call["index"][-1] for call in wow.calls("encoded")]
    assert indices == ["0", "1", "0"]


def test_a_video_that_wow_passes_over_ends_the_training(wow: FakeWow, tmp_path: Path) -> None:
    code, said = train(wow, dataset_of(tmp_path, "pour", "fold [lost]"), tmp_path / "out")
    assert (code, wow.calls("trained")) == (1, [])
    assert "Error: videos that WoW encoded: 1 of 2" in said


def test_a_lora_of_another_rank_is_not_continued(wow: FakeWow, dataset: Path, tmp_path: Path) -> None:
    assert train(wow, dataset, tmp_path / "one", "--lora-rank", "8")[0] == 0
    code, said = train(wow, dataset, tmp_path / "two", base=str(tmp_path / "one"))
    assert code == 1
    assert "has rank 8, and rank 4 is asked for" in said


def test_each_needed_thing_is_missed_before_anything_is_encoded(wow: FakeWow, tmp_path: Path) -> None:
    for need in wow.checkout.needed_to_train():
        aside = need.path.rename(tmp_path / "aside")
        with pytest.raises(BadInput, match=f"cannot be trained: the {need.what} .* is missing$"):
            wow.checkout.require_training(sys.executable)
        aside.rename(need.path)
    wow.checkout.require_training(sys.executable)
    wow.trained.unlink()
    wow.trained.mkdir()
    (wow.trained / "checkpoint").mkdir()
    (wow.trained / "checkpoint" / "mp_rank_00_model_states.pt").touch()
    with pytest.raises(BadInput, match="is a DeepSpeed folder, which WoW's training cannot read"):
        wow.checkout.require_training(sys.executable)


def test_a_dataset_without_videos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").touch()
    with pytest.raises(BadInput, match="has no video"):
        lay_out(tmp_path, tmp_path / "work")


def test_a_checkpoint_without_a_lora_is_refused(tmp_path: Path) -> None:
    assert lora_of("") is None
    with pytest.raises(BadInput, match=r"has no LoRA of WoW's; expected a file, or a folder"):
        lora_of(str(tmp_path))


@pytest.mark.parametrize(("gpus", "of_the_card"), [((), 0.5), (("0", "1"), 1.0)])
def test_the_model_with_and_without_a_lora_are_compared_side_by_side(
    wow: FakeWow, tmp_path: Path, gpus: tuple[str, ...], of_the_card: float
) -> None:
    (tmp_path / "new").mkdir()
    lora = {"blocks.0.lora_A.default.weight": 4, "blocks.0.lora_B.default.weight": 3}
    (tmp_path / "new" / LORA).write_text(json.dumps(lora))
    worlds = LoraWorlds(
        WowSettings(checkout=wow.checkout, image=wow.image, python=sys.executable, gpus=gpus, timeout_s=60.0)
    )
    tasks = [PairedTask("pour", 1, str(wow.image)), PairedTask("fold", 2, str(wow.image))]
    try:
        comparison = compare(
            {OLD: "", NEW: str(tmp_path / "new")},
            tasks,
            lambda checkpoint, task: worlds.world_of(checkpoint, Path(task.image)),
            [ScriptedCritic({"a": 0.5})],
            None,
            tmp_path / "comparison",
        )
    finally:
        worlds.close()
    assert len(comparison.pairs) == 2
    loaded = wow.calls("wan-14b")
    assert [call["weights"]["blocks.0.weight"] for call in loaded] == [7, 10]
    assert [call["environment"].get("CUDA_VISIBLE_DEVICES") for call in loaded] == [*gpus] or [None, None]
    made = [(call["pid"], call["prompt"]) for call in wow.calls("wan video")]
    old, new = (call["pid"] for call in loaded)
    assert made == [(old, "pour"), (new, "pour"), (old, "fold"), (new, "fold")]
    assert {call["parameters"] for call in wow.calls("on the card")} == {int(35e9 * of_the_card)}
