"""What was measured, each figure read from the document that the measurement wrote: none stands here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streams.errors import BadInput

ROOT = Path(__file__).parents[3]
RESULTS, LOAD, LOG = "tests/bench/RESULTS.md", "tests/bench/LOAD.md", "docs/LOG.md"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a figure stands."""

    file: str
    """From the repository's root."""
    pattern: str
    """A regular expression whose only group is the figure."""
    meaning: str


PLACES: Mapping[str, Place] = {
    "live_us": Place(RESULTS, r"\| live trainer \|.*\| (\d+) \| \d+ to", "µs CPU an event, live trainer"),
    "live_per_s": Place(RESULTS, r"\| live trainer \|.* ([\d,]+) \|$", "events/s, one trainer, two cores"),
    "replayed_per_s": Place(RESULTS, r"\| replay from the topic \|.* ([\d,]+) \|$", "events/s, replayed"),
    "learner_per_s": Place(
        RESULTS, r"\| learner catching up \| ([\d.e+]+)", "pairs/s, a learner that catches up"
    ),
    "events": Place(RESULTS, r"^- (\d+) events \(", "events that the figures are of"),
    "pairs": Place(RESULTS, r"^- .* (\d+) pairs; medians", "pairs of these events"),
    "resident_mib": Place(RESULTS, r"(\d+) MiB resident at the end", "MiB, after a million events"),
    "open_run_bytes": Place(
        LOG, r"An open run that is half over takes ([\d,]+) bytes", "bytes in memory an open run, half over"
    ),
    "pinned_bytes": Place(
        RESULTS, r"silent run pins, an event behind it \| ([\d.]+)", "bytes in memory an event behind a hold"
    ),
    "latency_ms": Place(RESULTS, r"applied in another, median \| ([\d.]+)", "ms, published to applied"),
    "event_bytes": Place(LOG, r"five critics, .*: an event (\d+), a vote", "bytes on disk an event, alone"),
    "pair_bytes": Place(
        LOG, r"a pair \d+ to (\d+) in the trainer's batches", "bytes on disk a pair, at most"
    ),
    "single_us": Place(
        LOAD,
        r"\| trainer, µs CPU/event \|.* ([\d,]+) \|$",
        "µs CPU an event, live trainer, where each is a batch of its own",
    ),
    "mark_bytes": Place(LOAD, r"\| bytes on disk, a closed run \| ([\d,]+)", "bytes on disk a closed run"),
    "snapshot_bytes": Place(
        LOAD, r"\| bytes, a snapshot \|.* ([\d,]+) \|$", "bytes, a snapshot of 6 critics"
    ),
    "checkpoint_bytes": Place(
        LOAD, r"\| bytes, a checkpoint \|.* ([\d,]+) \|$", "bytes, the largest checkpoint"
    ),
}


def read_costs() -> dict[str, float]:
    """Every figure by its name. Raises BadInput where a document does not have one."""
    texts = {file: (ROOT / file).read_text() for file in {place.file for place in PLACES.values()}}
    return {name: figure_in(texts[place.file], place) for name, place in PLACES.items()}


def figure_in(text: str, place: Place) -> float:
    """The figure that stands there. Raises BadInput where there is none."""
    found = re.search(place.pattern, text, flags=re.MULTILINE)
    if found is None:
        raise BadInput(f"{place.file} does not say: {place.meaning}; expected {place.pattern!r}")
    return float(found[1].replace(",", ""))


def row_in(text: str, name: str) -> list[float]:
    """The figures of a row of a table, column by column. Raises BadInput where there is none."""
    found = re.search(rf"^\| {re.escape(name)} \| (.*) \|$", text, flags=re.MULTILINE)
    if found is None:
        raise BadInput(f"{LOAD} has no row {name!r}; run python -m tests.bench.load --write")
    return [float(cell.replace(",", "")) for cell in found[1].split(" | ")]
