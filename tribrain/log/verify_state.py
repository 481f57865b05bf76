"""``tribrain log verify``: compares the pairs topic, the newest snapshot and a replay."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
import orjson
from rich.console import Console
from rich.progress import SpinnerColumn, TextColumn
from rich.table import Table

from streams.errors import BadInput, counted
from streams.kafka.settings import Settings, trainer_group
from streams.messages.contracts import PairStrategy
from streams.messages.stored import StoredMessage
from trainers.pairs.pairing import PairingRules
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.output import progress

if TYPE_CHECKING:
    from trainers.processing.verify import StateReport


@click.command(cls=Command, epilog="Example: tribrain log verify --bootstrap-servers 127.0.0.1:9092")
@bootstrap_servers
@options.model
@options.model_by
@options.strategy
@options.min_gap
@options.top_k
@options.as_json
def verify_state(
    bootstrap_servers: str | None,
    model: str,
    model_by: str | None,
    strategy: PairStrategy,
    min_gap: float,
    top_k: int,
    as_json: bool,
) -> None:
    """Check that the pairs, the newest snapshot and a replay of the log agree.

    Pairs are formed again from traces and votes, and the recorded pairs are learnt again. Give the options of
    the trainer. Exit code 1 where a pair is missing, unexplained or not learnt exactly once, or where the
    newest snapshot differs; a trainer that is only behind is no failure.
    """
    settings = open_kafka(bootstrap_servers, "log verify", model)
    rules = PairingRules(strategy=strategy, min_gap=min_gap, top_k=top_k, model=model, model_by=model_by)
    with progress(SpinnerColumn(), TextColumn("{task.completed} messages")) as bar:
        counter = bar.add_task("messages", total=None)
        reports = state_of(settings, rules, lambda: bar.advance(counter))
    if not any(report.known for report in reports):
        raise BadInput(
            f"no pair and no snapshot of model {model!r} at {settings.bootstrap_servers}; "
            "is its trainer running?"
        )
    consistent = all(report.consistent for report in reports)
    if as_json:
        settled = all(report.settled for report in reports)
        models = [asdict(r) | {"consistent": r.consistent, "settled": r.settled} for r in reports]
        click.echo(orjson.dumps({"consistent": consistent, "settled": settled, "models": models}))
    else:
        for report in reports:
            _say(report)
    if not consistent:
        sys.exit(1)


def state_of(
    settings: Settings, rules: PairingRules, on_message: Callable[[], None] = lambda: None
) -> list[StateReport]:
    """The reports on what Kafka holds now; ``on_message`` is called for every message that is read.

    May be called while trainers run. Raises BadInput where a topic is missing or the broker is away.
    """
    # Not at the top: Kafka's client and what learns take a second to load, and --help needs none of it.
    from streams.kafka.closed_runs import committed_offsets
    from streams.kafka.reader import read_topic
    from streams.snapshots.feed import read_held
    from trainers.processing.verify import verify_state as compare

    def passed(topic: str) -> Iterator[StoredMessage]:
        for message in opened.enter_context(closing(read_topic(settings, topic))):
            on_message()
            yield message

    committed = committed_offsets(settings, trainer_group(settings, rules.model), settings.votes_topic)
    # In reverse: pairs read after a snapshot include all that it has learnt, and so do the traces.
    held = {name: of_model for name, of_model in read_held(settings).items() if rules.learns(name)}
    with ExitStack() as opened:
        pairs = list(passed(settings.pairs_topic))
        votes = list(passed(settings.votes_topic))
        return compare(
            passed(settings.trace_topic),
            pairs,
            held,
            rules,
            pairs_topic=settings.pairs_topic,
            votes=votes,
            votes_committed=committed.get(0, 0),
        )


def _say(report: StateReport) -> None:
    table = Table(title=f"model {report.model!r}", show_header=False)
    recorded = (
        "not counted after a rollback or on another log"
        if report.recorded is None
        else f"{report.recorded:,}"
    )
    rows = {
        "pairs on the topic": f"{report.pairs:,}, of them {report.from_elsewhere:,} from elsewhere; "
        f"repetitions: {report.repeated:,}",
        "missing": _some(report.missing),
        "unexplained": _some(report.unexplained),
        "runs not closed yet": _some(report.not_closed),
        "votes not formed yet": f"{report.votes_to_come:,}",
        "open runs": f"{report.open_runs:,}",
        "newest snapshot": "none" if report.version is None else f"version {report.version}",
        "pairs learnt": f"{report.learnt:,} (on the topic until then: {recorded}; since then: "
        f"{report.not_learnt:,})",
        "bit for bit": {True: "yes", False: "NO", None: "–"}[report.identical],
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)
    if not report.consistent:
        click.echo("NOT consistent: pairs, snapshot and replay differ")
    elif not report.settled:
        click.echo("consistent, and the trainer has not come to the end of the log")
    else:
        left = (
            f"; {counted(report.open_runs, 'run')} open"
            if report.open_runs
            else ", and nothing is left to do"
        )
        click.echo(f"consistent: pairs, snapshot and replay agree{left}")


def _some(names: tuple[str, ...]) -> str:
    listed = ", ".join(names[:20])
    return f"{len(names):,}" + (f": {listed}{' …' if len(names) > 20 else ''}" if names else "")
