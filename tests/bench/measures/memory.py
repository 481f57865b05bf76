"""Does memory grow with what was handled? A million events in memory, a tenth against another."""

from __future__ import annotations

import os
from statistics import mean

from streams.kafka.settings import Settings
from tests.bench.core import Core, on_topic, stored
from tests.bench.measures import resident_bytes, say
from tests.bench.results import Finding
from tests.bench.workload import make_workload, of_another_round

_EVENTS = int(os.environ.get("TRIBRAIN_BENCH_EVENTS", 1_000_000))
_PER_ROUND = min(9_000, _EVENTS)
_LOOKS = 100


def main() -> None:
    core = Core(Settings(bootstrap_servers="none:1"))
    workload = make_workload(_PER_ROUND, seed=0)
    messages = workload.messages("trace")
    resident: list[int] = []
    every = max(1, min(500, _EVENTS // _LOOKS))
    offset = learnt = 0
    while offset < _EVENTS:
        number = offset // _PER_ROUND
        for first in range(0, len(messages), every):
            events = [
                stored("trace", 0, offset + n, None, of_another_round(message.value, workload, number))
                for n, message in enumerate(messages[first : first + every])
            ]
            pairs = core.form(events)
            core.learn(on_topic(pairs, learnt))
            core.snapshot()
            offset, learnt = offset + len(events), learnt + len(pairs)
            resident.append(resident_bytes())
    tenth = len(resident) // 10
    second, last = mean(resident[tenth : 2 * tenth]), mean(resident[-tenth:])
    note = f"{offset:,} events, {learnt:,} pairs; {last / 2**20:.0f} MiB resident at the end"
    say([Finding("memory of the last tenth ÷ the second", last / second, "", note)])


if __name__ == "__main__":
    main()
