"""``tribrain log backup`` and ``restore``: saves the log to a file, and restores it to an empty broker."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
import orjson
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from streams.errors import counted
from streams.kafka.probe import check_access
from streams.kafka.rights import Right
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import PATH
from tribrain.shell.output import cannot_write, columns, progress

if TYPE_CHECKING:
    from streams.backup.archive import Contents

_BAR = (
    TextColumn("{task.description}"),
    BarColumn(),
    TextColumn("{task.completed} messages"),
    TimeRemainingColumn(),
)


@click.command(
    cls=Command,
    epilog="Example: tribrain log backup tribrain.backup --bootstrap-servers 127.0.0.1:9092",
)
@click.argument("out", type=PATH)
@bootstrap_servers
@options.as_json
def backup(out: Path, bootstrap_servers: str | None, as_json: bool) -> None:
    """Write all topics and all groups' offsets to the file OUT.

    It works at any time, also while runs publish and trainers learn: everything on Kafka at the start is in
    the backup, and a trainer continues from it as after a crash. An earlier file OUT is replaced once the new
    one is complete. Videos and adapters are not included; the log names them.
    """
    settings = open_kafka(bootstrap_servers, "log backup")

    # Not at the top, here and below: Kafka's clients take a third of a second, and --help needs none.
    from streams.backup.collect import back_up, size_of_log

    with progress(*_BAR) as bar:
        task = bar.add_task("read", total=size_of_log(settings))
        try:
            written, contents = back_up(settings, out, lambda n: bar.advance(task, n))
        except OSError as error:
            raise cannot_write(out, error) from None
    if as_json:
        told = {"out": str(out), "bytes": written.size, "sha256": written.sha256}
        click.echo(orjson.dumps(told | _told(contents)))
        return
    held = counted(contents.records, "message")
    click.echo(f"{out}: {held} in {counted(written.size, 'byte')}, as of {_moment(contents)}")
    _say(contents)


@click.command(
    cls=Command,
    epilog="Example: tribrain log restore tribrain.backup --bootstrap-servers 127.0.0.1:9092",
)
@click.argument("file", type=PATH)
@bootstrap_servers
@click.option("--check", is_flag=True, help="Only check that the file is complete; needs no broker.")
@options.replication_factor
@options.as_json
def restore(
    file: Path, bootstrap_servers: str | None, check: bool, replication_factor: int, as_json: bool
) -> None:
    """Restore a backup's topics and offsets to a broker whose topics are missing or empty.

    Each message gets its own offset, key, headers and time, and is read back and compared, so that trainers,
    page and replays continue as before. Stop them, and runs, until it is done. If interrupted, run the same
    command again: it continues. No trainer starts before it is done.
    """
    from streams.backup.archive import open_archive

    if check:
        archive = open_archive(file)
        figures: dict[str, Any] = {"whole": True}
        held = counted(archive.contents.records, "message")
        done = f"{file} is whole: {held}, as of {_moment(archive.contents)}"
    else:
        archive = open_archive(file)  # before anything is asked of the broker
        given = open_kafka(bootstrap_servers, "log restore")
        settings = replace(given, replication_factor=replication_factor)
        # For the groups of all models, and before anything is written.
        check_access(settings, [Right("Read", "group", name) for name in archive.contents.groups])

        from streams.backup.restore import restore as bring_back

        # aiokafka logs an error a second while a broker is away; the end reports it once.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        with progress(*_BAR) as bar:
            # Each message is written and compared.
            task = bar.add_task("write and compare", total=2 * archive.contents.records)
            restored = bring_back(settings, archive, lambda n: bar.advance(task, n))
        figures = {"restored": restored.records, "resumed": restored.resumed}
        done = (
            f"{counted(restored.records, 'message')} restored to {settings.bootstrap_servers}, "
            f"each at its offset, as of {_moment(archive.contents)}; "
            "tribrain log verify compares pairs, snapshot and replay"
        )
    if as_json:
        told = {"file": str(file), "sha256": archive.sha256}
        click.echo(orjson.dumps(told | figures | _told(archive.contents)))
        return
    click.echo(done)
    _say(archive.contents)


def _told(contents: Contents) -> dict[str, Any]:
    return {
        "as_of": _moment(contents),
        "records": contents.records,
        "topics": msgspec.to_builtins(contents.topics),
        "groups": msgspec.to_builtins(contents.groups),
    }


def _say(contents: Contents) -> None:
    rows = [
        (
            name,
            counted(sum(partition.records for partition in topic.partitions), "message"),
            counted(len(topic.partitions), "partition"),
        )
        for name, topic in contents.topics.items()
    ]
    click.echo(columns(rows))
    click.echo("groups: " + (", ".join(contents.groups) or "none"))


def _moment(contents: Contents) -> str:
    return datetime.fromtimestamp(contents.created_ms / 1000, UTC).isoformat(timespec="seconds")
