"""``tribrain status``: the whole system on one screen."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import orjson
from cloup import option_group

from streams.errors import counted
from streams.kafka.security_sources import read_sources
from streams.kafka.settings import BOOTSTRAP_SERVERS_VARIABLE
from streams.metrics.snapshots import SnapshotFigures
from trainers.evidence.gate import OPENS_AT
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.exit_codes import FAILED
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import Seconds
from tribrain.watch.health import checked
from tribrain.watch.look import Status, Trainers, look


@click.command(cls=Command, epilog="Example: tribrain status --bootstrap-servers 127.0.0.1:9092")
@option_group("Kafka", bootstrap_servers, options.model)
@option_group(
    "This computer",
    options.some_runs,
    options.spool_dir,
    click.option(
        "--url", "urls", multiple=True, metavar="URL", help="Health address of a service (repeatable)."
    ),
)
@option_group(
    "Output",
    click.option("--watch", is_flag=True, help="Show the status again and again, until Ctrl-C."),
    click.option("--every-s", type=Seconds(min=0.1), default="5s", help="Time between two looks of --watch."),
    options.as_json,
)
def status(
    bootstrap_servers: str | None,
    model: str,
    runs: tuple[Path, ...],
    spool_dir: Path | None,
    urls: tuple[str, ...],
    watch: bool,
    every_s: float,
    as_json: bool,
) -> None:
    """Show the state of Kafka, trainers, models, dead letters, spools and services.

    Exit code 1 where something needs attention; the last lines say what, and what to do. Spools are looked
    for in the folders --runs.
    """
    settings = None
    named = os.environ.get(BOOTSTRAP_SERVERS_VARIABLE) or read_sources().bootstrap_servers
    if bootstrap_servers or named or not (runs or urls):
        settings = open_kafka(bootstrap_servers, "status", model)
    asked = [checked(url) for url in urls]
    while True:
        found = look(settings, model, runs, spool_dir, asked)
        if as_json:
            click.echo(orjson.dumps(found.as_dict()))
        else:
            if watch and sys.stdout.isatty():
                click.clear()
            click.echo("\n".join(lines(found, time.time())))
        if not watch:
            break
        sys.stdout.flush()
        time.sleep(every_s)
    if found.attention:
        sys.exit(FAILED)


def lines(found: Status, now_s: float) -> Iterator[str]:
    """The lines of the screen."""
    if found.broker:
        counts = ", ".join(_called(topic, n) for topic, n in found.messages.items())
        nothing = "see below" if found.answers else "no answer"
        disk = found.kafka_disk
        free = "" if disk is None else f"; {disk['free_bytes'] / 2**30:.1f} GiB of its disk is free"
        yield _row("Kafka", f"{found.broker}: {counts or nothing}{free}")
    if found.trainers is not None:
        yield _row("Trainers", _in_words(found.trainers, found.model))
        for figures in found.snapshots:
            yield _row(f"Model ({figures.kind})", _model(figures, now_s))
        if not found.snapshots:
            yield _row("Model", f"{found.model!r} has no snapshot yet")
        letters = ", ".join(f"{n:,} {kind}" for kind, n in sorted(found.dead_letters.items()))
        yield _row("Dead letters", letters or "none")
    for spool in found.spools:
        age = "" if spool.oldest_s is None else f", for up to {spool.oldest_s:.0f} s"
        yield _row("Spool", f"{spool.path}: {counted(spool.records, 'event')} waiting{age}")
    for service in found.services:
        yield _row("Service", f"{service.url}: {service.said}")
    yield ""
    if not found.broker:
        yield "No Kafka broker was named, so only this computer was looked at."
    if not found.attention:
        yield "All is well."
        return
    yield "Needs attention:"
    yield from (f"- {sentence}" for sentence in found.attention)


def _called(topic: str, n: int) -> str:
    if topic == "pairs":
        return "1 pair or end" if n == 1 else f"{n:,} pairs and ends"
    return counted(n, {"trace": "event", "votes": "vote"}[topic])


def _row(name: str, what: str) -> str:
    return f"{name:<14}{what}"


def _in_words(trainers: Trainers, model: str) -> str:
    if trainers.members is None:
        return "this broker does not report group members"
    who = "nobody reads" if not trainers.members else f"{trainers.members} read"
    behind = {name: unread.messages for name, unread in trainers.unread.items()}
    waits = (
        f"in no checkpoint: {_called('pairs', behind.get('pairs', 0))}; unread, or held by open runs and "
        f"waiting votes: {counted(behind.get('trace', 0) + behind.get('votes', 0), 'message')}"
    )
    return f"{who} for model {model!r}; {waits}"


def _model(figures: SnapshotFigures, now_s: float) -> str:
    parts = [f"version {figures.version}, {'active' if figures.is_active else 'shadow'}"]
    if figures.published_s is not None:
        parts.append(f"published {max(0.0, now_s - figures.published_s):.0f} s ago")
    if figures.evidence is not None:
        needed = "" if figures.is_active else f" of the {OPENS_AT:g} needed"
        parts.append(f"evidence {figures.evidence:,.1f}{needed}")
    losses = figures.log_losses
    if len(losses) == 2:
        parts.append(f"log loss {losses['model']:.3f}, critics' mean {losses['critics_mean']:.3f}")
    labels = ", ".join(counted(n, f"{source} label") for source, n in figures.labels.items() if n)
    parts.append(f"made of {labels or 'no labels'}")
    return "; ".join(parts)
