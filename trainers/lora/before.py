"""The adapters before a periodic training: one to begin with, and the one in force, which it has to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streams.messages.contracts import AdapterSnapshot
from streams.snapshots.artifacts import ArtifactGone, Files, fetch
from trainers.lora.adapter import Adapter, read_adapter
from trainers.lora.inbox import Offsets
from trainers.lora.plan import as_json
from trainers.lora.round import Recipe
from trainers.plan_file import Stamps

_OF_THE_SHAPE = ("base model's SHA-256", "pooling", "rank", "alpha", "targets", "layers", "length")
_KEPT = ("version", "uri", "files", "consumed", "topic_ids")


@dataclass(frozen=True, slots=True)
class Before:
    """What is gone from the store is done without."""

    start: Adapter | None = None
    """None: begin afresh."""
    learnt: Offsets = field(default_factory=dict)
    """Up to where ``start`` has read the pairs."""
    in_force: Adapter | None = None


def in_force_of(newest: AdapterSnapshot | None) -> dict[str, Any]:
    """What a snapshot says of the adapter in force, which may be itself; empty where there is none."""
    if newest is None:
        return {}
    return {name: getattr(newest, name) for name in _KEPT} if newest.gate == "active" else newest.in_force


def adapters_before(
    newest: AdapterSnapshot | None,
    recipe: Recipe,
    base_sha256: str,
    *,
    cache: Path,
    stamp: Callable[[Stamps, Mapping[str, str]], Offsets],
    say: Callable[[str], None],
) -> Before:
    """Fetched into ``cache``; ``stamp`` turns what a snapshot has consumed into offsets of the topic now.

    A warm training begins with the adapter in force, or with the newest one where none is. Raises
    ArtifactError where the store does not answer or what it holds is damaged.
    """
    if newest is None:
        return Before()
    stated = in_force_of(newest)

    def read(uri: str, files: Files) -> Adapter | None:
        try:
            return read_adapter(fetch(uri, files, cache))
        except ArtifactGone as error:
            say(f"done without an adapter from before: {error}")
            return None

    in_force = read(stated["uri"], stated["files"]) if stated else None
    if recipe.start == "afresh":
        return Before(in_force=in_force)
    if in_force is not None:
        start, learnt = in_force, stamp(stated["consumed"], stated["topic_ids"])
    else:
        newest_one = read(newest.uri, newest.files)
        if newest_one is None:
            return Before()
        start, learnt = newest_one, stamp(newest.consumed, newest.topic_ids)
    if not _can_begin(start, recipe, base_sha256):
        say("the adapter before is of another base model or shape: trained afresh")
        return Before(in_force=in_force)
    return Before(start, learnt, in_force)


def _can_begin(adapter: Adapter, recipe: Recipe, base_sha256: str) -> bool:
    """Whether its weights are those that a training of this recipe would have."""
    wanted = as_json(recipe.settings) | {"base model's SHA-256": base_sha256}
    return all(adapter.reward.plan.get(name) == wanted[name] for name in _OF_THE_SHAPE)
