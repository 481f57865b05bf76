"""``tribrain log replay``: rebuilds pairs and models from the log or traces, through the live code."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
import orjson
from cloup import option_group
from rich.progress import SpinnerColumn, TextColumn

from streams.errors import BadInput, counted
from streams.kafka.settings import Settings
from streams.messages.codec import decode_snapshot
from streams.messages.contracts import PairStrategy
from streams.messages.selection import Selection, select_pairs, select_runs
from streams.messages.stored import StoredMessage
from trainers.bradley_terry.estimators import LearnerName, Recipe
from trainers.pairs.pairing import PairingRules
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import MOMENT, OFFSET, PATH
from tribrain.shell.output import progress, write_output
from tribrain.shell.renamed import Renamed

if TYPE_CHECKING:
    from trainers.processing.relearn import OneLog
    from trainers.processing.replay import Replayed

_CONNECT_S = 5.0
_SHOWN_EVERY = 500
"""Messages between two updates of the progress display, which costs as much as several messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """The values of the command's options, by their names."""

    out: Path
    traces: tuple[Path, ...]
    votes_file: Path | None
    source: str
    runs: tuple[str, ...]
    since: int | None
    until: int | None
    from_offsets: tuple[tuple[int | None, int], ...]
    to_offsets: tuple[tuple[int | None, int], ...]
    bootstrap_servers: str | None
    model: str
    model_by: str | None
    learner: LearnerName | None
    strategy: PairStrategy
    min_gap: float
    top_k: int
    as_json: bool


@click.command(
    cls=Command, epilog="Example: tribrain log replay --bootstrap-servers 127.0.0.1:9092 --out replayed"
)
@option_group(
    "Source",
    click.option(
        "--trace",
        "traces",
        multiple=True,
        type=PATH,
        metavar="FILE",
        help="Replay this trace.jsonl instead of a broker's log (repeatable).",
    ),
    click.option(
        "--votes-file",
        cls=Renamed,
        old=("--votes",),
        type=PATH,
        metavar="FILE",
        help="With --trace: votes on these runs, as tribrain log vote --export writes them.",
    ),
    click.option(
        "--source",
        type=click.Choice(["pairs", "trace"]),
        default="pairs",
        help="From a broker: learn the recorded pairs again, or form them again from traces and votes.",
    ),
    bootstrap_servers,
)
@option_group(
    "Selection",
    click.option(
        "--run-id",
        "runs",
        cls=Renamed,
        old=("--run",),
        multiple=True,
        metavar="NAME",
        help="Only this run (repeatable).",
    ),
    click.option("--since", type=MOMENT, help="Only messages from this time on (ISO 8601, UTC)."),
    click.option("--until", type=MOMENT, help="Only messages before this time (ISO 8601, UTC)."),
    click.option(
        "--from-offset",
        "from_offsets",
        type=OFFSET,
        multiple=True,
        help="Only messages from this offset on, in all partitions or in PARTITION (repeatable).",
    ),
    click.option(
        "--to-offset",
        "to_offsets",
        type=OFFSET,
        multiple=True,
        help="Only messages before this offset, as a snapshot counts them (repeatable).",
    ),
)
@option_group("Pairs", options.strategy, options.min_gap, options.top_k)
@option_group("Model", options.model, options.model_by, options.new_models_learner)
@option_group("Output", options.out("Folder for pairs.jsonl and bt_reward.json."), options.as_json)
def replay(**given: Any) -> None:
    """Rebuild pairs and reward models from the log or from traces, and compare with the published ones.

    --source trace forms the pairs of whole runs: a run is selected by the time or offset of its first event,
    a vote by those of its two videos, and --until applies to votes as well. Pairs of votes follow those of
    runs. --source pairs selects recorded pairs one by one and compares, bit for bit, with the newest snapshot
    within the bounds; after --since, --from-offset or --run-id there is nothing to compare with. --model-by
    writes one bt_reward file per model. Exit code 1 where a model differs.
    """
    chosen = ReplayOptions(**given)
    # Not at the top: what learns takes a second to load, and --help needs none of it.
    from trainers.processing.replay import form_again, learn_again, read_files

    if chosen.traces and (chosen.since is not None or chosen.until is not None):
        raise BadInput(
            "the events in files carry no time of arrival; select them with --run-id or --from-offset"
        )
    if chosen.votes_file is not None and not chosen.traces:
        raise BadInput("--votes-file is for --trace; from a broker, --source trace takes the votes on Kafka")
    selection = Selection(
        since_ms=chosen.since,
        until_ms=chosen.until,
        from_offsets=dict(chosen.from_offsets),
        to_offsets=dict(chosen.to_offsets),
        runs=frozenset(chosen.runs),
    )
    rules = PairingRules(
        strategy=chosen.strategy,
        min_gap=chosen.min_gap,
        top_k=chosen.top_k,
        model=chosen.model,
        model_by=chosen.model_by,
    )
    settings = (
        Settings(bootstrap_servers="none:1")
        if chosen.traces
        else open_kafka(chosen.bootstrap_servers, f"log replay --source {chosen.source}")
    )
    if not chosen.traces:
        # Not at the top, here and below: Kafka's client takes a third of a second, and files need none.
        from streams.kafka.topics import connect_admin

        connect_admin(settings, _CONNECT_S).close()
    recipe = Recipe(learner=chosen.learner) if chosen.learner else None
    logs: dict[str, OneLog] = {}
    with ExitStack() as opened, progress(SpinnerColumn(), TextColumn("{task.completed} messages")) as bar:
        counter = bar.add_task("messages", total=None)

        def counted(messages: Iterable[StoredMessage]) -> Iterator[StoredMessage]:
            n = 0
            for n, message in enumerate(messages, start=1):
                if n % _SHOWN_EVERY == 0:
                    bar.advance(counter, _SHOWN_EVERY)
                yield message
            bar.advance(counter, n % _SHOWN_EVERY)

        def read(topic: str) -> Iterator[StoredMessage]:
            from streams.kafka.reader import read_topic

            return opened.enter_context(closing(read_topic(settings, topic)))

        if chosen.traces:
            lines, events = read_files(chosen.traces, settings.trace_topic)
            selected = select_runs(lambda: counted(lines), selection)
            votes = _votes_of(chosen.votes_file, settings)
            pairs = list(form_again(selected, rules, settings.pairs_topic, events, votes))
        elif chosen.source == "trace":
            selected = select_runs(lambda: counted(read(settings.trace_topic)), selection)
            votes = [
                m for m in read(settings.votes_topic) if chosen.until is None or m.timestamp_ms < chosen.until
            ]
            pairs = list(form_again(selected, rules, settings.pairs_topic, votes=votes))
        else:
            logs = _logs_within(settings, selection)
            pairs = list(select_pairs(counted(read(settings.pairs_topic)), selection))
        replayed = learn_again(pairs, rules, settings.pairs_topic, logs, recipe)
    if not any(decode_snapshot(one.snapshot, "replayed").version for one in replayed.values()):
        raise BadInput(
            f"nothing to replay: there is no pair of model {chosen.model!r}; "
            "check its name, the topics, the traces or the bounds"
        )
    learnt = {message.source for one in replayed.values() for message in one.messages}
    write_output(chosen.out / "pairs.jsonl", b"".join(m.value + b"\n" for m in pairs if m.source in learnt))
    for name, one in replayed.items():
        file = f"bt_reward.{quote(name, safe='')}.json" if chosen.model_by else "bt_reward.json"
        write_output(chosen.out / file, one.snapshot)
    _say(replayed, chosen.out, many=chosen.model_by is not None, as_json=chosen.as_json)
    if any(one.identical is False for one in replayed.values()):
        sys.exit(1)


def _votes_of(file: Path | None, settings: Settings) -> list[StoredMessage]:
    """The file's votes as messages; none without a file. Raises BadInput where one cannot be used."""
    if file is None:
        return []
    from trainers.datasets.vote_import import votes_in
    from trainers.processing.replay import as_messages

    return as_messages(votes_in(file), settings.votes_topic)


def _logs_within(settings: Settings, selection: Selection) -> dict[str, OneLog]:
    """Model to its published snapshots within the selection; empty where that is no prefix of the log."""
    if not selection.is_prefix:
        return {}
    from streams.snapshots.feed import read_held
    from trainers.processing.relearn import one_log

    logs = {}
    for model, held in read_held(settings).items():
        held.snapshots = [
            (message, snapshot)
            for message, snapshot in held.snapshots
            if (selection.until_ms is None or message.timestamp_ms < selection.until_ms)
            and selection.reaches(snapshot.consumed.get(settings.pairs_topic, {}))
        ]
        if held.snapshots:
            logs[model] = one_log(held)
    return logs


def _say(replayed: Mapping[str, Replayed], out: Path, *, many: bool, as_json: bool) -> None:
    figures = {}
    for name, one in replayed.items():
        model = decode_snapshot(one.snapshot, "replayed")
        figures[name] = {
            "messages": len(one.messages),
            "version": model.version,
            "checksum": model.checksum,
            "identical_to_published": one.identical,
        }
        if not as_json:
            click.echo(
                f"model {name!r}: {counted(len(one.messages), 'message')} (pairs, ends of runs, repetitions) "
                f"learnt into version {model.version}, in {out}"
            )
        if not as_json and one.identical is not None:
            click.echo(
                "bit for bit the published snapshot"
                if one.identical
                else "NOT the published snapshot: they differ"
            )
    if as_json:
        of_one = next(iter(figures.values()))
        click.echo(orjson.dumps({"out": str(out)} | ({"models": figures} if many else of_one)))
