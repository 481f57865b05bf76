"""Writes a dataset's folder: its splits in a training format, a manifest, a summary and a card."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from streams.files import read_bytes
from streams.messages.contracts import RewardSnapshot
from trainers.datasets import embed_prompts
from trainers.datasets.captions import caption_of
from trainers.datasets.card import dataset_card
from trainers.datasets.choice import Choice, ChoiceRules, DecodedVideo
from trainers.datasets.formats import write_split
from trainers.datasets.new_folder import SUMMARY, new_folder
from trainers.datasets.prompts import prompt_digest
from trainers.datasets.rewards import RatedSample
from trainers.datasets.rows import PutVideo, Row, Stored
from trainers.datasets.splits import SPLITS, Split, SplitShares

SCHEMA = "tribrain.dataset/1"
MANIFEST = "manifest.jsonl"
EMBED_PROMPTS = "embed_prompts.py"

Pictures = Mapping[str, tuple[bytes, str]]
"""File name to PNG bytes and a description of the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WritingRules:
    """How the chosen videos are written; nothing here changes the choice."""

    shares: SplitShares = field(default_factory=SplitShares)
    link: bool = False
    """Hard links rather than copies of the videos."""
    shard_bytes: int = 1_000_000_000
    replace: bool = False


def build_dataset(
    out: Path,
    choice: Choice,
    rules: ChoiceRules,
    writing: WritingRules,
    snapshot: RewardSnapshot | None,
    pictures: Pictures,
    put: PutVideo,
    on_row: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Write ``out``, completely or not at all. Returns its summary, the content of ``dataset.json``.

    ``put`` is as in ``write_split``. The same choice gives the same bytes. Raises BadInput like
    ``new_folder``.
    """
    with new_folder(out, SCHEMA, replace=writing.replace) as folder:
        manifest: list[dict[str, Any]] = []
        splits: dict[str, dict[str, int]] = {}
        for split in SPLITS:
            of_split = [s for s in choice.chosen if writing.shares.split_of(s.task) == split]
            if not of_split:
                continue
            rows = [_row(sample, split, rules, choice.looks[sample.id], snapshot) for sample in of_split]
            places = write_split(
                rules.dataset_format,
                folder / split,
                rows,
                put,
                link=writing.link,
                shard_bytes=writing.shard_bytes,
                on_row=on_row,
            )
            manifest += [_manifest_line(row, split, places[row.id]) for row in rows]
            splits[split] = {
                "videos": len(rows),
                "tasks": len({sample.task for sample in of_split}),
                "bytes": sum(stored.n_bytes for stored in places.values()),
                "converted": sum(stored.converted for stored in places.values()),
            }
        lines = b"".join(orjson.dumps(line) + b"\n" for line in manifest)
        summary = {
            "schema": SCHEMA,
            "format": rules.dataset_format,
            "caption": rules.caption,
            "policy": str(rules.policy),
            "min_outcome": rules.min_outcome,
            "nearest_bits": rules.nearest,
            "shares": {"validation": writing.shares.validation, "test": writing.shares.test},
            "snapshot": _of_snapshot(snapshot),
            "iterations": len(choice.chosen) + choice.left_out.total(),
            "videos": len(choice.chosen),
            "splits": splits,
            "left_out": dict(sorted(choice.left_out.items())),
            "manifest_sha256": hashlib.sha256(lines).hexdigest(),
        }
        (folder / MANIFEST).write_bytes(lines)
        (folder / SUMMARY).write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
        for name, (png, _) in pictures.items():
            (folder / name).write_bytes(png)
        alts = {name: alt for name, (_, alt) in pictures.items()}
        (folder / "README.md").write_bytes(dataset_card(summary, alts).encode())
        if rules.dataset_format == "wow-dit-2b":
            shutil.copyfile(embed_prompts.__file__, folder / EMBED_PROMPTS)
    return summary


def prompts_shown(dataset: Path) -> frozenset[str]:
    """Digests of the goals and captions in all splits of a dataset's folder. Raises BadInput."""
    lines = [orjson.loads(line) for line in read_bytes(dataset / MANIFEST).splitlines()]
    return frozenset(prompt_digest(line[of]) for line in lines for of in ("goal", "caption") if line[of])


def _row(
    rated: RatedSample, split: Split, rules: ChoiceRules, look: DecodedVideo, snapshot: RewardSnapshot | None
) -> Row:
    event, meta = rated.sample.event, rated.sample.event.meta
    record = {
        "id": rated.id,
        "split": split,
        "task": rated.task,
        "task_id": event.task_id,
        "run_id": event.run_id,
        "iteration": event.iter_idx,
        "seed": meta.get("seed"),
        "generation_seed": meta.get("generation_seed"),
        "context": event.context,
        "candidate_context": event.candidate_context,
        "goal": event.goal_instruction,
        "prompt": event.prompt,
        "reward": rated.reward,
        "probability": rated.rating.probability,
        "confidence": rated.rating.confidence,
        "snapshot_version": snapshot.version if snapshot is not None else None,
        "run_snapshot_version": meta.get("reward_version"),
        "critics_mean": rated.sample.critic_reward,
        "critics": dict(sorted(event.critic_scores().items())),
        "outcome": event.outcome_score,
        "frames": look.frames,
        "fps": look.fps,
    }
    return Row(
        id=rated.id,
        caption=caption_of(event, rules.caption),
        video=rated.sample.video,
        record=record,
    )


def _manifest_line(row: Row, split: Split, stored: Stored) -> dict[str, Any]:
    return {
        **row.record,
        "caption": row.caption,
        "video": f"{split}/{stored.path}",
        "bytes": stored.n_bytes,
        "sha256": stored.sha256,
        "converted": stored.converted,
    }


def _of_snapshot(snapshot: RewardSnapshot | None) -> dict[str, Any] | None:
    if snapshot is None:
        return None
    return {
        "model": snapshot.model,
        "version": snapshot.version,
        "gate": snapshot.gate,
        "labels": snapshot.labels,
        "statement": snapshot.statement,
        "checksum": snapshot.checksum,
    }
