"""What do open runs cost? Memory with 10,000 of them, and an event among them against one among 100."""

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


def main() -> None:
    # The first round is what Python does at the first call.
    _cost_us(_FEW, "warm-up")
    few = _cost_us(_FEW, "few")
    many = _cost_us(_MANY, "many")
    say(
        [
            Finding("resident memory, 10,000 open runs", resident_bytes() / 2**20, "MiB"),
            Finding(
                "an event among 10,000 open runs ÷ among 100",
                many / few,
                "",
                f"{many:.0f} and {few:.0f} µs CPU, former alone",
            ),
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


if __name__ == "__main__":
    main()
