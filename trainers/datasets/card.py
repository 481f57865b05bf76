"""The README of a dataset: its content, its origin, and how to train on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainers.datasets.shards import RECORD
from trainers.datasets.splits import SPLITS

_NO_MODEL = "The reward of a video is the mean of its critics."
_MODEL = """\
The reward of a video is the fraction of the other videos of its task that it would win against under the
reward model {model}, version {version} (SHA-256 {checksum}).
{statement}"""
_HF = """\
configs:
- config_name: default
  data_files:
{files}
"""
_SPLIT = "  - split: {split}\n    path: {split}/**"
_FEATURES = """\
dataset_info:
  features:
  - name: mp4
    dtype: video
  - name: txt
    dtype: string
  - name: json
    struct:
{fields}
  - name: __key__
    dtype: string
  - name: __url__
    dtype: string
"""
_FIELD = "    - name: {name}\n      dtype: {kind}"
_USE = {
    "diffsynth": """\
Each split is a `--dataset_base_path` of DiffSynth-Studio, with `metadata.csv` in it:

```sh
accelerate launch examples/wanvideo/model_training/train.py \\
  --dataset_base_path DATASET/{split} --dataset_metadata_path DATASET/{split}/metadata.csv …
```

The first frame of a video is its conditioning image with `--extra_inputs input_image`.
""",
    "cosmos-predict2": """\
Each split is a `dataset_dir` of Cosmos-Predict2, once its T5 embeddings are made in a checkout of it:

```sh
python -m scripts.get_t5_embeddings --dataset_path DATASET/{split}
```
""",
    "wow-dit-2b": """\
Each split is a `dataset_dir` of WoW's `cosmos_predict2/data/dataset_video.py`, which skips videos without a
T5 embedding. WoW's own encoder makes them, with WoW's Python, in `dit_models/wow-dit-2b` of WoW:

```sh
PYTHONPATH=. python DATASET/embed_prompts.py
```
""",
    "wow-wan": """\
Each split is a working folder for WoW's training of Wan. WoW's scripts keep what they encode in a folder
with a fixed name:

```sh
cd DATASET/{split} && ln -s videos PATH_TO_PROCESSED_VIDEOS_DIR
python WOW/dit_models/wan-simple/train_wan_i2v_data.py --task data_process \\
  --dataset_path . --dataset_name metadata.jsonl --num_nodes 1 …
python WOW/dit_models/wan-simple/train_wan_i2v.py --task train \\
  --dataset_path . --dataset_name metadata.jsonl --num_nodes 1 --batch_size 1 …
```

`tribrain finetune --train wow-wan` does all of this.
""",
    "webdataset": """\
```python
import glob

import webdataset

samples = webdataset.WebDataset(sorted(glob.glob("DATASET/{split}/shard-*.tar")), shardshuffle=False)
```

A sample has `mp4`, `txt` (the caption) and `json`; or, with columns of the same names:

```python
from datasets import Video, load_dataset

rows = load_dataset("DATASET", split="{split}").cast_column("mp4", Video(decode=False))
```

In `json`, objects such as `critics` are JSON texts, and unknown fields of a video are left out. `datasets`
reads the types of all fields from this card, but only if it is given the folder.
""",
    "hf": """\
```python
from datasets import Video, load_dataset

rows = load_dataset("DATASET", split="{split}").cast_column("video", Video(decode=False))
```

Without the cast the videos are decoded, which needs torchcodec.
""",
}


def dataset_card(summary: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Markdown from ``summary``, the content of ``dataset.json``; ``pictures`` maps file names to texts.

    DATASET stands for the folder, wherever it is.
    """
    splits = summary["splits"]
    rows = "\n".join(
        f"| {name} | {of['videos']:,} | {of['tasks']:,} | {of['bytes']:,} |" for name, of in splits.items()
    )
    left_out = "\n".join(f"- {number:,} {reason}" for reason, number in summary["left_out"].items())
    files = "\n".join(_SPLIT.format(split=split) for split in SPLITS if split in splits)
    fields = "\n".join(_FIELD.format(name=name, kind=kind) for name, kind in RECORD.items())
    features = _FEATURES.format(fields=fields) if summary["format"] == "webdataset" else ""
    loads = summary["format"] in ("hf", "webdataset") and splits
    drawn = "\n\n".join(f"![{alt}]({name})" for name, alt in pictures.items())
    caption = (
        "the goal of its run"
        if summary["caption"] == "goal"
        else "the prompt that it was made from, with the requirements that refinement added to the goal"
    )
    return f"""---
task_categories:
- text-to-video
{_HF.format(files=files) + features if loads else ""}---

# {summary["videos"]:,} generated videos with captions

Chosen by `{summary["policy"]}` out of {summary["iterations"]:,} iterations of refinement runs. The caption of
a video is {caption}.

{_reward(summary["snapshot"])}

| split | videos | tasks | bytes |
|---|---|---|---|
{rows}

A task's name alone decides its split. Left out:

{left_out or "- nothing"}

{drawn}

## How to train on it

{_without_train(splits)}{_USE[summary["format"]].format(split=next(iter(splits), "train"))}
`manifest.jsonl` states the origin of each video: run, iteration, seeds and contexts. It also has the
judgements of critics, reward model and validator or person, and the SHA-256. `dataset.json` has the counts.
"""


def _without_train(splits: Mapping[str, Any]) -> str:
    if "train" in splits:
        return ""
    return f"No task fell to `train`; what follows names `{next(iter(splits), 'train')}`.\n\n"


def _reward(snapshot: Mapping[str, Any] | None) -> str:
    if snapshot is None:
        return _NO_MODEL
    return _MODEL.format(**snapshot)
