"""A process that pushes events into a spool, to be killed or measured: ``python -m tests.faults.pushing``."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from streams.kafka.settings import Settings
from streams.spool.publisher import TracePublisher
from tests.factories import event

FLUSHED_EACH = 5
_FLUSH_S = 30.0


def start(
    settings: Settings, spool: Path, environment: Mapping[str, str], *arguments: object
) -> subprocess.Popen[str]:
    """``events RUN FIRST STOP`` or ``megabytes N`` in a process of its own."""
    given = [settings.bootstrap_servers, settings.topic_prefix, spool, *arguments]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.pushing", *map(str, given)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def _push_events(publisher: TracePublisher, run_id: str, first: int, stop: int) -> None:
    """Says after each push how many events the spool has, and now and then lets them be sent."""
    for iter_idx in range(first, stop):
        publisher.push(event(iter_idx, 0.5, run_id=run_id))
        print(iter_idx + 1, flush=True)
        if (iter_idx + 1) % FLUSHED_EACH == 0:
            publisher.flush(_FLUSH_S)
    publisher.flush(_FLUSH_S)


def _push_megabytes(publisher: TracePublisher, megabytes: int) -> None:
    """Says what became of the events, and by how many bytes the process has grown."""
    size = 1 << 18
    filler = "x" * size
    before = 0
    for iter_idx in range(megabytes * (1 << 20) // size):
        one = event(iter_idx, 0.5)
        publisher.push(replace(one, prompt=filler))
        if iter_idx == 0:
            publisher.flush(3.0)  # until a producer has been made, and has failed
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    refused = sum(publisher.refused.values())
    print(json.dumps({"grown": grown, "refused": refused, "waiting": publisher.flush(0.0) - refused}))


def _main() -> None:
    servers, prefix, spool, what, *rest = sys.argv[1:]
    settings = Settings(bootstrap_servers=servers, topic_prefix=prefix)
    publisher = TracePublisher(settings, Path(spool))
    if what == "events":
        _push_events(publisher, rest[0], int(rest[1]), int(rest[2]))
        publisher.close()
    else:
        _push_megabytes(publisher, int(rest[0]))
        publisher.close(0.0)


if __name__ == "__main__":
    _main()
