"""The job, in this process: trace events to pairs to a reward model, from memory or from a broker's log."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from streams.errors import BadInput
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.messages.codec import decode_pair, encode
from streams.messages.contracts import PreferencePair
from streams.messages.files import read_trace
from streams.messages.stored import StoredMessage
from tests.bench.core import Core, on_topic, stored
from tests.bench.workload import Workload

_BATCH = 500
"""Messages that are handled at once, as the live trainer does with what waits."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One repetition of one job."""

    wall_s: float
    cpu_s: float | None
    """Processor seconds, user and system; None where the system does not tell."""
    pair_ids: frozenset[str]


def in_memory(workload: Workload) -> Measurement:
    """The limit: bytes that lie ready in memory through both processors, and no Kafka."""
    settings = Settings(bootstrap_servers="none:1")
    return _measured(workload.messages(settings.trace_topic), settings)


def replay(settings: Settings) -> Measurement:
    """The trace topic read back, as ``tribrain replay --source trace`` does; from the first message on."""
    messages = read_topic(settings, settings.trace_topic)
    first = next(messages, None)
    if first is None:
        raise BadInput(f"{settings.trace_topic} at {settings.bootstrap_servers} is empty")
    return _measured(chain([first], messages), settings)


def replay_file(workload: Workload) -> Measurement:
    """A ``trace.jsonl`` with the same events, read as ``tribrain replay`` does; the file lies ready."""
    settings = Settings(bootstrap_servers="none:1")
    with tempfile.TemporaryDirectory(prefix="tribrain-bench-") as folder:
        path = Path(folder) / "trace.jsonl"
        path.write_bytes(b"".join(message.value + b"\n" for message in workload.messages("trace")))
        return _measured(_lines_again(path, settings.trace_topic), settings)


def _lines_again(path: Path, topic: str) -> Iterator[StoredMessage]:
    for offset, event in enumerate(read_trace(path)):
        yield stored(topic, 0, offset, None, encode(event))


def pair_ids(values: Iterable[bytes], source: str) -> frozenset[str]:
    """The ids of the pairs among values of the pairs topic."""
    messages = (decode_pair(value, source) for value in values)
    return frozenset(message.pair_id for message in messages if isinstance(message, PreferencePair))


def _measured(messages: Iterable[StoredMessage], settings: Settings) -> Measurement:
    gc.collect()
    gc.freeze()  # what this process holds beside the job is no part of its cost
    wall, cpu = time.perf_counter(), time.process_time()
    values = _form_and_learn(messages, settings)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    gc.unfreeze()
    return Measurement(wall_s=wall, cpu_s=cpu, pair_ids=pair_ids(values, "formed"))


def _form_and_learn(messages: Iterable[StoredMessage], settings: Settings) -> list[bytes]:
    """The values that went to the pairs topic; every one is learnt, and one snapshot is made at the end."""
    core = Core(settings)
    values: list[bytes] = []
    unread = iter(messages)
    while batch := list(islice(unread, _BATCH)):
        pairs = core.form(batch)
        core.learn(on_topic(pairs, len(values)))
        values += [pair.value for pair in pairs]
    core.snapshot()
    return values
