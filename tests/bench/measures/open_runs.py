"""What do open runs cost? Memory, together and each, and an event among 10,000 against one among 100."""

from __future__ import annotations

import gc
import time

from streams.kafka.settings import Settings
from streams.messages.stored import StoredMessage
from tests.bench.core import Core, stored
from tests.bench.measures import resident_bytes, say
from tests.bench.results import Finding
from tests.bench.workload import EVENTS_PER_RUN, ITERATIONS, make_workload, of_run

_FEW, _MANY = 100, 10_000
_EVENTS = 6_000
_HALF = ITERATIONS // 2


def main() -> None:
    # The first round is what Python does at the first call.
    _cost_us(_FEW, "warm-up")
    few = _cost_us(_FEW, "few")
    many = _cost_us(_MANY, "many")
    resident = resident_bytes()
    say(
        [
            Finding("resident memory, 10,000 open runs", resident / 2**20, "MiB"),
            Finding(
                "an event among 10,000 open runs ÷ among 100",
                many / few,
                "",
                f"{many:.0f} and {few:.0f} µs CPU, former alone",
            ),
            Finding("memory of an open run that is half over", _bytes_of_run(), "bytes", f"{_HALF} events"),
        ]
    )


def _cost_us(n_runs: int, name: str) -> float:
    core = Core(Settings(bootstrap_servers="none:1"))
    template = make_workload(EVENTS_PER_RUN, seed=0).messages("trace")
    offset = 0

    def message(run: int, iteration: int) -> StoredMessage:
        value = of_run(template[iteration].value, f"{name}-{run:08d}")
        return stored("trace", 0, offset, None, value)

    for run in range(n_runs):
        core.form([message(run, 0)])
        offset += 1
    # As many of each iteration for few runs as for many: the cost of forming grows with the iterations.
    events = [
        message(number % n_runs, 1 + (number * (ITERATIONS - 1)) // _EVENTS) for number in range(_EVENTS)
    ]
    gc.collect()
    began = time.process_time()
    for event in events:
        core.form([event])
    return (time.process_time() - began) / _EVENTS * 1e6


def _bytes_of_run() -> float:
    """Of each of many, beside the others."""
    core = Core(Settings(bootstrap_servers="none:1"))
    template = make_workload(EVENTS_PER_RUN, seed=0).messages("trace")
    gc.collect()
    before = resident_bytes()
    for iteration in range(_HALF):
        for run in range(_MANY):
            value = of_run(template[iteration].value, f"half-{run:08d}")
            core.form([stored("trace", 0, iteration * _MANY + run, None, value)])
    gc.collect()
    return (resident_bytes() - before) / _MANY


if __name__ == "__main__":
    main()
