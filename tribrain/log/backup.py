"""``tribrain backup`` and ``tribrain restore``: the whole log into a file, and onto an empty broker."""

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
    """Write all topics and the offsets of all groups into the file OUT.

    It may be taken at any time, also while runs publish and trainers work: all that Kafka had when it began
    is in it, and a trainer goes on from it as after a crash. The file that OUT was stays until the new one is
    whole, so the same name can be used again and again. Videos and adapters are not in it: the log names
    them.
    """
    settings = open_kafka(bootstrap_servers, "backup")

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
    click.echo(f"{out}: {contents.records} messages in {written.size} bytes, as of {_moment(contents)}")
    _say(contents)


@click.command(
    cls=Command,
    epilog="Example: tribrain log restore tribrain.backup --bootstrap-servers 127.0.0.1:9092",
)
@click.argument("file", type=PATH)
@bootstrap_servers
@click.option(
    "--check", is_flag=True, help="Only read the file, and say whether it is whole; asks no broker."
)
@click.option("--replication-factor", type=click.IntRange(min=1), default=1, show_default=True)
@options.as_json
def restore(
    file: Path, bootstrap_servers: str | None, check: bool, replication_factor: int, as_json: bool
) -> None:
    """Bring the topics and the offsets of all groups to a broker that has none, or empty ones.

    Every message comes to its own offset, with its key, headers and time, and is then read back and compared.
    So trainers, page and replays go on as if nothing had been. Stop them, and runs, until it is done. Ended
    at any moment, the same command goes on where it was; until then no trainer starts.
    """
    from streams.backup.archive import open_archive

    if check:
        archive = open_archive(file)
        figures: dict[str, Any] = {"whole": True}
        done = f"{file} is whole: {archive.contents.records} messages, as of {_moment(archive.contents)}"
    else:
        given = open_kafka(bootstrap_servers, "restore")
        settings = replace(given, replication_factor=replication_factor)
        archive = open_archive(file)
        # Of other models than the default one, too, and before anything is written.
        check_access(settings, [Right("Read", "group", name) for name in archive.contents.groups])

        from streams.backup.restore import restore as bring_back

        # It logs an error a second while a broker is away, and the end says that once.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        with progress(*_BAR) as bar:
            # Each is written and compared.
            task = bar.add_task("write and compare", total=2 * archive.contents.records)
            restored = bring_back(settings, archive, lambda n: bar.advance(task, n))
        figures = {"restored": restored.records, "resumed": restored.resumed}
        done = (
            f"{restored.records} messages are at {settings.bootstrap_servers} again, each at its offset, as "
            f"of {_moment(archive.contents)}; `tribrain verify-state` compares pairs, snapshot and replay"
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
            f"{sum(partition.records for partition in topic.partitions)} messages",
            f"{len(topic.partitions)} partition" + ("s" if len(topic.partitions) > 1 else ""),
        )
        for name, topic in contents.topics.items()
    ]
    click.echo(columns(rows))
    click.echo("groups: " + (", ".join(contents.groups) or "none"))


def _moment(contents: Contents) -> str:
    return datetime.fromtimestamp(contents.created_ms / 1000, UTC).isoformat(timespec="seconds")
