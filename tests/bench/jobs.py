"""The job, in this process: trace events to pairs to a reward model, from memory or from a broker's log."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from streams.errors import BadInput
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.messages.codec import decode_pair
from streams.messages.contracts import PreferencePair
from streams.messages.stored import StoredMessage
from tests.bench.workload import Workload
from trainers.pairing import PairingRules
from trainers.processors import PairProcessor, TraceProcessor


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


def pair_ids(values: Iterable[bytes], source: str) -> frozenset[str]:
    """The ids of the pairs among values of the pairs topic."""
    messages = (decode_pair(value, source) for value in values)
    return frozenset(message.pair_id for message in messages if isinstance(message, PreferencePair))


def _measured(messages: Iterable[StoredMessage], settings: Settings) -> Measurement:
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    values = _form_and_learn(messages, settings)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Measurement(wall_s=wall, cpu_s=cpu, pair_ids=pair_ids(values, "formed"))


def _form_and_learn(messages: Iterable[StoredMessage], settings: Settings) -> list[bytes]:
    """The values that went to the pairs topic; every one is learnt, and one snapshot is made at the end."""
    former = TraceProcessor(
        PairingRules(),
        trace_topic=settings.trace_topic,
        pairs_topic=settings.pairs_topic,
        dead_letters_topic=settings.dead_letters_topic,
    )
    learner = PairProcessor(
        PairingRules().model,
        snapshots_topic=settings.snapshots_topic,
        dead_letters_topic=settings.dead_letters_topic,
    )
    learner.restore(None)
    values: list[bytes] = []
    for message in messages:
        for outgoing in former.on_message(message):
            if outgoing.topic != settings.pairs_topic:
                continue
            learner.on_message(
                StoredMessage(
                    topic=outgoing.topic,
                    partition=0,
                    offset=len(values),
                    timestamp_ms=0,
                    key=outgoing.key,
                    value=outgoing.value,
                )
            )
            values.append(outgoing.value)
    learner.take_snapshot()
    return values
