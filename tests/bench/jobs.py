"""The job, in this process: trace events to pairs to a reward model, from memory or from a broker's log."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from streams.errors import BadInput
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.messages.codec import decode_pair
from streams.messages.contracts import PreferencePair, TraceMessage
from streams.messages.stored import StoredMessage
from tests.bench.core import Core, on_topic
from tests.bench.workload import Workload
from trainers.pairs.pairing import PairingRules
from trainers.processing.replay import form_again, learn_again, read_files

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
    messages = workload.messages(settings.trace_topic)
    return _measured(lambda: _form_and_learn(messages, settings))


def replay(settings: Settings) -> Measurement:
    """``tribrain replay --source trace``; from the first message on."""
    messages = read_topic(settings, settings.trace_topic)
    first = next(messages, None)
    if first is None:
        raise BadInput(f"{settings.trace_topic} at {settings.bootstrap_servers} is empty")
    return _measured(lambda: _replay(chain([first], messages), (), settings))


def replay_file(workload: Workload) -> Measurement:
    """``tribrain replay --trace`` of a file with the same events, which lies ready."""
    settings = Settings(bootstrap_servers="none:1")
    with tempfile.TemporaryDirectory(prefix="tribrain-bench-") as folder:
        path = Path(folder) / "trace.jsonl"
        path.write_bytes(b"".join(message.value + b"\n" for message in workload.messages("trace")))
        return _measured(lambda: _replay(*read_files([path], settings.trace_topic), settings))


def pair_ids(values: Iterable[bytes], source: str) -> frozenset[str]:
    """The ids of the pairs among values of the pairs topic."""
    messages = (decode_pair(value, source) for value in values)
    return frozenset(message.pair_id for message in messages if isinstance(message, PreferencePair))


def _measured(job: Callable[[], list[bytes]]) -> Measurement:
    """``job`` returns the values that go to the pairs topic, all of them learnt."""
    gc.collect()
    gc.freeze()  # what this process holds beside the job is no part of its cost
    wall, cpu = time.perf_counter(), time.process_time()
    values = job()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    gc.unfreeze()
    return Measurement(wall_s=wall, cpu_s=cpu, pair_ids=pair_ids(values, "formed"))


def _form_and_learn(messages: Iterable[StoredMessage], settings: Settings) -> list[bytes]:
    """One snapshot is made at the end."""
    core = Core(settings)
    values: list[bytes] = []
    unread = iter(messages)
    while batch := list(islice(unread, _BATCH)):
        pairs = core.form(batch)
        core.learn(on_topic(pairs, len(values)))
        values += [pair.value for pair in pairs]
    core.snapshot()
    return values


def _replay(
    messages: Iterable[StoredMessage], events: Sequence[TraceMessage], settings: Settings
) -> list[bytes]:
    rules = PairingRules()
    pairs = list(form_again(messages, rules, settings.pairs_topic, events))
    learn_again(pairs, rules, settings.pairs_topic)
    return [pair.value for pair in pairs]
