"""``python -m tests.bench``: the same job in memory, from a broker's log, and by the live trainer."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import click
import orjson
from kafka.errors import KafkaError

from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.kafka.topics import connect_admin, create_topics
from streams.local_broker.broker import start_local_broker
from streams.spool.publish_now import publish_messages
from tests.bench.jobs import Measurement, in_memory, replay
from tests.bench.live import live
from tests.bench.results import LIMIT, as_json, as_text, disagreements
from tests.bench.workload import Workload, make_workload
from tribrain import options

REPLAY = "offline replay"
LIVE = "live agent"

_PUBLISH_S = 60.0
_WARM_UP_EVENTS = 450

Measured = dict[str, list[Measurement]]


@click.command(epilog="Example: python -m tests.bench --events 4500 --seed 7 --repeat 3")
@click.option(
    "--events",
    "n_events",
    type=click.IntRange(min=1),
    default=4500,
    show_default=True,
    help="Trace events, rounded up to whole runs of eight iterations and an end.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same events.")
@click.option(
    "--repeat", type=click.IntRange(min=1), default=3, show_default=True, help="Repetitions of every job."
)
@click.option("--in-memory-only", is_flag=True, help="Measure the limit alone; no broker is needed.")
@options.bootstrap_servers
@options.as_json
def bench(
    n_events: int,
    seed: int,
    repeat: int,
    in_memory_only: bool,
    bootstrap_servers: str | None,
    as_json: bool,
) -> None:
    """Measure how near the live trainer comes to its own code without Kafka.

    The same events are formed into pairs and learnt three ways: in memory (the limit), read back from a
    broker as `tribrain replay` does, and by a `tribrain serve-trainer`. Exit code 1 where they do not all
    make the same pairs. Without --bootstrap-servers a broker is started for the occasion.
    """
    workload = make_workload(n_events, seed)
    # What Python and River do at the first call is no part of the figures.
    in_memory(make_workload(_WARM_UP_EVENTS, seed))
    broker, measured = _measure(workload, repeat, bootstrap_servers, in_memory_only)
    _say(workload, measured, broker, as_json)
    problems = disagreements(measured)
    for problem in problems:
        click.echo(f"bench: {problem}", err=True)
    sys.exit(1 if problems else 0)


def _measure(
    workload: Workload, repeat: int, bootstrap_servers: str | None, in_memory_only: bool
) -> tuple[str | None, Measured]:
    """The broker's description and, per job, its repetitions."""
    try:
        if in_memory_only:
            return None, {LIMIT: [in_memory(workload) for _ in range(repeat)]}
        if bootstrap_servers:
            return f"given, {bootstrap_servers}", _with_broker(workload, repeat, bootstrap_servers)
        with start_local_broker() as broker:
            return broker.description, _with_broker(workload, repeat, broker.bootstrap_servers)
    except BadInput as error:
        raise click.ClickException(str(error)) from None


def _with_broker(workload: Workload, repeat: int, bootstrap_servers: str) -> Measured:
    measured: Measured = {LIMIT: [], REPLAY: [], LIVE: []}
    for number in range(1, repeat + 1):
        click.echo(f"repetition {number} of {repeat} …", err=True)
        with _topics_of_its_own(bootstrap_servers) as settings:
            _publish(settings, workload)
            measured[LIMIT].append(in_memory(workload))
            measured[REPLAY].append(replay(settings))
            measured[LIVE].append(live(settings, workload))
    return measured


@contextmanager
def _topics_of_its_own(bootstrap_servers: str) -> Iterator[Settings]:
    settings = Settings(bootstrap_servers=bootstrap_servers, topic_prefix=f"bench-{uuid.uuid4().hex[:12]}")
    topics = create_topics(settings).created
    try:
        yield settings
    finally:
        _remove(settings, topics)


def _remove(settings: Settings, topics: tuple[str, ...]) -> None:
    """A broker that cannot remove topics (librdkafka's test broker) keeps them."""
    try:
        with connect_admin(settings, timeout_s=5.0) as admin:
            admin.delete_topics(list(topics))
    except KafkaError as error:
        click.echo(f"bench: topics {settings.topic_prefix}.* are left behind: {error}", err=True)


def _publish(settings: Settings, workload: Workload) -> None:
    if refused := publish_messages(settings, workload.events, timeout_s=_PUBLISH_S):
        raise BadInput(f"Kafka does not take the events of {len(refused)} runs: {refused}")


def _say(workload: Workload, measured: Measured, broker: str | None, json: bool) -> None:
    summary = as_json(workload, measured, broker)
    click.echo(orjson.dumps(summary) if json else as_text(summary))


if __name__ == "__main__":
    bench()
