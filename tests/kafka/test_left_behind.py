"""What is closed, or ended by an error, leaves no thread and no descriptor behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams.kafka.follow import TopicFollower
from streams.kafka.reader import TopicReader
from streams.kafka.settings import Settings
from streams.kafka.writer import TopicWriter, produce
from streams.messages.codec import encode
from streams.messages.stored import Outgoing
from streams.spool.publisher import TracePublisher
from tests.factories import event, pair
from tests.kafka.test_trainer import publish
from trainers.processing import verify
from tribrain.log import replay

_TIMES = 20
_MESSAGE = b"value"


def _publisher(settings: Settings, folder: Path) -> None:
    with TracePublisher(settings, folder / "spool.sqlite") as publisher:
        publisher.push(event(0, 0.5))
        assert publisher.flush(10.0) == 0


def _writer(settings: Settings, _: Path) -> None:
    writer = TopicWriter(settings)
    message = Outgoing(settings.pairs_topic, b"key", _MESSAGE)
    acknowledged: list[Outgoing] = []
    writer.deliver([message], on_acknowledged=acknowledged.extend, on_refused=lambda *_: None)
    assert acknowledged == [message]
    writer.close()


def _reader(settings: Settings, _: Path) -> None:
    with TopicReader(settings, settings.pairs_topic) as reader:
        assert list(reader.read_up()) != []


def _follower(settings: Settings, _: Path) -> None:
    came = threading.Event()
    with TopicFollower(settings, [settings.pairs_topic], lambda _: came.set()):
        assert came.wait(10.0)


def _open() -> tuple[int, list[str]]:
    return len(os.listdir("/proc/self/fd")), sorted(thread.name for thread in threading.enumerate())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("use", [_publisher, _writer, _reader, _follower])
def test_twenty_of_a_kind_leave_nothing_open(
    use: Callable[[Settings, Path], None], settings: Settings, tmp_path: Path
) -> None:
    list(produce(settings, [Outgoing(settings.pairs_topic, b"key", _MESSAGE)]))
    use(settings, tmp_path)
    before = _open()
    for _ in range(_TIMES):
        use(settings, tmp_path)
    assert _open() == before


@pytest.mark.parametrize(
    ("arguments", "patched"),
    [
        (["verify-state"], (verify, "decode_trace")),
        (["replay", "--source", "trace", "--out", "replayed"], (replay, "select_runs")),
        (["replay", "--out", "replayed"], (replay, "select_pairs")),
    ],
)
def test_a_command_that_ends_by_an_error_in_the_middle_of_a_topic_leaves_nothing_open(
    arguments: list[str],
    patched: tuple[Any, str],
    settings: Settings,
    tribrain: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish(settings, [event(0, 0.5), event(1, 0.7)])
    one = pair({"a.x": 1.0}, {"a.x": 0.0}, label_source="critic", pair_id="x", run_id="run-a")
    list(produce(settings, [Outgoing(settings.pairs_topic, b"default", encode(one))] * 2))

    def fail(first: Any, *_: Any) -> Any:
        if not isinstance(first, bytes):
            next(iter(first() if callable(first) else first))
        raise ValueError("a bug of ours")

    monkeypatch.setattr(*patched, fail)
    before = _open()
    # The error holds on to the frames that it came through, as an interpreter's last one does.
    with pytest.raises(ValueError, match="a bug of ours") as ended:
        tribrain(*arguments)
    assert _open() == before
    assert ended.value
