"""Commands around the log: a local broker, the topics, and traces of finished runs."""

from __future__ import annotations

import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson
from rich.console import Console

from streams.errors import BadInput, counted
from streams.kafka.security import NOT_SECURED
from streams.kafka.settings import Settings
from streams.messages.files import read_trace
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.exit_codes import FAILED
from tribrain.shell.group import Group
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import PATH, Integer

if TYPE_CHECKING:
    from streams.spool.publish_now import PublishedTrace

_LOOK_AGAIN_S = 0.2


@click.command(cls=Command, epilog="Example: tribrain serve broker --port 9092 --data-dir ~/tribrain-kafka")
@click.option("--port", type=Integer(1, 65535), show_default="a free one", help="Port on 127.0.0.1.")
@click.option(
    "--data-dir",
    type=PATH,
    metavar="FOLDER",
    show_default="a temporary one",
    help="Folder that keeps the log.",
)
@click.option(
    "--fetch-only", is_flag=True, help="Only fetch Apache Kafka's files, so that later starts are fast."
)
@options.as_json
def broker(port: int | None, data_dir: Path | None, fetch_only: bool, as_json: bool) -> None:
    """Run a Kafka broker on 127.0.0.1, with the topics created, until Ctrl-C.

    It is Apache Kafka where Java 17 or newer and Kafka's files (Maven, or KAFKA_HOME) are available, else
    librdkafka's in-memory test broker, as the output says. Exit code 1 if the broker dies.
    """
    # Not at the top, here and below: Kafka's clients take a third of a second, and --help needs none.
    from streams.kafka.topics import create_topics
    from streams.local_broker.broker import fetch_kafka, start_local_broker

    if fetch_only:
        note = fetch_kafka()
        if as_json:
            click.echo(orjson.dumps({"note": note}))
        else:
            click.echo(note, err=True)
        return
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with start_local_broker(port=port, data_dir=data_dir) as running:
        own = replace(Settings.from_environment(running.bootstrap_servers), security=NOT_SECURED)
        create_topics(own)
        if as_json:
            click.echo(
                orjson.dumps({"bootstrap_servers": running.bootstrap_servers, "broker": running.description})
            )
        else:
            click.echo(f"{running.note}; Ctrl-C ends it")
        # A wait without an end may miss a signal that comes as it begins.
        while not stop.wait(_LOOK_AGAIN_S):
            if failure := running.failure:
                click.echo(f"tribrain: {failure}", err=True)
                sys.exit(FAILED)


@click.group(cls=Group)
def topics() -> None:
    """Create the topics on a Kafka broker."""


@topics.command(cls=Command, epilog="Example: tribrain log topics create --bootstrap-servers 127.0.0.1:9092")
@bootstrap_servers
@click.option("--trace-partitions", type=Integer(min=1), default=4, help="Partitions of the trace topic.")
@options.replication_factor
@options.as_json
def create(
    bootstrap_servers: str | None, trace_partitions: int, replication_factor: int, as_json: bool
) -> None:
    """Create missing topics.

    An existing topic stays as it is, but for its max.message.bytes, which is raised where it is too small.
    """
    from streams.kafka.topics import create_topics

    given = open_kafka(bootstrap_servers, "log topics create")
    settings = replace(given, trace_partitions=trace_partitions, replication_factor=replication_factor)
    result = create_topics(settings, raise_limits=True)
    if as_json:
        click.echo(orjson.dumps(result))
        return
    click.echo("created: " + (", ".join(result.created) or "none"))
    click.echo("existed: " + (", ".join(result.existed) or "none"))
    if result.raised:
        click.echo("take larger messages now: " + ", ".join(result.raised))


@click.command(
    cls=Command,
    epilog="Example: tribrain log publish runs/a/trace.jsonl --bootstrap-servers 127.0.0.1:9092",
)
@click.argument("trace", type=PATH)
@bootstrap_servers
@options.as_json
def publish_trace(trace: Path, bootstrap_servers: str | None, as_json: bool) -> None:
    """Send the trace of a finished run to Kafka, with an end of the run if it lacks one.

    A running tribrain serve trainer makes pairs of it. Sending a trace twice is harmless.
    """
    read_trace(trace)  # before anything is asked of the broker
    settings = open_kafka(bootstrap_servers, "log publish")
    published = send_trace(settings, trace)
    if as_json:
        click.echo(orjson.dumps(published))
    else:
        added = " and its end, which the file lacks" if published.ends_added else ""
        click.echo(f"{trace}: {counted(published.events, 'event')}{added} sent to {settings.trace_topic}")
    require_all_sent(trace, published)


def send_trace(settings: Settings, trace: Path) -> PublishedTrace:
    """Create missing topics, send a trace, and wait until it has arrived. Raises BadInput."""
    from streams.kafka.topics import create_topics
    from streams.spool.publish_now import publish_trace_file

    create_topics(settings)
    with Console(stderr=True).status(f"sending {trace}"):
        return publish_trace_file(settings, trace)


def require_all_sent(trace: Path, published: PublishedTrace) -> None:
    """Raises BadInput where Kafka cannot hold some of the events."""
    if published.refused:
        reasons = "; ".join(f"{run}: {', '.join(why)}" for run, why in published.refused.items())
        raise BadInput(f"{trace}: some events cannot be on Kafka: {reasons}")
