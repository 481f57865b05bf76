"""Earlier adapters in a periodic training: one to start from, and the one in force, which it has to beat."""

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
from trainers.lora.round import TrainingRecipe
from trainers.plan_file import Stamps

_OF_THE_SHAPE = ("base model's SHA-256", "pooling", "rank", "alpha", "targets", "layers", "length")
_KEPT = ("version", "uri", "files", "consumed", "topic_ids")


@dataclass(frozen=True, slots=True)
class Before:
    """The earlier adapters of a training; one that is no longer in the store is left out."""

    start: Adapter | None = None
    """The adapter to start from; None to start afresh."""
    learnt: Offsets = field(default_factory=dict)
    """How far ``start`` has read the pairs."""
    in_force: Adapter | None = None


def in_force_of(newest: AdapterSnapshot | None) -> dict[str, Any]:
    """A snapshot's entry for the adapter in force, possibly itself; empty if there is none."""
    if newest is None:
        return {}
    return {name: getattr(newest, name) for name in _KEPT} if newest.gate == "active" else newest.in_force


def adapters_before(
    newest: AdapterSnapshot | None,
    recipe: TrainingRecipe,
    base_sha256: str,
    *,
    cache: Path,
    stamp: Callable[[Stamps, Mapping[str, str]], Offsets],
    say: Callable[[str], None],
) -> Before:
    """Fetches adapters into ``cache``; ``stamp`` turns a snapshot's consumed stamps into the topic's offsets.

    A warm training starts from the adapter in force or, if there is none, from the newest one. Raises
    ArtifactError if the store does not answer or has a damaged file.
    """
    if newest is None:
        return Before()
    stated = in_force_of(newest)

    def read(uri: str, files: Files) -> Adapter | None:
        try:
            return read_adapter(fetch(uri, files, cache))
        except ArtifactGone as error:
            say(f"continuing without an earlier adapter: {error}")
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
        say("the earlier adapter has another base model or shape: trained afresh")
        return Before(in_force=in_force)
    return Before(start, learnt, in_force)


def _can_begin(adapter: Adapter, recipe: TrainingRecipe, base_sha256: str) -> bool:
    """Whether a training with this recipe can start from its weights."""
    wanted = as_json(recipe.settings) | {"base model's SHA-256": base_sha256}
    return all(adapter.reward.plan.get(name) == wanted[name] for name in _OF_THE_SHAPE)
