"""Looks up one run's messages on the trace topic."""

from __future__ import annotations

from time import monotonic

from streams.errors import BadInput
from streams.kafka.reader import TopicReader
from streams.kafka.settings import Settings
from streams.messages.codec import ContractError, decode_trace
from streams.messages.contracts import RunEnd, TraceMessage
from streams.messages.stored import StoredMessage

BLOCK = 5_000
"""Messages of a partition that are read at a time."""
_SILENT_S = 5.0


def read_run(settings: Settings, run_id: str, *, timeout_s: float = 10.0) -> list[TraceMessage]:
    """The messages of the original run, without those of its rescorings, in no particular order.

    The topic is read backwards from its end to the run's first iteration, because an unfinished run is
    usually recent; for a run that does not exist, the whole topic is read. Unreadable messages are skipped.
    Raises BadInput if that takes longer than ``timeout_s`` seconds or the topic cannot be read, and NoBroker
    if no broker answers within 5 s.
    """
    deadline_s = monotonic() + timeout_s
    silent_s = min(timeout_s, _SILENT_S)
    found: list[TraceMessage] = []
    with TopicReader(settings, settings.trace_topic, timeout_s=silent_s) as reader:
        until = reader.ends()
        while any(until.values()) and not _has_begun(found):
            begin = {number: max(0, end - BLOCK) for number, end in until.items()}
            reader.seek(begin)
            for messages in reader.batches(until):
                found += _of_run(messages, run_id)
                if monotonic() > deadline_s:
                    raise BadInput(
                        f"topic {settings.trace_topic!r} at {settings.bootstrap_servers} could not be read "
                        f"within {timeout_s:g} s"
                    )
            until = begin
    return found


def _of_run(messages: list[StoredMessage], run_id: str) -> list[TraceMessage]:
    key = run_id.encode(errors="surrogatepass")
    found = []
    for message in messages:
        if message.key == key:
            try:
                decoded = decode_trace(message.value, message)
            except ContractError:
                continue
            if decoded.run == (run_id, 0):
                found.append(decoded)
    return found


def _has_begun(found: list[TraceMessage]) -> bool:
    return any(not isinstance(message, RunEnd) and message.iter_idx == 0 for message in found)
