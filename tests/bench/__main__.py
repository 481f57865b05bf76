"""``python -m tests.bench``: the same job in memory, from a log, by the live trainer and by its peers."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
import orjson
from kafka.errors import KafkaError

from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.kafka.topics import connect_admin, create_topics
from streams.local_broker.broker import start_local_broker
from streams.spool.publish_now import publish_messages
from tests.bench.jobs import Measurement, in_memory, replay, replay_file
from tests.bench.live import by_program, live
from tests.bench.measures import MEASURES, WITHOUT_A_BROKER, find
from tests.bench.peers import PEERS, installed_in, module_of
from tests.bench.results import LIMIT, LIVE, Finding, as_markdown, as_text, disagreements
from tests.bench.results import as_json as summarised
from tests.bench.workload import Workload, make_workload
from tribrain.shell import options
from tribrain.shell.kafka_options import bootstrap_servers

REPLAY = "replay from the topic"
REPLAY_FILE = "replay from trace.jsonl"
RESULTS = Path(__file__).with_name("RESULTS.md")

_PUBLISH_S = 60.0
_WARM_UP_EVENTS = 450

Measured = dict[str, list[Measurement]]
Job = Callable[[Settings, Workload], Measurement]

_JOBS: dict[str, Job] = {
    LIMIT: lambda settings, workload: in_memory(workload),
    REPLAY_FILE: lambda settings, workload: replay_file(workload),
    REPLAY: lambda settings, workload: replay(settings),
    LIVE: live,
}
_NAMES = {
    "in-memory": LIMIT,
    "replay-file": REPLAY_FILE,
    "replay": REPLAY,
    "live": LIVE,
    **{module: peer for peer, (module, _) in PEERS.items()},
}


@click.command(epilog="Example: python -m tests.bench --events 4500 --repeat 3 --only live --only latency")
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
@click.option(
    "--only",
    type=click.Choice([*_NAMES, *MEASURES]),
    multiple=True,
    help="These jobs and measures alone, beside the limit; by default all.",
)
@click.option(
    "--peers-python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=Path(sys.executable),
    help="The Python that has the peers (extra bench-peers); by default this one.",
)
@click.option("--write", is_flag=True, help="Write tests/bench/RESULTS.md.")
@click.option("--in-memory-only", is_flag=True, help="Measure the limit alone; no broker is needed.")
@bootstrap_servers
@options.as_json
def bench(
    n_events: int,
    seed: int,
    repeat: int,
    only: tuple[str, ...],
    peers_python: Path,
    write: bool,
    in_memory_only: bool,
    bootstrap_servers: str | None,
    as_json: bool,
) -> None:
    """Measure how near the live trainer comes to its own code without Kafka, and to others around that code.

    The same events are formed into pairs and learnt: in memory (the limit), read back from a file and from a
    broker as `tribrain replay` does, by a `tribrain serve-trainer`, and by each peer that is installed. Exit
    code 1 where they do not all make the same pairs. Then come measures with a question of their own. Without
    --bootstrap-servers a broker is started for the occasion.
    """
    workload = make_workload(n_events, seed)
    # What Python and River do at the first call is no part of the figures.
    in_memory(make_workload(_WARM_UP_EVENTS, seed))
    jobs, left_out = _chosen(only, peers_python)
    chosen = () if in_memory_only else [name for name in MEASURES if not only or name in only]
    try:
        if in_memory_only:
            broker, measured, findings = None, {LIMIT: [in_memory(workload) for _ in range(repeat)]}, []
        else:
            with _broker(bootstrap_servers) as (broker, servers):
                measured = _with_broker(workload, repeat, servers, jobs)
                findings = [finding for name in chosen for finding in _find(name, servers)]
    except BadInput as error:
        raise click.ClickException(str(error)) from None
    summary = summarised(workload, measured, broker, findings, [] if in_memory_only else left_out)
    click.echo(orjson.dumps(summary) if as_json else as_text(summary))
    if write:
        RESULTS.write_text(as_markdown(summary))
    problems = disagreements(measured)
    for problem in problems:
        click.echo(f"bench: {problem}", err=True)
    sys.exit(1 if problems else 0)


def _chosen(only: tuple[str, ...], python: Path) -> tuple[dict[str, Job], list[str]]:
    """Job to what does it, and a line for each that cannot be done here."""
    wanted = {_NAMES[name] for name in only if name in _NAMES} or ({LIMIT} if only else set(_NAMES.values()))
    jobs = {name: job for name, job in _JOBS.items() if name in wanted | {LIMIT}}
    left_out = []
    for peer in PEERS:
        if peer not in wanted:
            continue
        if installed_in(python, peer):
            jobs[peer] = _peer(python, peer)
        else:
            left_out.append(f"{peer}: not installed (extra bench-peers, as `make bench` does)")
    return jobs, left_out


def _peer(python: Path, peer: str) -> Job:
    program = (str(python), "-m", module_of(peer))
    return lambda settings, workload: by_program(settings, workload, program)


@contextmanager
def _broker(bootstrap_servers: str | None) -> Iterator[tuple[str, str]]:
    """The broker's description and where it is."""
    if bootstrap_servers:
        yield f"given, {bootstrap_servers}", bootstrap_servers
        return
    with start_local_broker() as broker:
        yield broker.description, broker.bootstrap_servers


def _with_broker(
    workload: Workload, repeat: int, bootstrap_servers: str, jobs: Mapping[str, Job]
) -> Measured:
    """Per job its repetitions; in turn, so that what the computer does meanwhile is shared by all."""
    measured: Measured = {name: [] for name in jobs}
    for number in range(1, repeat + 1):
        click.echo(f"repetition {number} of {repeat} …", err=True)
        for name, job in jobs.items():
            with topics_of_its_own(bootstrap_servers) as settings:
                if name not in (LIMIT, REPLAY_FILE):
                    _publish(settings, workload)
                measured[name].append(job(settings, workload))
    return measured


def _find(name: str, bootstrap_servers: str) -> list[Finding]:
    click.echo(f"{name} …", err=True)
    if name in WITHOUT_A_BROKER:
        return find(name, None)
    with topics_of_its_own(bootstrap_servers) as settings:
        return find(name, settings)


@contextmanager
def topics_of_its_own(bootstrap_servers: str) -> Iterator[Settings]:
    """Topics that no other job sees, for the length of the block."""
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


if __name__ == "__main__":
    bench()
