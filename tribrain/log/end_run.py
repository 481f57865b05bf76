"""``tribrain run end``: ends runs whose own process no longer can."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import click
import orjson
from rich.console import Console

from streams.errors import BadInput, counted
from streams.messages.codec import ContractError, decode_run_closed, decode_trace, encode
from streams.messages.contracts import RunEnd, RunRevision, TraceEvent
from streams.messages.stored import Outgoing, StoredMessage
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import Seconds


@click.command(
    cls=Command,
    epilog="Example: tribrain run end --silent-for-s 1h --bootstrap-servers 127.0.0.1:9092",
)
@click.argument("run_ids", metavar="[RUN_ID]…", nargs=-1)
@click.option(
    "--silent-for-s",
    type=Seconds(min=0.0),
    help="End every open run without an event for this time.",
)
@click.option("--reason", default="ended by hand", metavar="TEXT", help="Reason to record.")
@bootstrap_servers
@options.as_json
def end_run(
    run_ids: tuple[str, ...],
    silent_for_s: float | None,
    reason: str,
    bootstrap_servers: str | None,
    as_json: bool,
) -> None:
    """End abandoned runs with the iterations that are on Kafka, as the trainer does after its timeout.

    A trainer holds the events of open runs in memory and reads them again after a crash. Later events of an
    ended run become dead letters. Of a run that is being rescored every open revision is ended.
    """
    if bool(run_ids) == (silent_for_s is not None):
        raise BadInput("give either the ids of runs or --silent-for-s")
    settings = open_kafka(bootstrap_servers, "run end")

    # Not at the top: Kafka's client takes a third of a second, and --help needs none.
    from streams.kafka.reader import read_topic
    from streams.kafka.writer import produce

    with Console(stderr=True).status(f"reading {settings.trace_topic}"):
        closed = {
            decode_run_closed(message.value, message.source).run
            for message in read_topic(settings, settings.closed_runs_topic)
        }
        open_runs = _open_runs(read_topic(settings, settings.trace_topic), closed)
    if silent_for_s is not None:
        before_ms = (time.time() - silent_for_s) * 1000
        chosen = [name for name, run in open_runs.items() if run.last_message_ms <= before_ms]
    else:
        known = {run_id for run_id, _ in open_runs}
        for run_id in run_ids:
            if run_id not in known:
                raise BadInput(f"{settings.trace_topic} has no open run {run_id!r}; check its id")
        chosen = [name for name in open_runs if name[0] in run_ids]
    ends = [
        RunEnd(
            run_id=run_id,
            iterations=tuple(sorted(open_runs[run_id, revision].iterations)),
            stop_reason=reason,
            meta={"revision": revision} if revision else {},
        )
        for run_id, revision in chosen
    ]
    list(produce(settings, [Outgoing(settings.trace_topic, e.run_id.encode(), encode(e)) for e in ends]))
    if as_json:
        click.echo(orjson.dumps({"ended": {_in_words(end): end.iterations for end in ends}}))
        return
    for end in ends:
        click.echo(f"run {_in_words(end)} is ended with {counted(len(end.iterations), 'iteration')}")
    if not ends:
        click.echo("no open run to end")


def _in_words(end: RunEnd) -> str:
    return f"{end.run_id} (revision {end.revision})" if end.revision else end.run_id


@dataclass(slots=True)
class _OpenRun:
    iterations: set[int] = field(default_factory=set)
    last_message_ms: int = 0


def _open_runs(
    messages: Iterable[StoredMessage], closed: Collection[RunRevision]
) -> dict[RunRevision, _OpenRun]:
    """Runs that no pair former has reported as closed; unreadable messages are skipped."""
    runs: dict[RunRevision, _OpenRun] = {}
    for message in messages:
        try:
            event = decode_trace(message.value, message.source)
        except ContractError:
            continue
        run = runs.setdefault(event.run, _OpenRun())
        run.last_message_ms = max(run.last_message_ms, message.timestamp_ms)
        if isinstance(event, TraceEvent):
            run.iterations.add(event.iter_idx)
    return {name: run for name, run in runs.items() if name not in closed}
