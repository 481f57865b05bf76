"""build-dataset: each format read back by its reader, from the same runs."""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import pytest
from msgspec.structs import replace

from runner.look import put_as_mp4
from runner.video import is_plain_mp4, read_video, write_video
from streams.messages.codec import encode
from tests.recorded_runs import GOAL, footage, write_run, write_trace
from tests.runner.fakes import snapshot
from tests.runner.videos_of_others import KINDS, write_other
from tests.tribrain.processes import command
from trainers.datasets.formats import FORMATS
from trainers.datasets.shards import RECORD
from trainers.datasets.splits import SplitShares
from tribrain.cli import main

Build = Callable[..., dict[str, Any]]

# By the hash of their names: two tasks for training, one for validation.
TRAIN, ALSO_TRAIN, VALIDATION = "b", "d", "a"
SPLIT = ("--validation", "0.3", "--test", "0.3")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs of three tasks; each has a better and a worse video, and a failed candidate."""
    folder = tmp_path / "runs"
    for name in (TRAIN, ALSO_TRAIN, VALIDATION):
        write_run(folder / f"run-{name}", [0.3, None, 0.8], task_id=name, goal=f"{GOAL}, {name}")
    return folder


@pytest.fixture
def build(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> Build:
    """Runs the command; gives what --json printed."""

    def call(dataset_format: str, *arguments: str, out: str = "set", runs: Sequence[Path] = ()) -> Any:
        given = [word for run in runs or [tmp_path / "runs"] for word in ("--runs", str(run))]
        with pytest.raises(SystemExit) as ended:
            main(
                [
                    "build-dataset",
                    *given,
                    "--format",
                    dataset_format,
                    "--out",
                    str(tmp_path / out),
                    "--json",
                    *arguments,
                ]
            )
        said = capsysbinary.readouterr()
        assert ended.value.code == 0, said.err
        return orjson.loads(said.out)

    return call


def manifest(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (folder / "manifest.jsonl").read_bytes().splitlines()]


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def said_by(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tribrain.cli", *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_pandas_reads_the_metadata_of_diffsynth(runs: Path, build: Build, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    build("diffsynth", "--caption", "prompt", *SPLIT)
    base = tmp_path / "set" / "train"
    table = pandas.read_csv(base / "metadata.csv")
    assert list(table.columns) == ["video", "prompt"]
    assert sorted(table["prompt"]) == sorted(
        prompt
        for name in (TRAIN, ALSO_TRAIN)
        for prompt in (f"{GOAL}, {name}", f"{GOAL}, {name}\n\nRequirements:\n- task: step 2.")
    )
    for video in table["video"]:
        frames, fps = read_video(base / video)
        assert (len(frames), fps) == (8, 8.0)


@pytest.mark.parametrize("dataset_format", ["cosmos-predict2", "wow-dit-2b"])
def test_cosmos_finds_a_text_for_every_video_by_its_base_name(
    runs: Path, build: Build, tmp_path: Path, dataset_format: str
) -> None:
    build(dataset_format, *SPLIT)
    for split, n in (("train", 4), ("validation", 2)):
        base = tmp_path / "set" / split
        videos = sorted(path.name for path in (base / "videos").iterdir())
        texts = sorted(path.name for path in (base / "metas").iterdir())
        assert len(videos) == n
        assert texts == [name.replace(".mp4", ".txt") for name in videos]
        assert all(read_video(base / "videos" / name)[1] == 8.0 for name in videos)
    texts = [path.read_text() for path in (tmp_path / "set" / "validation" / "metas").iterdir()]
    assert texts == [f"{GOAL}, {VALIDATION}"] * 2


WOW_ENCODER = """
import torch

class CosmosT5TextEncoder:
    def __init__(self, model_name="google-t5/t5-11b", device="cuda", cache_dir=None, local_files_only=False):
        assert (device, cache_dir) == ("cpu", "weights")

    def encode_prompts(self, prompts, max_length=512, return_mask=False):
        assert isinstance(prompts, str) and return_mask
        n = len(prompts.split())
        encoded = torch.zeros(1, max_length, 1024)
        encoded[0, :n] = 1.0
        mask = torch.zeros(1, max_length, dtype=torch.bool)
        mask[0, :n] = True
        return encoded, mask
"""


def test_wows_encoder_makes_the_embeddings_that_its_loader_reads(
    runs: Path, build: Build, tmp_path: Path
) -> None:
    """The loader takes videos with t5_xxl/NAME.pickle, and of that the first array, (tokens, 1024)."""
    pytest.importorskip("torch")
    build("wow-dit-2b", *SPLIT)
    folder = tmp_path / "set"
    assert [path.name for path in folder.rglob("*.pickle")] == []
    package = tmp_path / "wow" / "cosmos_predict2" / "auxiliary"
    package.mkdir(parents=True)
    (package / "text_encoder.py").write_text(WOW_ENCODER)
    call = [sys.executable, str(folder / "embed_prompts.py"), "--t5", "weights", "--device", "cpu"]
    for words in ("6 of 6: ", "every caption has its embedding"):
        done = subprocess.run(
            call, env={"PYTHONPATH": str(tmp_path / "wow")}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert words in done.stdout
    for video in folder.glob("*/videos/*.mp4"):
        pickled = video.parent.parent / "t5_xxl" / video.name.replace(".mp4", ".pickle")
        load = f"import pickle; [a] = pickle.load(open({str(pickled)!r}, 'rb'))"
        call = [sys.executable, "-c", f"{load}; print(a.shape, a.dtype, a.min())"]
        done = subprocess.run(call, capture_output=True, text=True, check=True)
        assert done.stdout == "(7, 1024) float16 1.0\n"


def test_wows_training_of_wan_finds_every_video_and_passes_over_none(
    runs: Path, build: Build, tmp_path: Path
) -> None:
    """Its reader passes over an index that counts as false, and opens the paths from its working folder."""
    build("wow-wan", "--caption", "prompt", *SPLIT)
    split = tmp_path / "set" / "train"
    lines = [orjson.loads(line) for line in (split / "metadata.jsonl").read_bytes().splitlines()]
    of_train = [row for row in manifest(tmp_path / "set") if row["split"] == "train"]
    assert [(line["index"], line["prompt"]) for line in lines] == [
        (row["id"], row["caption"]) for row in of_train
    ]
    assert any("\n" in line["prompt"] for line in lines)
    for line in lines:
        assert set(line) == {"index", "video_path", "prompt"}
        assert line["index"]
        assert line["video_path"] == f"videos/{line['index']}.mp4"
        assert read_video(split / line["video_path"])[1] == 8.0


def test_videos_that_wan_would_fill_up_are_counted(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    code, said = said_by("build-dataset", "--runs", str(runs), "--format", "wow-wan", "--out", str(out))
    assert code == 0
    assert "6 videos with fewer than 81 frames: WoW's training repeats the last frame" in said


def test_webdataset_reads_the_shards(runs: Path, build: Build, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    build("webdataset", *SPLIT)
    shards = [str(path) for path in (tmp_path / "set" / "train").iterdir()]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    of_train = [row for row in manifest(tmp_path / "set") if row["split"] == "train"]
    assert [s["__key__"] for s in samples] == [row["id"] for row in of_train]
    for sample, row in zip(samples, of_train, strict=True):
        assert sample["txt"].decode() == row["caption"]
        assert hashlib.sha256(sample["mp4"]).hexdigest() == row["sha256"]
        assert orjson.loads(sample["json"])["run_id"] == row["run_id"]
        assert row["video"] == f"train/shard-000000.tar/{row['id']}.mp4"


def test_a_shard_ends_when_it_is_large_enough(tmp_path: Path) -> None:
    from trainers.datasets.rows import Row
    from trainers.datasets.shards import write_shards

    write_video(tmp_path / "v.mp4", footage(1), 8.0)
    rows = [Row(id=f"{i:020d}", caption="c", video=tmp_path / "v.mp4", record={}) for i in range(5)]
    size = (tmp_path / "v.mp4").stat().st_size
    (tmp_path / "shards").mkdir()
    places = write_shards(tmp_path / "shards", rows, put_as_mp4, size + 4000, lambda: None)
    assert [places[row.id].path.split("/")[0] for row in rows] == [
        f"shard-{number:06d}.tar" for number in (0, 0, 1, 1, 2)
    ]
    with tarfile.open(tmp_path / "shards" / "shard-000000.tar") as shard:
        headers = shard.getmembers()
    assert {(h.mtime, h.uid, h.gid, h.uname, h.gname, h.mode) for h in headers} == {(0, 0, 0, "", "", 0o644)}


@pytest.mark.parametrize("dataset_format", ["hf", "webdataset"])
def test_datasets_loads_the_folder_with_its_splits(
    runs: Path, build: Build, tmp_path: Path, dataset_format: str
) -> None:
    datasets = pytest.importorskip("datasets")
    build(dataset_format, *SPLIT)
    loaded = datasets.load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(loaded[split]) for split in loaded} == {"train": 4, "validation": 2}
    column, text = ("video", "prompt") if dataset_format == "hf" else ("mp4", "txt")
    rows = loaded["train"].cast_column(column, datasets.Video(decode=False))
    expected = [row for row in manifest(tmp_path / "set") if row["split"] == "train"]
    assert [row[text] for row in rows] == [row["caption"] for row in expected]
    if dataset_format == "hf":
        assert [row["reward"] for row in rows] == [row["reward"] for row in expected]
        assert [orjson.loads(row["critics"]) for row in rows] == [row["critics"] for row in expected]
        digests = [hashlib.sha256(Path(row["video"]["path"]).read_bytes()).hexdigest() for row in rows]
        assert digests == [row["sha256"] for row in expected]


@pytest.mark.parametrize("dataset_format", ["hf", "webdataset"])
def test_datasets_loads_what_the_first_samples_do_not_know(
    build: Build, tmp_path: Path, dataset_format: str
) -> None:
    """Outcome, seed and other critics are the last sample's alone, and the first ones decide the types."""
    datasets = pytest.importorskip("datasets")
    write_run(tmp_path / "runs" / "r", [0.1 * n for n in range(1, 9)])
    ids = {row["iteration"]: row["id"] for row in _built(build, tmp_path, "plain")}
    last = max(ids, key=lambda iteration: ids[iteration])
    scores = [{"a.b": 0.1 * n} if n != last else {"c.d": None, "e.f": 0.5} for n in range(1, 9)]
    shutil.rmtree(tmp_path / "runs")
    events = write_run(
        tmp_path / "runs" / "r", [0.1 * n for n in range(1, 9)], critics=scores, outcomes={last: 0.0}
    )
    write_trace(
        tmp_path / "runs" / "r",
        [replace(e, meta=e.meta | ({} if e.iter_idx == last else {"seed": None})) for e in events],
    )
    expected = _built(build, tmp_path, dataset_format)
    assert [row["outcome"] for row in expected] == [None] * 7 + [0.0]
    for number, given in enumerate((str(tmp_path / dataset_format), "webdataset")):
        if number and dataset_format == "hf":
            continue
        files = {"data_files": str(tmp_path / dataset_format / "train" / "*.tar")} if number else {}
        cache = str(tmp_path / f"cache {number}")
        rows = datasets.load_dataset(given, split="train", cache_dir=cache, **files)
        column = "mp4" if dataset_format == "webdataset" else "video"
        rows = list(rows.cast_column(column, datasets.Video(decode=False)))
        found = [row["json"] if dataset_format == "webdataset" else row for row in rows]
        assert [row["run_id"] for row in found] == ["r"] * 8
        assert [orjson.loads(row["critics"]) for row in found] == [row["critics"] for row in expected]
        if not number:
            assert [row["outcome"] for row in found] == [None] * 7 + [0.0]


def _built(build: Build, tmp_path: Path, name: str) -> list[dict[str, Any]]:
    build("diffsynth" if name == "plain" else name, "--validation", "0", out=name)
    return manifest(tmp_path / name)


def test_a_samples_json_has_the_fields_that_the_card_declares(
    runs: Path, build: Build, tmp_path: Path
) -> None:
    build("diffsynth")
    (one, *_) = manifest(tmp_path / "set")
    assert set(RECORD) == set(one) - {"caption", "video", "bytes", "sha256", "converted"}


@pytest.mark.parametrize("dataset_format", FORMATS)
def test_a_dataset_without_a_task_to_train_on_says_so_and_names_the_split_that_is_there(
    tmp_path: Path, dataset_format: str
) -> None:
    write_run(tmp_path / "runs" / "r", [0.5, 0.6], task_id=VALIDATION)
    out = tmp_path / "set"
    words = ("--runs", str(tmp_path / "runs"), "--format", dataset_format, "--out", str(out), *SPLIT)
    code, said = said_by("build-dataset", *words)
    assert code == 0
    assert "No task fell to train: give more tasks, or --validation 0 --test 0 to train on all" in said
    card = (out / "README.md").read_text()
    assert "No task fell to `train`; what follows names `validation`." in card
    assert not re.search(r"DATASET/train|split: train|split=.train", card)
    assert "DATASET/validation" in card or 'split="validation"' in card or dataset_format == "wow-dit-2b"
    if dataset_format in ("hf", "webdataset"):
        datasets = pytest.importorskip("datasets")
        loaded = datasets.load_dataset(str(out), split="validation", cache_dir=str(tmp_path / "cache"))
        assert len(loaded) == 2


@pytest.mark.parametrize("dataset_format", FORMATS)
def test_every_mp4_is_one_whatever_the_runs_videos_are(
    tmp_path: Path, build: Build, dataset_format: str
) -> None:
    """Also of a run whose files are called so; and what is one already keeps its bytes."""
    folder = tmp_path / "runs" / "r"
    write_run(folder, [0.5] * (len(KINDS) + 1))
    for number, kind in enumerate(KINDS):
        write_other(folder / f"iter_{number:02d}" / "video.mp4", footage(number), kind)
    summary = build(dataset_format, "--validation", "0", "--link", "--duplicate-bits", "0")
    assert summary["splits"]["train"]["converted"] == len(KINDS)
    if dataset_format == "webdataset":
        with tarfile.open(tmp_path / "set" / "train" / "shard-000000.tar") as shard:
            shard.extractall(tmp_path / "set" / "train" / "shard-000000", filter="data")
    rows = manifest(tmp_path / "set")
    assert len(rows) == len(KINDS) + 1
    for row in rows:
        video = tmp_path / "set" / row["video"].replace(".tar", "")
        original = folder / f"iter_{row['iteration']:02d}" / "video.mp4"
        assert is_plain_mp4(video)
        assert read_video(video)[0].shape == read_video(original)[0].shape
        assert hashlib.sha256(video.read_bytes()).hexdigest() == row["sha256"]
        assert row["bytes"] == video.stat().st_size
        assert row["converted"] == (row["iteration"] < len(KINDS))
        assert row["converted"] or video.read_bytes() == original.read_bytes()


def test_the_manifest_says_where_each_video_came_from(runs: Path, build: Build, tmp_path: Path) -> None:
    model = tmp_path / "bt.json"
    model.write_bytes(encode(snapshot({"overall.quality": 2.0}, version=41)))
    summary = build("diffsynth", "--reward", str(model), *SPLIT)
    rows = manifest(tmp_path / "set")
    assert [(row["split"], row["id"]) for row in rows] == sorted((row["split"], row["id"]) for row in rows)
    (row,) = [row for row in rows if row["run_id"] == f"run-{TRAIN}" and row["iteration"] == 2]
    video = runs / f"run-{TRAIN}" / "iter_02" / "video.mp4"
    expected = {
        "split": "train",
        "task": TRAIN,
        "task_id": TRAIN,
        "seed": 5,
        "generation_seed": 102,
        "snapshot_version": 41,
        "critics": {"overall.quality": 0.8},
        "critics_mean": 0.8,
        "outcome": None,
        "caption": f"{GOAL}, {TRAIN}",
        "prompt": f"{GOAL}, {TRAIN}\n\nRequirements:\n- task: step 2.",
        "sha256": hashlib.sha256(video.read_bytes()).hexdigest(),
        "bytes": video.stat().st_size,
        "frames": 8,
        "fps": 8.0,
    }
    assert {name: row[name] for name in expected} == expected
    assert row["reward"] == pytest.approx(1 / (1 + np.exp(-0.5 * 2.0 / 0.25)))
    assert row["probability"] == row["reward"]
    assert (tmp_path / "set" / row["video"]).read_bytes() == video.read_bytes()
    assert summary["snapshot"]["version"] == 41
    assert summary["iterations"] == 9
    assert summary["left_out"] == {"failed candidates": 3}
    assert (
        summary["manifest_sha256"]
        == hashlib.sha256((tmp_path / "set" / "manifest.jsonl").read_bytes()).hexdigest()
    )


@pytest.mark.parametrize("dataset_format", FORMATS)
def test_the_same_runs_give_the_same_bytes_in_whatever_order(
    runs: Path, build: Build, tmp_path: Path, dataset_format: str
) -> None:
    folders = sorted(runs.iterdir())
    build(dataset_format, *SPLIT, out="one", runs=folders)
    build(dataset_format, *SPLIT, out="two", runs=folders[::-1])
    build(dataset_format, *SPLIT, "--link", out="three")
    one = content(tmp_path / "one")
    assert len(one) > 4
    assert content(tmp_path / "two") == one
    assert content(tmp_path / "three") == one


def test_the_best_are_chosen_by_the_model_and_not_by_the_critics_mean(tmp_path: Path, build: Build) -> None:
    critics = [{"goal.task": 0.9, "eye.quality": 0.1}, {"goal.task": 0.3, "eye.quality": 0.9}]
    for name in ("a", "b"):
        write_run(tmp_path / "runs" / name, [0.5, 0.6], critics=critics)
    model = tmp_path / "bt.json"
    model.write_bytes(encode(snapshot({"goal.task": 2.0, "eye.quality": 0.0})))
    build("diffsynth", "--per-task", "1", "--validation", "0", out="critics")
    build("diffsynth", "--per-task", "1", "--validation", "0", "--reward", str(model), out="model")
    assert [row["iteration"] for row in manifest(tmp_path / "critics")] == [1]
    assert [row["iteration"] for row in manifest(tmp_path / "model")] == [0]


@pytest.mark.parametrize(
    ("arguments", "policy"),
    [
        ((), "all"),
        (("--top-fraction", "0.5"), "top:0.5"),
        (("--min-reward", "0.5"), "min:0.5"),
        (("--per-task", "1"), "per-task:1"),
        (("--policy", "random:0.5@3"), "random:0.5@3"),
    ],
)
def test_each_option_is_a_policy(runs: Path, build: Build, arguments: Sequence[str], policy: str) -> None:
    summary = build("diffsynth", *arguments)
    assert summary["policy"] == policy
    assert summary["videos"] == (6 if policy == "all" else 3)
    assert summary["left_out"].get("not chosen", 0) == 6 - summary["videos"]


def test_tasks_stay_in_their_parts_when_more_runs_come(runs: Path, build: Build, tmp_path: Path) -> None:
    build("hf", *SPLIT, out="before")
    for name in "cefgh":
        write_run(runs / f"run-{name}", [0.5, 0.6], task_id=name, goal=f"{GOAL}, {name}")
    build("hf", *SPLIT, out="after")
    before = {row["id"]: row["split"] for row in manifest(tmp_path / "before")}
    after = {row["id"]: row["split"] for row in manifest(tmp_path / "after")}
    assert before.items() < after.items()
    parts = {row["task"]: row["split"] for row in manifest(tmp_path / "after")}
    assert len(set(parts.values())) == 3
    assert parts == {task: SplitShares(validation=0.3, test=0.3).split_of(task) for task in parts}


def test_copies_are_left_out_also_across_splits(tmp_path: Path, build: Build) -> None:
    """The same video of the same goal under two task ids, one for training and one for validation."""
    write_run(tmp_path / "runs" / "a", [0.4, 0.5], task_id=TRAIN, pictures={0: 1, 1: 2})
    write_run(tmp_path / "runs" / "b", [0.9, 0.6], task_id=VALIDATION, pictures={0: 1, 1: 3})
    summary = build("diffsynth", *SPLIT)
    assert summary["left_out"] == {"near-duplicates": 1}
    assert [(r["run_id"], r["iteration"]) for r in manifest(tmp_path / "set") if r["split"] == "train"] == [
        ("a", 1)
    ]


def test_a_smaller_copy_is_a_near_duplicate(tmp_path: Path, build: Build) -> None:
    write_run(tmp_path / "runs" / "a", [0.4, 0.5])
    frames = footage(7, size=64)
    large = np.stack([cv2.resize(f, (128, 128), interpolation=cv2.INTER_NEAREST) for f in frames])
    for i, version in enumerate((frames, large)):
        write_video(tmp_path / "runs" / "a" / f"iter_{i:02d}" / "video.mp4", version, 8.0)
    summary = build("diffsynth")
    assert summary["left_out"] == {"near-duplicates": 1}


def test_a_video_that_a_judge_found_bad_can_be_left_out(tmp_path: Path, build: Build) -> None:
    write_run(tmp_path / "runs" / "a", [0.9, 0.8, 0.7], outcomes={0: 0.1, 1: 0.6})
    summary = build("diffsynth", "--min-outcome", "0.5", "--validation", "0")
    assert sorted(row["outcome"] or -1 for row in manifest(tmp_path / "set")) == [-1, 0.6]
    assert summary["left_out"] == {"videos judged below the least outcome": 1}


def test_a_video_that_cannot_be_decoded_is_left_out(runs: Path, build: Build) -> None:
    (runs / f"run-{TRAIN}" / "iter_00" / "video.mp4").write_bytes(b"half a video")
    summary = build("hf")
    assert summary["videos"] == 5
    assert summary["left_out"]["videos that cannot be decoded"] == 1


@pytest.mark.parametrize(
    "goal", ["=1+1", 'say "hi", then\r\nstop\x00', "; rm -rf /", "../../x", "𝔘 ünï\tcode", "-"]
)
def test_a_hostile_goal_comes_back_as_text(tmp_path: Path, build: Build, goal: str) -> None:
    pandas = pytest.importorskip("pandas")
    write_run(tmp_path / "runs" / "a", [0.5], goal=goal, run_id="../../../a")
    build("diffsynth", "--validation", "0")
    expected = goal.replace("\r\n", "\n").replace("\x00", "")
    (row,) = manifest(tmp_path / "set")
    assert row["caption"] == expected
    assert list(pandas.read_csv(tmp_path / "set" / "train" / "metadata.csv")["prompt"]) == [expected]
    build("cosmos-predict2", "--validation", "0", out="cosmos")
    assert [p.read_text() for p in (tmp_path / "cosmos" / "train" / "metas").iterdir()] == [expected]


@pytest.mark.parametrize("goal", ["NA", "null", "3.5", "1e3", "True", "nan", "inf", "#N/A"])
def test_what_a_reader_of_csv_takes_for_no_text_is_left_out(tmp_path: Path, build: Build, goal: str) -> None:
    pandas = pytest.importorskip("pandas")
    write_run(tmp_path / "runs" / "a", [0.5, 0.6], goal=goal)
    write_run(tmp_path / "runs" / "b", [0.5, 0.6])
    summary = build("diffsynth", "--validation", "0")
    assert list(pandas.read_csv(tmp_path / "set" / "train" / "metadata.csv")["prompt"]) == [GOAL] * 2
    assert summary["left_out"] == {"captions that a reader of CSV takes for a number or for nothing": 2}
    assert build("cosmos-predict2", out="cosmos")["videos"] == 4


def test_a_run_without_a_goal_has_only_its_prompts_for_captions(tmp_path: Path, build: Build) -> None:
    events = write_run(tmp_path / "runs" / "a", [0.5, 0.6])
    write_trace(
        tmp_path / "runs" / "a", [replace(e, meta=e.meta | {"goal_instruction": " "}) for e in events]
    )
    code, said = said_by(
        "build-dataset", "--runs", str(tmp_path / "runs"), "--format", "hf", "--out", str(tmp_path / "set")
    )
    assert code == 2
    assert "no video is left for a dataset: videos without a caption (2); give more runs" in said
    assert build("hf", "--caption", "prompt")["videos"] == 2


def test_links_are_names_of_the_runs_videos_and_nothing_is_moved(
    runs: Path, build: Build, tmp_path: Path
) -> None:
    before = content(runs)
    build("hf", "--link")
    linked = list((tmp_path / "set").rglob("*.mp4"))
    assert len(linked) == 6
    assert all(video.stat().st_nlink == 2 for video in linked)
    assert content(runs) == before


def test_a_dataset_is_replaced_by_another_format(runs: Path, build: Build, tmp_path: Path) -> None:
    build("hf")
    build("diffsynth", "--replace")
    assert not list((tmp_path / "set").rglob("*.parquet"))
    assert list((tmp_path / "set").rglob("metadata.csv"))


def test_the_card_has_the_counts_the_model_and_the_pictures(runs: Path, build: Build, tmp_path: Path) -> None:
    model = tmp_path / "bt.json"
    model.write_bytes(encode(snapshot({"overall.quality": 2.0}, version=41)))
    build("wow-dit-2b", "--reward", str(model), "--top-fraction", "0.5", *SPLIT)
    card = (tmp_path / "set" / "README.md").read_text()
    assert "# 3 generated videos" in card
    assert "`top:0.5` out of 9 iterations" in card
    assert "version 41" in card
    assert "- 3 failed candidates\n- 3 not chosen" in card
    assert "python DATASET/embed_prompts.py" in card
    for name in ("rewards.png", "tasks.png"):
        assert f"({name})" in card
        assert (tmp_path / "set" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("dataset_format", "call"),
    [
        ("wow-dit-2b", "PYTHONPATH=. python '{out}/embed_prompts.py'"),
        ("cosmos-predict2", "python -m scripts.get_t5_embeddings --dataset_path '{out}/train'"),
    ],
)
def test_the_call_that_makes_the_embeddings_is_printed(
    runs: Path, tmp_path: Path, dataset_format: str, call: str
) -> None:
    out = tmp_path / "a set"
    code, said = said_by(
        "build-dataset", "--runs", str(runs), "--format", dataset_format, "--out", str(out), *SPLIT
    )
    assert code == 0
    assert (
        f"6 videos of 9 iterations written to {out}: 4 videos of 2 tasks in train, "
        "2 videos of 1 task in validation" in said
    )
    assert f"  {call.format(out=out)}\n" in said


def test_a_build_that_is_killed_leaves_no_dataset(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "sets" / "set"
    words = ["build-dataset", "--runs", str(runs), "--format", "hf", "--out", str(out)]
    with command(words, tmp_path / "log", TRIBRAIN_FAIL_POINT="dataset.row-written:3") as killed:
        assert killed.wait(60) == -signal.SIGKILL
    assert [path.name for path in out.parent.iterdir()] == [".set.building"]
    code, said = said_by(*words)
    assert code == 0, said
    assert [path.name for path in out.parent.iterdir()] == ["set"]
    assert len(manifest(out)) == 6


def test_a_replacement_that_is_killed_leaves_the_old_one(runs: Path, build: Build, tmp_path: Path) -> None:
    build("diffsynth", out="sets/set")
    out = tmp_path / "sets" / "set"
    old = content(out)
    words = ["build-dataset", "--runs", str(runs), "--format", "hf", "--out", str(out), "--replace"]
    for place in ("dataset.row-written:3", "dataset.old-one-moved"):
        with command(words, tmp_path / "log", TRIBRAIN_FAIL_POINT=place) as killed:
            assert killed.wait(60) == -signal.SIGKILL
        code, said = said_by(*words[:-1])
        assert (code, "already exists" in said) == (2, True)
        assert content(out) == old
    assert said_by(*words)[0] == 0
    assert [path.name for path in out.parent.iterdir()] == ["set"]
    assert list(out.rglob("*.parquet"))
