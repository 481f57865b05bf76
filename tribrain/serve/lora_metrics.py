"""The metrics and the health of ``serve lora``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from streams.metrics.health import Condition
from streams.metrics.instruments import Instruments, Labels
from streams.metrics.snapshots import SnapshotFigures, expose_snapshots
from trainers.lora.meter import Meter
from tribrain.shell.spool_metrics import expose_disks

LONGEST_LOOK_S = 60.0
"""Longest healthy time without a look for pairs: it looks every second, but waits for a broker."""
LONGEST_STEP_S = 3_600.0
"""Longest healthy part of a training: a step, loading the base model, or scoring held-out pairs."""


def expose_lora(instruments: Instruments, meter: Meter, work: Path) -> None:
    """Expose the figures of ``meter``; ``work`` is the folder of plan and checkpoint."""

    def newest() -> list[SnapshotFigures]:
        return [] if meter.newest is None else [SnapshotFigures.of(meter.newest, meter.published_s)]

    def trainings() -> Mapping[Labels, float]:
        return {(gate,): count for gate, count in meter.trainings.items()}

    took = instruments.histogram("tribrain_training_seconds")
    meter.on_duration = took.observe
    instruments.health = lambda: condition_of(meter)
    instruments.expose("tribrain_new_pairs", lambda: meter.new_pairs)
    instruments.expose("tribrain_training", lambda: float(meter.is_training))
    instruments.expose("tribrain_trainings_total", trainings)
    expose_snapshots(instruments, newest)
    expose_disks(instruments, lambda: {"work": work})


def facts_of(meter: Meter) -> dict[str, Any]:
    """Counts of this process's work, and the newest version of the model that it knows."""
    newest = meter.newest
    return {
        "trainings": sum(meter.trainings.values()),
        "pairs_waiting": meter.new_pairs,
        "newest_version": None if newest is None else newest.version,
        "gate": None if newest is None else newest.gate,
        "adapter": None if newest is None else newest.uri,
    }


def condition_of(meter: Meter) -> Condition:
    """The health: between trainings the service must look for pairs, and in one it must make steps."""
    still_s = monotonic() - meter.moved_s
    if meter.is_training:
        if still_s > LONGEST_STEP_S:
            return Condition(False, f"Its training has made no step for {still_s:.0f} s.")
        return Condition(True, "It trains.")
    if still_s > LONGEST_LOOK_S:
        return Condition(False, f"Kafka has not answered for {still_s:.0f} s.")
    return Condition(True, f"It waits for pairs, and {meter.new_pairs} are new.")
