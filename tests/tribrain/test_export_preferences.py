"""export-preferences: each format read back."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import orjson
import pytest
from msgspec.structs import replace

from runner.video import is_plain_mp4, read_first_frame, read_video, write_video
from tests.recorded_runs import GOAL, footage, write_run, write_trace
from tests.runner.videos_of_others import write_other
from trainers.datasets.preferences import content_id
from trainers.datasets.samples import read_runs
from trainers.datasets.vote_files import read_label_studio
from trainers.datasets.vote_import import VideoPlaces
from tribrain.cli import main

Tribrain = Callable[..., tuple[int, Any]]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs; the videos of each begin with the same frame."""
    for number, name in enumerate("ab"):
        folder = tmp_path / "runs" / name
        write_run(folder, [0.2, 0.9, None, 0.5], outcomes={0: 0.7, 1: 0.1}, goal=f"{GOAL}, {name}")
        for video in folder.glob("*/video.mp4"):
            frames = read_video(video)[0].copy()
            frames[0] = footage(number, n=1)[0]
            write_video(video, frames, 8.0)
    return tmp_path / "runs"


@pytest.fixture
def tribrain(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> Tribrain:
    def call(*arguments: str) -> tuple[int, Any]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--json"])
        said = capsysbinary.readouterr()
        return int(str(ended.value.code)), orjson.loads(said.out) if said.out else said.err.decode()

    return call


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def export(tribrain: Tribrain, *words: str | Path) -> Any:
    code, said = tribrain("export-preferences", *map(str, words))
    assert code == 0, said
    return said


def test_datasets_loads_what_trl_is_given(runs: Path, tmp_path: Path, tribrain: Tribrain) -> None:
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "trl.jsonl"
    export(tribrain, "--runs", runs, "--format", "trl", "--out", out)
    loaded = datasets.load_dataset("json", data_files=str(out), cache_dir=str(tmp_path / "cache"))["train"]
    assert len(loaded) == 4
    (row,) = [r for r in loaded if r["run_id"] == "a" and r["label_source"] == "outcome"]
    expected = {
        "prompt": f"{GOAL}, a\n",
        "chosen": f"{GOAL}, a",
        "rejected": f"{GOAL}, a\n\nRequirements:\n- task: step 1.",
        "task_id": "a",
    }
    assert {name: row[name] for name in expected} == expected
    assert row["margin"] == pytest.approx(0.6)


def test_a_reward_trainer_of_trl_learns_from_it(runs: Path, tmp_path: Path, tribrain: Tribrain) -> None:
    trl = pytest.importorskip("trl")
    import datasets
    import transformers

    from tests.trainers.lora.tiny import CONFIGS, SPECIAL, WORDS, tokenizer_of

    out = tmp_path / "trl.jsonl"
    export(tribrain, "--runs", runs, "--format", "trl", "--out", out)
    rows = datasets.load_dataset("json", data_files=str(out), cache_dir=str(tmp_path / "cache"))["train"]
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer_of(pairs=False), pad_token="[PAD]", eos_token="[SEP]", unk_token="[UNK]"
    )
    config = transformers.AutoConfig.for_model(
        "qwen2",
        vocab_size=len(SPECIAL) + len(WORDS),
        num_labels=1,
        **(CONFIGS["qwen2"] | {"pad_token_id": 0}),
    )
    trainer = trl.RewardTrainer(
        model=transformers.AutoModelForSequenceClassification.from_config(config),
        args=trl.RewardConfig(
            output_dir=str(tmp_path / "trl"), max_steps=1, use_cpu=True, bf16=False, report_to="none"
        ),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    trainer.train()
    assert trainer.state.global_step == 1
    learnt = trainer.train_dataset
    prompt_and_chosen = tokenizer(rows[0]["prompt"] + rows[0]["chosen"])["input_ids"]
    assert learnt[0]["chosen_ids"][: len(prompt_and_chosen)] == prompt_and_chosen
    assert learnt[0]["margin"] == rows[0]["margin"]


def test_labels_can_be_chosen(runs: Path, tmp_path: Path, tribrain: Tribrain) -> None:
    out = tmp_path / "trl.jsonl"
    said = export(tribrain, "--runs", runs, "--format", "trl", "--out", out, "--label-source", "outcome")
    assert {row["label_source"] for row in lines(out)} == {"outcome"}
    assert said["left_out"] == {"pairs with other labels": 4}


def test_video_dpo_has_both_videos_and_their_common_first_frame(
    runs: Path, tmp_path: Path, tribrain: Tribrain
) -> None:
    out = tmp_path / "dpo"
    export(tribrain, "--runs", runs, "--format", "video-dpo", "--out", out)
    rows = lines(out / "pairs.jsonl")
    assert len(rows) == 4
    for row in rows:
        chosen, rejected = (read_video(out / row[f"{side}_video"])[0] for side in ("chosen", "rejected"))
        assert not np.array_equal(chosen[1], rejected[1])
        first = cv2.cvtColor(cv2.imread(str(out / row["first_frame"])), cv2.COLOR_BGR2RGB)
        assert np.array_equal(first, chosen[0])
        assert np.abs(first.astype(int) - rejected[0]).mean() < 8
    (row,) = [r for r in rows if r["run_id"] == "a" and r["label_source"] == "outcome"]
    assert row["prompt"] == f"{GOAL}, a"
    assert (out / row["chosen_video"]).read_bytes() == (runs / "a" / "iter_00" / "video.mp4").read_bytes()
    assert (out / row["rejected_video"]).read_bytes() == (runs / "a" / "iter_01" / "video.mp4").read_bytes()


@pytest.mark.parametrize("pairs_format", ["trl", "video-dpo"])
def test_where_critics_and_an_outcome_disagree_only_the_outcome_is_exported(
    runs: Path, tmp_path: Path, tribrain: Tribrain, pairs_format: str
) -> None:
    """In both runs critics prefer iteration 1 to 0, and the validator 0 to 1."""
    out = tmp_path / "out"
    said = export(tribrain, "--runs", runs, "--format", pairs_format, "--out", out)
    assert said["left_out"] == {"pairs that other labels of the same two contradict": 2}
    sides = ("chosen", "rejected") if pairs_format == "trl" else ("chosen_video", "rejected_video")
    rows = lines(out if pairs_format == "trl" else out / "pairs.jsonl")
    both = [tuple(row[side] for side in sides) for row in rows]
    assert len(both) == len(set(map(frozenset, both))) == 4
    assert sorted(row["label_source"] for row in rows) == ["critic", "critic", "outcome", "outcome"]


@pytest.mark.parametrize("pairs_format", ["video-dpo", "label-studio"])
@pytest.mark.parametrize("kind", ["gif", "hevc in mp4", "on its side"])
def test_every_mp4_is_one_whatever_the_runs_videos_are(
    tmp_path: Path, tribrain: Tribrain, pairs_format: str, kind: str
) -> None:
    write_run(tmp_path / "runs" / "a", [0.2, 0.9])
    other = tmp_path / "runs" / "a" / "iter_00" / "video.mp4"
    write_other(other, footage(5), kind)
    export(
        tribrain, "--runs", tmp_path / "runs", "--format", pairs_format, "--out", tmp_path / "out",
        "--first-frame", "any",
    )  # fmt: skip
    videos = list((tmp_path / "out" / "videos").iterdir())
    assert [is_plain_mp4(video) for video in videos] == [True, True]
    first = read_first_frame(other).astype(int)
    assert min(np.abs(first - read_first_frame(video)).mean() for video in videos) < 16


def test_videos_that_begin_differently_are_no_pair_of_an_image_to_video_model(
    tmp_path: Path, tribrain: Tribrain
) -> None:
    write_run(tmp_path / "runs" / "a", [0.2, 0.9])
    words = ("export-preferences", "--runs", str(tmp_path / "runs"), "--format", "video-dpo")
    code, said = tribrain(*words, "--out", str(tmp_path / "same"))
    assert code == 2
    assert "no pair is left to write: pairs whose videos begin with different frames (1)" in said
    assert not (tmp_path / "same").exists()
    code, said = tribrain(*words, "--out", str(tmp_path / "any"), "--first-frame", "any")
    assert (code, said["pairs"]) == (0, 1)


def test_label_studio_gets_blind_tasks_and_a_config_for_them(
    runs: Path, tmp_path: Path, tribrain: Tribrain
) -> None:
    out = tmp_path / "label me"
    said = export(tribrain, "--runs", runs, "--format", "label-studio", "--out", out)
    tasks = orjson.loads((out / "tasks.json").read_bytes())
    assert said["pairs"] == len(tasks) == 4  # two labels of one pair are one task
    config = ElementTree.parse(out / "labeling_config.xml").getroot()
    wanted = {value[1:] for tag in config.iter() if (value := tag.get("value", "")).startswith("$")}
    names = {tag.get("name") for tag in config.iter()}
    (choices,) = config.iter("Choices")
    assert choices.get("toName") in names
    for task in tasks:
        assert set(task) == {"data"}
        assert wanted <= set(task["data"])
        assert not {"label_source", "margin", "chosen", "rejected"} & set(task["data"])
        for side in "ab":
            url = task["data"][f"video_{side}"]
            assert url == f"/data/local-files/?d=label%20me/videos/{task['data'][side]}.mp4"
            assert read_first_frame(out / "videos" / f"{task['data'][side]}.mp4").shape == (64, 64, 3)


def test_what_label_studio_gives_back_names_the_videos_that_it_showed(
    runs: Path, tmp_path: Path, tribrain: Tribrain
) -> None:
    out = tmp_path / "out"
    export(tribrain, "--runs", runs, "--format", "label-studio", "--out", out)
    tasks = orjson.loads((out / "tasks.json").read_bytes())
    for task in tasks:
        task["annotations"] = [{"id": 1, "result": [{"value": {"choices": ["A"]}}]}]
    given_back = orjson.dumps(tasks)
    for task in tasks:  # as an older version wrote them
        for name in ("a_run_id", "a_iter_idx", "b_run_id", "b_iter_idx"):
            del task["data"][name]
    found = read_label_studio(given_back, "export.json", lambda *_: [])
    of_older = read_label_studio(orjson.dumps(tasks), "export.json", VideoPlaces(read_runs([runs])))
    for read in (found, of_older):
        assert read.unusable == []
        for statement, task in zip(read.statements, tasks, strict=True):
            for side, (run_id, i) in (("a", statement.vote.left), ("b", statement.vote.right)):
                assert content_id(runs / run_id / f"iter_{i:02d}" / "video.mp4") == task["data"][side]


def test_a_prefix_of_ones_own_stands_before_the_videos(
    runs: Path, tmp_path: Path, tribrain: Tribrain
) -> None:
    out = tmp_path / "tasks"
    words = ("--runs", runs, "--format", "label-studio", "--out", out)
    export(tribrain, *words, "--video-prefix", "https://example.org/v/")
    for task in orjson.loads((out / "tasks.json").read_bytes()):
        assert task["data"]["video_a"].startswith("https://example.org/v/")


@pytest.mark.parametrize("pairs_format", ["trl", "video-dpo", "label-studio"])
def test_a_pairs_file_gives_what_its_run_gives_in_the_same_bytes(
    runs: Path, tmp_path: Path, tribrain: Tribrain, pairs_format: str
) -> None:
    """Videos are found beside the file, or where the run is; the order of what is given does not matter."""
    files: list[str] = []
    for name in ("a", "b"):
        for where in (runs / name, tmp_path / "elsewhere" / name):
            file = where / "pairs.jsonl"
            code, _ = tribrain("export-preference-pairs", "--run-dir", str(runs / name), "--out", str(file))
            assert code == 0
        files += ["--pairs", str(runs / name / "pairs.jsonl")]
    away = [w for n in ("b", "a") for w in ("--pairs", str(tmp_path / "elsewhere" / n / "pairs.jsonl"))]
    for number, words in {
        "1": ["--runs", str(runs)],
        "2": ["--runs", str(runs / "b"), "--runs", str(runs / "a")],
        "3": files,
        "4": [*away, "--runs", str(runs)],
    }.items():
        (tmp_path / number).mkdir()
        export(tribrain, *words, "--format", pairs_format, "--out", tmp_path / number / "out")
    one = content(tmp_path / "1")
    assert one
    assert [content(tmp_path / number) == one for number in "234"] == [True] * 3


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda video: video.unlink(), "pairs whose videos are missing"),
        (lambda video: video.write_bytes(b"half"), "pairs with a video that cannot be decoded"),
    ],
)
def test_pairs_whose_videos_cannot_be_used_are_left_out(
    runs: Path, tmp_path: Path, tribrain: Tribrain, spoil: Callable[[Path], object], reason: str
) -> None:
    spoil(runs / "a" / "iter_03" / "video.mp4")
    said = export(tribrain, "--runs", runs, "--format", "video-dpo", "--out", tmp_path / "out")
    assert said["pairs"] == 3
    assert said["left_out"] == {reason: 1, "pairs that other labels of the same two contradict": 2}


def test_no_video_outside_its_run_is_exported(tmp_path: Path, tribrain: Tribrain) -> None:
    events = write_run(tmp_path / "runs" / "a", [0.2, 0.9])
    write_video(tmp_path / "secret.mp4", footage(1), 8.0)
    write_trace(tmp_path / "runs" / "a", [replace(events[0], artifact_path="../../secret.mp4"), events[1]])
    for words in (("video-dpo", "--first-frame", "any"), ("label-studio",)):
        arguments = ("--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out"), "--format", *words)
        code, said = tribrain("export-preferences", *arguments)
        assert code == 2
        assert "pairs with a video outside its run's folder (1)" in said
    assert sorted(os.listdir(tmp_path)) == ["runs", "secret.mp4"]


@pytest.mark.parametrize("words", [("trl",), ("video-dpo",), ("label-studio",)])
def test_what_is_there_is_replaced_only_when_that_is_said(
    runs: Path, tmp_path: Path, tribrain: Tribrain, words: Sequence[str]
) -> None:
    arguments = ("--runs", str(runs), "--out", str(tmp_path / "out"), "--format", *words)
    export(tribrain, *arguments)
    code, said = tribrain("export-preferences", *arguments)
    assert code == 2
    assert "already exists; choose another --out, or give --replace" in said
    export(tribrain, *arguments, "--replace")
    assert sorted(os.listdir(tmp_path)) == ["out", "runs"]
