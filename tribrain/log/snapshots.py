"""``tribrain log snapshots``: shows published models, checks them against the log, and rolls back."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import click
import orjson
from rich.console import Console
from rich.progress import MofNCompleteColumn, TextColumn
from rich.table import Table

from streams.errors import BadInput, counted
from streams.messages.codec import encode
from streams.messages.contracts import Checkpoint, RewardSnapshot
from streams.messages.held import Held
from streams.messages.stored import StoredMessage
from tribrain.log.rollback import held_of_model, roll_back
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.group import Group
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import Integer
from tribrain.shell.output import progress
from tribrain.story.model import odds_of_all


@click.group(cls=Group)
def snapshots() -> None:
    """List, show, verify or roll back published reward models."""


@snapshots.command(
    "list", cls=Command, epilog="Example: tribrain log snapshots list --bootstrap-servers 127.0.0.1:9092"
)
@bootstrap_servers
@options.model
@options.as_json
def list_snapshots(bootstrap_servers: str | None, model: str, as_json: bool) -> None:
    """List the snapshots on the topic, oldest first; it always keeps the newest."""
    rows = [
        _summary(*held)
        for held in held_of_model(open_kafka(bootstrap_servers, "log snapshots list"), model).snapshots
    ]
    if as_json:
        click.echo(orjson.dumps({"snapshots": rows}))
        return
    table = Table()
    for column in ("version", "published", "gate", "labels", "log loss", "critics' mean"):
        table.add_column(column)
    for row in rows:
        labels = ", ".join(f"{n:,} {source}" for source, n in row["labels"].items())
        losses = (
            "–" if row[key] is None else f"{row[key]:.3f}" for key in ("log_loss", "log_loss_critics_mean")
        )
        table.add_row(str(row["version"]), row["published"], row["gate"], labels, *losses)
    Console().print(table)


@snapshots.command(
    cls=Command, epilog="Example: tribrain log snapshots show --bootstrap-servers 127.0.0.1:9092"
)
@click.option("--version", type=Integer(min=0), show_default="the newest", help="Version of the snapshot.")
@bootstrap_servers
@options.model
@options.as_json
def show(version: int | None, bootstrap_servers: str | None, model: str, as_json: bool) -> None:
    """Show one snapshot: its labels, evidence and odds; --json gives all of it."""
    snapshot = _chosen(
        held_of_model(open_kafka(bootstrap_servers, "log snapshots show"), model), version, model
    )
    if as_json:
        click.echo(encode(snapshot))
        return
    click.echo(f"model {snapshot.model!r}, version {snapshot.version}, {snapshot.gate}")
    click.echo(snapshot.statement)
    click.echo("\n".join(odds_of_all(snapshot)))


@snapshots.command(
    cls=Command, epilog="Example: tribrain log snapshots verify --bootstrap-servers 127.0.0.1:9092"
)
@click.option("--version", type=Integer(min=0), show_default="all", help="Version of the snapshot.")
@bootstrap_servers
@options.model
@options.as_json
def verify(version: int | None, bootstrap_servers: str | None, model: str, as_json: bool) -> None:
    """Learn the recorded pairs again up to each snapshot's offset, and compare bit for bit.

    Without --version the trainer's checkpoints are compared as well. Exit code 1 where one differs.
    """
    # Not at the top: what learns takes a second to load, and --help needs none of it.
    from trainers.processing.relearn import in_order, one_log, relearn

    settings = open_kafka(bootstrap_servers, "log snapshots verify")
    held = held_of_model(settings, model)
    log = one_log(held)
    chosen = list(log.snapshots) if version is None else [_chosen(held, version, model)]
    if chosen[0].base != log.snapshots[0].base:
        raise BadInput(
            f"version {version} of model {model!r} is from a pairs topic that was deleted since; "
            "it cannot be computed again"
        )
    checkpoints = list(log.checkpoints()) if version is None else []
    from streams.kafka.reader import read_topic

    with (
        progress(TextColumn("snapshots"), MofNCompleteColumn()) as bar,
        closing(read_topic(settings, settings.pairs_topic)) as recorded,
    ):
        published = in_order([*chosen, *checkpoints], settings.pairs_topic)
        task = bar.add_task("snapshots", total=len(published))
        differing: dict[str, list[int]] = {RewardSnapshot.SCHEMA: [], Checkpoint.SCHEMA: []}
        for verdict in relearn(recorded, published, settings.pairs_topic, log):
            bar.advance(task)
            if not verdict.identical:
                differing[verdict.published.SCHEMA].append(verdict.published.version)
    snapshots, states = differing.values()
    if as_json:
        figures = {
            "verified": len(chosen),
            "differing": snapshots,
            "checkpoints_verified": len(checkpoints),
            "checkpoints_differing": states,
            "of_earlier_log": log.earlier_log if version is None else 0,
        }
        click.echo(orjson.dumps(figures))
    else:
        _say_verified("snapshot", len(chosen), snapshots)
        if checkpoints:
            _say_verified("checkpoint", len(checkpoints), states)
    if snapshots or states:
        sys.exit(1)


def _say_verified(what: str, n: int, differing: list[int]) -> None:
    if differing:
        click.echo(f"{len(differing)} of {counted(n, what)} not what the log gives: {differing}")
    else:
        click.echo(f"{counted(n, what)} compared: what the log gives, bit for bit")


@snapshots.command(
    cls=Command,
    epilog="Example: tribrain log snapshots rollback --version 120 --bootstrap-servers 127.0.0.1:9092",
)
@click.option("--version", required=True, type=Integer(min=1), help="Version of the snapshot to go back to.")
@click.option("--reason", default="", metavar="TEXT", show_default=False, help="Reason to record.")
@bootstrap_servers
@options.model
@options.as_json
def rollback(version: int, reason: str, bootstrap_servers: str | None, model: str, as_json: bool) -> None:
    """Roll a reward model back to an earlier version, also to one that the topic no longer holds.

    The rollback is an event on the pairs topic, so that a replay goes back at the same place. The trainer
    then publishes the earlier model under a new version. Pairs learnt since are dropped, also if they come
    again.
    """
    settings = open_kafka(bootstrap_servers, "log snapshots rollback")
    with Console(stderr=True).status(f"going back to version {version}"):
        newest = roll_back(settings, model, version, reason)
    if as_json:
        click.echo(orjson.dumps({"model": model, "rolled_back_to": version, "from_version": newest}))
        return
    click.echo(
        f"model {model!r} goes back from version {newest} to what it was at version {version}, "
        "as soon as its trainer reads it"
    )


def _chosen(held: Held, version: int | None, model: str) -> RewardSnapshot:
    if version is None:
        return held.snapshots[-1][1]
    for _, snapshot in held.snapshots:
        if snapshot.version == version:
            return snapshot
    raise BadInput(
        f"no version {version} of model {model!r} is held; tribrain log snapshots list shows the versions"
    )


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
