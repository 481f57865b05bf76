"""The tables of docs/reference/scale.md, each by the name that stands in the document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from streams.errors import BadInput
from streams.messages.contracts import TraceEvent
from tests.bench.scale.costs import PLACES, row_in
from tests.bench.scale.needs import DEFAULTS, LIMITS, SPARING, VIDEO_S, Flags, Need, ceiling
from tests.bench.workload import make_workload
from trainers.pairs.pairing import PairingRules, RunPairing


@dataclass(frozen=True, slots=True)
class _Lab:
    """A column of the table of needs."""

    hourly: float
    flags: Flags
    candidate_s: float = VIDEO_S

    def need(self, cost: _Costs) -> Need:
        return Need(self.hourly / 3_600, self.flags, cost, candidate_s=self.candidate_s)


_MOST_HOURLY = 1e8
_LABS = (
    _Lab(1e3, DEFAULTS),
    _Lab(1e6, DEFAULTS),
    _Lab(1e6, SPARING),
    _Lab(_MOST_HOURLY, SPARING),
    _Lab(_MOST_HOURLY, SPARING, candidate_s=1.0),
)
_Costs = Mapping[str, float]
_BEGIN = "<!-- {name}: made by python -m tests.bench.scale -->"
_END = "<!-- end of {name} -->"
_COUNTED_EVENTS = 9_000
_RULES: Mapping[str, PairingRules] = {
    "the default": PairingRules(),
    "`--min-gap 0.1`": PairingRules(min_gap=0.1),
    "`--min-gap 0.2`": PairingRules(min_gap=0.2),
    "`--strategy adjacent`": PairingRules(strategy="adjacent"),
    "`--top-k 2`": PairingRules(top_k=2),
}


def tables(cost: _Costs, load: str) -> dict[str, str]:
    """Name to table; ``load`` is the document of the load runs."""
    return {
        "costs": _costs(cost),
        "needs": _needs(cost),
        "ceilings": _ceilings(cost),
        "rules": _rules(cost),
        "load": _load(cost, load),
    }


def put_into(document: str, made: Mapping[str, str]) -> str:
    """The document with each table in its place. Raises BadInput where a place is missing."""
    for name, table in made.items():
        begin, end = _BEGIN.format(name=name), _END.format(name=name)
        if document.count(begin) != 1 or document.count(end) != 1:
            raise BadInput(
                f"docs/reference/scale.md has no place for the table {name!r}; expected {begin} and {end}"
            )
        before, _, rest = document.partition(begin)
        document = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return document


def _costs(cost: _Costs) -> str:
    return _table(
        ("figure", "", "from"),
        [(place.meaning, f"{cost[name]:,g}", f"`{place.file}`") for name, place in PLACES.items()],
    )


def _needs(cost: _Costs) -> str:
    needs = [lab.need(cost) for lab in _LABS]
    rows: Sequence[tuple[str, Callable[[Need], str]]] = (
        ("`serve trainer`", lambda n: "defaults" if n.flags == DEFAULTS else "sparing"),
        ("from one candidate of a run to the next", lambda n: _time(n.candidate_s)),
        ("events/s", lambda n: _number(n.per_s)),
        ("runs at a time", lambda n: _number(n.open_runs)),
        ("pairs/s", lambda n: _number(n.pairs_per_s)),
        ("topic prefixes, each with one learner", lambda n: _number(n.shards)),
        ("trainers of each prefix", lambda n: _number(n.trainers)),
        ("partitions of each trace topic", lambda n: _number(n.partitions)),
        ("cores that all trainers keep busy, events in large batches", lambda n: _number(n.cores)),
        (
            "– each event a batch of its own, at the highest rate of the load run",
            lambda n: _number(n.cores_of_single_events),
        ),
        ("memory of each trainer, at most", lambda n: _bytes(n.trainer_bytes)),
        ("snapshots/s of a prefix, at most", lambda n: _number(n.snapshots_per_s)),
        ("one run's feed of snapshots and checkpoints", lambda n: f"{_bytes(n.feed_bytes_per_s)}/s"),
        ("into the brokers", lambda n: f"{_bytes(n.in_bytes_per_s)}/s"),
        ("out of the brokers", lambda n: f"{_bytes(n.out_bytes_per_s)}/s"),
        ("– of it to the runs' feeds", lambda n: f"{_bytes(n.open_runs * n.feed_bytes_per_s)}/s"),
        ("disk, three copies, an hour", lambda n: _bytes(n.disk_bytes_per_s * 3_600)),
        ("disk, three copies, a year", lambda n: _bytes(n.disk_bytes_per_s * 365 * 86_400)),
        ("a trainer reads again at a restart", lambda n: _time(n.restart_s)),
        ("– behind a run that was silent", lambda n: _time(n.restart_behind_silence_s)),
        ("a day of one prefix, replayed", lambda n: _time(n.replay_day_s)),
    )
    head = ("events an hour", *(_number(lab.hourly) for lab in _LABS))
    return _table(head, [(name, *map(text, needs)) for name, text in rows])


def _ceilings(cost: _Costs) -> str:
    found = []
    for limit in LIMITS:
        hourly = [ceiling(limit, flags, cost) * 3_600 for flags in (DEFAULTS, SPARING)]
        found.append((hourly[0], (limit.resource, *map(_number, hourly))))
    rows = [row for _, row in sorted(found)]
    return _table(("resource", "defaults: events an hour", "sparing: events an hour"), rows)


def _rules(cost: _Costs) -> str:
    events = make_workload(_COUNTED_EVENTS, seed=0).events
    rows = []
    for name, rules in _RULES.items():
        runs: dict[str, RunPairing] = {}
        pairs = []
        for event in events:
            run = runs.setdefault(event.run_id, RunPairing(rules))
            pairs += run.add(event) if isinstance(event, TraceEvent) else run.finish()
        judged = sum(pair.label_source != "critic" for pair in pairs)
        per_event = len(pairs) / len(events)
        need = Need(_MOST_HOURLY / 3_600, SPARING, {**cost, "pairs": len(pairs), "events": len(events)})
        ceiling_hourly = cost["learner_per_s"] / per_event * 3_600
        judged_per_event = f"{judged / len(events):.2f}"
        rows.append((name, f"{per_event:.2f}", judged_per_event, _number(ceiling_hourly), str(need.shards)))
    return _table(
        (
            "pairs",
            "an event",
            "of a validator's labels",
            "the learner's ceiling, events an hour",
            f"prefixes for {_number(_MOST_HOURLY)} an hour",
        ),
        rows,
    )


def _load(cost: _Costs, load: str) -> str:
    wanted = row_in(load, "events/s wanted")
    needs = [Need(per_s, DEFAULTS, cost, prefixes=1, trainers_of_each=1) for per_s in wanted]
    rows: Sequence[tuple[str, str, Callable[[Need], str]]] = (
        ("events/s learnt", "events/s learnt", lambda n: _number(min(n.per_s, cost["live_per_s"]))),
        ("trainer, µs CPU an event", "trainer, µs CPU/event", lambda _: _number(cost["live_us"])),
        ("trainer, MiB", "trainer, MiB", lambda _: _number(cost["resident_mib"])),
        ("bytes on disk, an event", "bytes on disk, an event", lambda _: _number(cost["event_bytes"])),
        ("bytes on disk, a pair", "bytes on disk, a pair", lambda _: _number(cost["pair_bytes"])),
        ("snapshots/s", "snapshots/s", lambda n: _number(n.snapshots_per_s)),
        (
            "bytes on the wire an event, one reader of snapshots",
            "bytes on the wire, an event",
            lambda n: _number((2 * n.log_bytes_per_s + 2 * n.feed_bytes_per_s) / n.per_s),
        ),
    )
    body = []
    for title, name, work_out in rows:
        both = zip(map(work_out, needs), row_in(load, name), strict=True)
        body.append((title, *(f"{worked_out} / {_number(measured)}" for worked_out, measured in both)))
    head = ("worked out / measured", *(f"{per_s:,g} events/s" for per_s in wanted))
    return _table(head, body)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    lines.insert(1, "|---" + "|---:" * (len(head) - 1) + "|")
    return "\n".join(lines)


def _number(value: float) -> str:
    """Three digits, in words from a million on."""
    if value < 0.001:
        return "under 0.001"
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if value >= size:
            return f"{value / size:.3g} {word}"
    return f"{float(f'{value:.3g}'):,g}"


def _bytes(value: float) -> str:
    for size, unit in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{float(f'{value / size:.3g}'):g} {unit}"
    return f"{value:.3g} B"


def _time(seconds: float) -> str:
    for span, unit in ((timedelta(days=1), "days"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if seconds >= 2 * span.total_seconds():
            return f"{seconds / span.total_seconds():.2g} {unit}"
    return f"{seconds:.2g} s"
