"""Publishes the events of a run to Kafka, and reports those that have not arrived when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from streams.errors import counted
from streams.kafka.settings import Settings
from streams.spool.place import keep_place, other_spools
from streams.spool.queue import Spool, SpoolError

if TYPE_CHECKING:
    from streams.spool.publisher import TracePublisher

# Events that have not left by then are safe in the spool.
_FLUSH_S = 5.0
_CLOSE_S = 1.0


@contextmanager
def publishing(settings: Settings, out: Path, spool: Path) -> Iterator[TracePublisher]:
    """A publisher through ``spool``, which at the end has some seconds to send what waits.

    The run in ``out`` goes on with this spool. Raises BadInput where that cannot be noted there.
    """
    # Not at the top: a run without a broker needs no client of Kafka.
    from streams.spool.publisher import TracePublisher

    try:
        keep_place(out, spool)
    except OSError as error:
        from tribrain.shell.output import cannot_write

        raise cannot_write(out, error) from None
    publisher = TracePublisher(settings, spool)
    try:
        yield publisher
        publisher.flush(_FLUSH_S)
    finally:
        publisher.close(_CLOSE_S)


def not_on_kafka(publisher: TracePublisher, out: Path, spool: Path) -> list[str]:
    """Lines on events of the run in ``out`` that have not arrived, and how to send them."""
    said = list(_in_other_spools(out, spool))
    refused = sum(publisher.refused.values())
    if kept := publisher.flush(0.0) - refused:
        said.append(f"not on Kafka: {counted(kept, 'event')}; to send: tribrain log spool flush {spool}")
    if refused:
        said.append(
            f"not in the spool: {counted(refused, 'event')}: {publisher.problem}; "
            f"to send: tribrain log publish {out / 'trace.jsonl'}"
        )
    return said


def _in_other_spools(out: Path, spool: Path) -> Iterator[str]:
    for other in other_spools(out, spool):
        try:
            with Spool(other, create=False) as opened:
                found = opened.status()
        except SpoolError as problem:
            yield f"another spool of this run cannot be read: {problem}"
            continue
        if kept := sum(found.waiting.values()) + sum(map(len, found.quarantined.values())):
            yield (
                f"not on Kafka, in another spool of this run: {counted(kept, 'event')}; "
                f"to send: tribrain log spool flush {other}"
            )
