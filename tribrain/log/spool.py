"""``tribrain log spool``: shows and sends the events that wait on this computer for Kafka."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import orjson
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from streams.errors import BadInput, counted
from streams.kafka.probe import check_access
from streams.kafka.rights import Right
from streams.kafka.settings import Settings
from streams.spool.place import other_spools, spool_of
from streams.spool.queue import Spool, SpoolStatus
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.group import Group
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import PATH
from tribrain.shell.output import progress

_WAIT_S = 0.2
_STUCK_S = 30.0


@click.group(cls=Group)
def spool() -> None:
    """Show or send the events of a run that are saved on this computer and wait for Kafka.

    PATH is the run's folder, or the spool file itself.
    """


@spool.command(cls=Command, epilog="Example: tribrain log spool status runs/d")
@click.argument("path", type=PATH)
@options.spool_dir
@options.as_json
def status(path: Path, spool_dir: Path | None, as_json: bool) -> None:
    """Show what waits in a spool: runs, events, bytes, age, and what Kafka has refused."""
    path, others = _spools_at(path, spool_dir)
    with Spool(path, create=False) as opened:
        found = opened.status()
    if as_json:
        click.echo(orjson.dumps(_as_dict(found)))
        return
    waiting = sum(found.waiting.values())
    what = f"{counted(waiting, 'event')} of {counted(len(found.waiting), 'run')}"
    click.echo(f"{path}: {what} waiting, {counted(found.waiting_bytes, 'byte')}")
    if found.oldest_age_s is not None:
        click.echo(f"the oldest has waited for {found.oldest_age_s:.0f} s")
    for run_id, count in sorted(found.waiting.items()):
        click.echo(f"  {run_id}: {count:,}")
    _say_refused(found)
    _say_others(others)


@spool.command(
    cls=Command, epilog="Example: tribrain log spool flush runs/d --bootstrap-servers 127.0.0.1:9092"
)
@click.argument("path", type=PATH)
@bootstrap_servers
@options.spool_dir
@options.as_json
@click.pass_context
def flush(
    context: click.Context,
    path: Path,
    bootstrap_servers: str | None,
    spool_dir: Path | None,
    as_json: bool,
) -> None:
    """Send the events in a spool to Kafka, and remove the spool once it is empty.

    Refused events are tried again. It gives up after 30 s without progress; exit code 1 if anything is left.
    Sending twice does no harm.
    """
    path, others = _spools_at(path, spool_dir)
    with Spool(path, create=False) as opened:
        settings = open_kafka(bootstrap_servers)
        opened.wait_again()
        topics = sorted({record.topic for record in opened.oldest()})
        check_access(settings, [Right("Write", "topic", topic) for topic in topics])
        before = _count(opened.status())
        problem = _send(settings, opened, before)
        after = opened.status()
    sent = before - _count(after)
    if as_json:
        click.echo(orjson.dumps({"sent": sent, **_as_dict(after), "problem": problem}))
    else:
        click.echo(f"{path}: {counted(sent, 'event')} sent, {_count(after):,} left")
        _say_refused(after)
        if problem:
            click.echo(problem, err=True)
        _say_others(others)
    if _count(after):
        context.exit(1)


def _spools_at(path: Path, folder: Path | None) -> tuple[Path, list[Path]]:
    """The spool of a run's folder, wherever that is, and the run's other spools; else the named file.

    If the spool in use is not there, as nothing waits in it, another one takes its place.
    """
    if not path.is_dir():
        return path, []
    spool = spool_of(path, folder)
    others = other_spools(path, spool)
    if folder is None and others and not spool.exists():
        return others[0], others[1:]
    return spool, others


def _say_others(others: Sequence[Path]) -> None:
    for other in others:
        click.echo(f"this run has another spool; to send it: tribrain log spool flush {other}", err=True)


def _send(settings: Settings, opened: Spool, total: int) -> str | None:
    """Send the events. Why some that Kafka would take are left, in one line; None where none are."""
    if not total:
        return None
    # Not at the top: Kafka's client takes a third of a second, and the spool itself needs none.
    from streams.kafka.topics import create_topics
    from streams.spool.publisher import TracePublisher

    try:
        create_topics(settings)
    except BadInput as error:
        return str(error)
    with (
        progress(TextColumn("events"), BarColumn(), MofNCompleteColumn()) as shown,
        TracePublisher(settings, opened.path) as publisher,
    ):
        bar = shown.add_task("events", total=total)
        left, progressed = total, time.monotonic()
        while time.monotonic() - progressed < _STUCK_S:
            now_left = publisher.flush(_WAIT_S)
            shown.update(bar, completed=total - now_left)
            if opened.is_empty():
                return None
            if now_left < left:
                left, progressed = now_left, time.monotonic()
        return publisher.problem or f"nothing has got through for {_STUCK_S:g} s"


def _count(found: SpoolStatus) -> int:
    return sum(found.waiting.values()) + sum(map(len, found.quarantined.values()))


def _as_dict(found: SpoolStatus) -> dict[str, Any]:
    return {
        "waiting": found.waiting,
        "waiting_bytes": found.waiting_bytes,
        "oldest_age_s": found.oldest_age_s,
        "quarantined": found.quarantined,
    }


def _say_refused(found: SpoolStatus) -> None:
    for run_id, reasons in sorted(found.quarantined.items()):
        for reason in reasons:
            click.echo(f"  {run_id}: cannot be on Kafka: {reason}")
