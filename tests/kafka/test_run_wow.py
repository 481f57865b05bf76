"""``run-wow`` on a real broker, on stand-ins for WoW's programs."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.messages.codec import encode
from streams.messages.contracts import TraceEvent
from streams.messages.files import read_trace
from streams.messages.stored import Outgoing
from streams.snapshots.feed import SnapshotFeed
from streams.snapshots.writer import SnapshotWriter
from tests.runner.fakes import snapshot
from tests.runner.wow_doubles.checkout import fake_checkout


def publish(settings: Settings) -> int:
    """A reward model that the run's critics can be weighed by; its version."""
    reward = snapshot({"flicker.quality": 2.0}, version=4)

    async def write() -> None:
        writer = SnapshotWriter(settings, "default")
        await writer.open()
        await writer.publish(Outgoing(settings.snapshots_topic, b"bt:default", encode(reward)))
        await writer.close()

    asyncio.run(write())
    return reward.version


def test_a_run_publishes_every_event_and_takes_a_snapshot(
    settings: Settings, tribrain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first generation waits until the feed has the snapshot, so that the second is steered."""
    wow, out = fake_checkout(tmp_path / "WoW"), tmp_path / "run"

    def feed(*given: Any, **named: Any) -> SnapshotFeed:
        return SnapshotFeed(*given, on_snapshot=lambda _: (wow.repo / "go").touch(), **named)

    monkeypatch.setattr("streams.snapshots.feed.SnapshotFeed", feed)
    version = publish(settings)
    code, result = tribrain(
        *("run-wow", "--wow-repo", str(wow.repo), "--model", "dit-2b", "--image", str(wow.image)),
        *("--wow-python", sys.executable, "--prompt", "tea [wait]", "--iters", "2", "--out", str(out)),
    )
    assert code == 0
    assert result["versions"][-1] == [1, version]
    first, second = (event for event in read_trace(out / "trace.jsonl") if isinstance(event, TraceEvent))
    assert (first.meta["reward_version"], second.meta["reward_version"]) == (None, version)
    assert second.meta["preference_prob"] is not None
    published = b"".join(m.value + b"\n" for m in read_topic(settings, settings.trace_topic))
    assert published == (out / "trace.jsonl").read_bytes()
