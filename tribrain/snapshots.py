"""``tribrain snapshots``: what was published, and whether the log really gives it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import click
import orjson
from rich.console import Console
from rich.progress import MofNCompleteColumn, TextColumn
from rich.table import Table

from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.messages.codec import encode
from streams.messages.contracts import RewardSnapshot, Rollback
from streams.messages.stored import Outgoing, StoredMessage
from trainers.explain import log_odds
from trainers.relearn import learn_up_to, one_log, relearn
from tribrain import options
from tribrain.output import progress


@click.group()
def snapshots() -> None:
    """Published reward models."""


@snapshots.command("list", epilog="Example: tribrain snapshots list --bootstrap-servers 127.0.0.1:9092")
@options.bootstrap_servers
@options.model
@options.as_json
def list_snapshots(bootstrap_servers: str | None, model: str, as_json: bool) -> None:
    """The snapshots that the topic still holds, oldest first; it keeps the newest for good."""
    rows = [_summary(*held) for held in _held(Settings.from_environment(bootstrap_servers), model)]
    if as_json:
        click.echo(orjson.dumps({"snapshots": rows}))
        return
    table = Table()
    for column in ("version", "published", "gate", "labels", "log loss", "critics' mean"):
        table.add_column(column)
    for row in rows:
        labels = ", ".join(f"{n} {source}" for source, n in row["labels"].items())
        losses = (
            "–" if row[key] is None else f"{row[key]:.3f}" for key in ("log_loss", "log_loss_critics_mean")
        )
        table.add_row(str(row["version"]), row["published"], row["gate"], labels, *losses)
    Console().print(table)


@snapshots.command(epilog="Example: tribrain snapshots show --bootstrap-servers 127.0.0.1:9092")
@click.option("--version", type=click.IntRange(min=0), help="By default the newest.")
@options.bootstrap_servers
@options.model
@options.as_json
def show(version: int | None, bootstrap_servers: str | None, model: str, as_json: bool) -> None:
    """One snapshot: what it was made of, its evidence and its weights. --json gives it whole."""
    snapshot = _chosen(_held(Settings.from_environment(bootstrap_servers), model), version, model)
    if as_json:
        click.echo(encode(snapshot))
        return
    click.echo(f"model {snapshot.model!r}, version {snapshot.version}, {snapshot.gate}")
    click.echo(snapshot.statement)
    for name, effect in sorted(log_odds(snapshot).items(), key=lambda item: -item[1]):
        click.echo(f"  {effect:+.3f}  {name}")


@snapshots.command(epilog="Example: tribrain snapshots verify --bootstrap-servers 127.0.0.1:9092")
@click.option("--version", type=click.IntRange(min=0), help="Only this one; by default all that are held.")
@options.bootstrap_servers
@options.model
@options.as_json
def verify(version: int | None, bootstrap_servers: str | None, model: str, as_json: bool) -> None:
    """Learn the recorded pairs again up to each snapshot's stamp, and compare bit for bit.

    Exit code 1 where one differs.
    """
    settings = Settings.from_environment(bootstrap_servers)
    held = _held(settings, model)
    log = one_log([s for _, s in held])
    chosen = list(log.snapshots) if version is None else [_chosen(held, version, model)]
    if chosen[0].base != log.snapshots[0].base:
        raise BadInput(
            f"version {version} of model {model!r} is from a pairs topic that was deleted since; "
            "it cannot be computed again"
        )
    from streams.kafka.reader import read_topic

    with progress(TextColumn("snapshots"), MofNCompleteColumn()) as bar:
        task = bar.add_task("snapshots", total=len(chosen))
        differing = []
        recorded = read_topic(settings, settings.pairs_topic)
        for verdict in relearn(recorded, chosen, settings.pairs_topic, log.base):
            bar.advance(task)
            if not verdict.identical:
                differing.append(verdict.published.version)
    if as_json:
        of_earlier_log = log.earlier_log if version is None else 0
        figures = {"verified": len(chosen), "differing": differing, "of_earlier_log": of_earlier_log}
        click.echo(orjson.dumps(figures))
    elif differing:
        click.echo(f"{len(differing)} of {len(chosen)} snapshots DIFFER from what the log gives: {differing}")
    else:
        click.echo(f"{len(chosen)} snapshots are what the log gives, bit for bit")
    if differing:
        sys.exit(1)


@snapshots.command(
    epilog="Example: tribrain snapshots rollback --version 120 --bootstrap-servers 127.0.0.1:9092"
)
@click.option("--version", required=True, type=click.IntRange(min=1), help="The version to go back to.")
@click.option("--reason", default="", help="For whoever reads the log.")
@options.bootstrap_servers
@options.model
@options.as_json
def rollback(version: int, reason: str, bootstrap_servers: str | None, model: str, as_json: bool) -> None:
    """Go back to an earlier version of a model, also one that is not held any more.

    It is an event on the pairs topic, so a replay goes back at the same place. The trainer publishes the
    earlier model under a version of its own as soon as it reads the event. What was learnt since then stays
    unlearnt, also when it comes again.
    """
    from streams.kafka.reader import read_topic
    from streams.kafka.writer import produce

    settings = Settings.from_environment(bootstrap_servers)
    held = _held(settings, model)
    newest = held[-1][1]
    if version >= newest.version:
        raise BadInput(f"the newest version of model {model!r} is {newest.version}; give an earlier one")
    earlier = next((s for _, s in held if s.version == version), None)
    if earlier is None:
        with Console(stderr=True).status(f"learning the log again up to version {version}"):
            recorded = read_topic(settings, settings.pairs_topic)
            earlier = learn_up_to(recorded, version, one_log([s for _, s in held]))
    if earlier is None:
        raise BadInput(
            f"model {model!r} never had version {version}; "
            "tribrain snapshots list names some of those that it had"
        )
    event = Rollback(model=model, reason=reason, snapshot=encode(earlier).decode())
    list(produce(settings, [Outgoing(settings.pairs_topic, model.encode(), encode(event))]))
    if as_json:
        click.echo(orjson.dumps({"model": model, "rolled_back_to": version, "from_version": newest.version}))
        return
    click.echo(
        f"model {model!r} goes back from version {newest.version} to what it was at version {version}, "
        "as soon as its trainer reads it"
    )


def _held(settings: Settings, model: str) -> list[tuple[StoredMessage, RewardSnapshot]]:
    # Not at the top: Kafka's client takes a third of a second, and --help needs none.
    from streams.snapshots.feed import read_snapshots

    held = read_snapshots(settings).get(model, [])
    if not held:
        raise BadInput(
            f"no snapshot of model {model!r} at {settings.bootstrap_servers}; is its trainer running?"
        )
    return held


def _chosen(
    held: list[tuple[StoredMessage, RewardSnapshot]], version: int | None, model: str
) -> RewardSnapshot:
    if version is None:
        return held[-1][1]
    for _, snapshot in held:
        if snapshot.version == version:
            return snapshot
    raise BadInput(f"no version {version} of model {model!r} is held; tribrain snapshots list names them")


def _summary(message: StoredMessage, snapshot: RewardSnapshot) -> dict[str, Any]:
    trusted = snapshot.metrics["trusted"] or {}
    return {
        "version": snapshot.version,
        "published": datetime.fromtimestamp(message.timestamp_ms / 1000, UTC).isoformat(timespec="seconds"),
        "gate": snapshot.gate,
        "labels": snapshot.labels,
        "log_loss": trusted.get("log_loss"),
        "log_loss_critics_mean": trusted.get("log_loss_critics_mean"),
        "checksum": snapshot.checksum,
    }
