"""What was measured, as figures, as a table and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median
from typing import Any

from tests.bench.jobs import Measurement
from tests.bench.workload import Workload

LIMIT = "in-memory limit"
LIVE = "live trainer"
_PACKAGES = ("tribrain", "faust-streaming", "aiokafka", "kafka-python", "river", "msgspec", "orjson")
_HEADINGS = ("job", "CPU ÷ limit", "CPU ÷ live", "speed ÷ limit", "µs CPU/event", "spread", "events/s")


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure of a measure that is no job."""

    measure: str
    value: float
    unit: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """One job: medians over the repetitions. CPU figures are None where the system does not tell."""

    events_per_s: float
    cpu_us_per_event: float | None
    cpu_us_least_and_most: tuple[float, float] | None
    speed_ratio: float
    """Events per second over those of the limit in the same repetition; below 1."""
    cpu_ratio: float | None
    """Processor time per event over that of the limit in the same repetition; above 1."""
    live_ratio: float | None
    """As ``cpu_ratio``, over that of the live trainer; None where it was not measured."""


def figures(measured: Mapping[str, Sequence[Measurement]], n_events: int) -> dict[str, Figures]:
    """Job to its figures, from job to its repetitions; ``LIMIT`` is among the jobs."""
    return {job: _figures(repetitions, measured, n_events) for job, repetitions in measured.items()}


def _figures(
    repetitions: Sequence[Measurement], measured: Mapping[str, Sequence[Measurement]], n_events: int
) -> Figures:
    limits, lives = measured[LIMIT], measured.get(LIVE, ())
    costs = [cost for m in repetitions if (cost := _cpu_us(m, n_events)) is not None]
    return Figures(
        events_per_s=median(n_events / m.wall_s for m in repetitions),
        cpu_us_per_event=_median_or_none(costs),
        cpu_us_least_and_most=(min(costs), max(costs)) if costs else None,
        speed_ratio=median(limit.wall_s / m.wall_s for m, limit in zip(repetitions, limits, strict=True)),
        cpu_ratio=_median_or_none(map(_cpu_ratio, repetitions, limits)),
        live_ratio=_median_or_none(map(_cpu_ratio, repetitions, lives)),
    )


def disagreements(measured: Mapping[str, Sequence[Measurement]]) -> list[str]:
    """One sentence for each repetition whose pairs are not those of the first in memory."""
    expected = measured[LIMIT][0].pair_ids
    return [
        f"{job}, repetition {number}: {len(expected - m.pair_ids)} pairs are missing and "
        f"{len(m.pair_ids - expected)} are too many"
        for job, repetitions in measured.items()
        for number, m in enumerate(repetitions, start=1)
        if m.pair_ids != expected
    ]


def as_json(
    workload: Workload,
    measured: Mapping[str, Sequence[Measurement]],
    broker: str | None,
    findings: Sequence[Finding] = (),
    left_out: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything that is needed to read the figures, and to measure again; ``broker`` describes it."""
    n_events = len(workload.events)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": workload.seed,
        "runs": workload.runs,
        "events": n_events,
        "mean_event_bytes": round(workload.mean_bytes),
        "pairs": len(measured[LIMIT][0].pair_ids),
        "repetitions": len(measured[LIMIT]),
        "broker": broker,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "jobs": {
            job: {
                "events_per_s": round(row.events_per_s, 1),
                "cpu_us_per_event": _rounded(row.cpu_us_per_event, 1),
                "cpu_us_least_and_most": row.cpu_us_least_and_most
                and [round(value, 1) for value in row.cpu_us_least_and_most],
                "speed_ratio": round(row.speed_ratio, 4),
                "cpu_ratio": _rounded(row.cpu_ratio, 3),
                "live_ratio": _rounded(row.live_ratio, 3),
            }
            for job, row in figures(measured, n_events).items()
        },
        "findings": [asdict(finding) for finding in findings],
        "left_out": list(left_out),
    }


def as_text(summary: Mapping[str, Any]) -> str:
    """A table of the figures of ``as_json``, with the findings and what all of it depends on below it."""
    rows = _rows(summary)
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    found = [
        f"{finding['measure']}: {finding['value']:,.4g} {finding['unit']} ({finding['note']})"
        for finding in summary["findings"]
    ]
    return "\n".join([*lines, "", *found, *([""] if found else []), *_circumstances(summary)])


def as_markdown(summary: Mapping[str, Any]) -> str:
    """The same as a document, with the findings of the other measures."""
    head, *rows = [f"| {' | '.join(row)} |" for row in _rows(summary)]
    table = [head, "|---" + "|---:" * (len(_HEADINGS) - 1) + "|", *rows]
    found = [
        f"| {finding['measure']} | {finding['value']:,.4g} | {finding['unit']} | {finding['note']} |"
        for finding in summary["findings"]
    ]
    return "\n".join(
        [
            "# The same work in memory, from a log, by the live trainer and by its peers",
            "",
            "Written by `make bench`. A peer has the trainer's two processors behind it, and keeps none of",
            "its promises: what it costs is what the carrying of the bytes costs.",
            "",
            *table,
            "",
            *([] if not found else ["| measure | value | unit | |", "|---|---:|---|---|", *found, ""]),
            *(f"- {line}" for line in _circumstances(summary)),
            "",
        ]
    )


def _rows(summary: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [_HEADINGS, *(_row(job, row) for job, row in summary["jobs"].items())]


def _circumstances(summary: Mapping[str, Any]) -> list[str]:
    packages = ", ".join(f"{name} {number}" for name, number in summary["packages"].items())
    size = f"{summary['runs']} runs, mean {summary['mean_event_bytes']} bytes, seed {summary['seed']}"
    repeated = f"medians of {summary['repetitions']}, ratios within a repetition"
    return [
        f"{summary['events']} events ({size}), {summary['pairs']} pairs; {repeated}",
        f"broker: {summary['broker'] or 'none'}",
        f"{summary['date']}, Python {summary['python']}, {summary['cores']} cores, {summary['system']}",
        packages,
        *summary["left_out"],
        "Compare the ratios: events/s and µs depend on the computer.",
    ]


def _row(job: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    spread = row["cpu_us_least_and_most"]
    return (
        job,
        _text(row["cpu_ratio"], ".2f"),
        _text(row["live_ratio"], ".2f"),
        _text(row["speed_ratio"], ".3f"),
        _text(row["cpu_us_per_event"], ".0f"),
        "–" if spread is None else f"{spread[0]:.0f} to {spread[1]:.0f}",
        f"{row['events_per_s']:,.0f}",
    )


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _cpu_us(measurement: Measurement, n_events: int) -> float | None:
    return None if measurement.cpu_s is None else measurement.cpu_s / n_events * 1e6


def _cpu_ratio(measurement: Measurement, limit: Measurement) -> float | None:
    return None if measurement.cpu_s is None or not limit.cpu_s else measurement.cpu_s / limit.cpu_s


def _median_or_none(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
