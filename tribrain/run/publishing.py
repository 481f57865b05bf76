"""The events of a run on their way to Kafka, and what of them has not arrived when the run is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from streams.kafka.settings import Settings

if TYPE_CHECKING:
    from streams.spool.publisher import TracePublisher

# What has not left by then is safe in the spool.
_FLUSH_S = 5.0
_CLOSE_S = 1.0


@contextmanager
def publishing(settings: Settings, spool: Path) -> Iterator[TracePublisher]:
    """A publisher through ``spool``, which is given some seconds to send what waits at the end."""
    # Not at the top: a run without a broker needs no client of Kafka.
    from streams.spool.publisher import TracePublisher

    publisher = TracePublisher(settings, spool)
    try:
        yield publisher
        publisher.flush(_FLUSH_S)
    finally:
        publisher.close(_CLOSE_S)


def not_on_kafka(publisher: TracePublisher, out: Path, spool: Path) -> list[str]:
    """What has not arrived of the run in ``out``, and what to do, in sentences; none where all has."""
    said = []
    refused = sum(publisher.refused.values())
    if kept := publisher.flush(0.0) - refused:
        said.append(f"{kept} events have not reached Kafka; send them with: tribrain log spool flush {spool}")
    if refused:
        said.append(
            f"{refused} events are not in the spool: {publisher.problem}; "
            f"send them with: tribrain log publish {out / 'trace.jsonl'}"
        )
    return said
