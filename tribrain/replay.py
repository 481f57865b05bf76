"""``tribrain replay``: pairs and model again, from the log or from traces, through the live code."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import orjson
from rich.progress import SpinnerColumn, TextColumn

from streams.codec import decode_snapshot, encode
from streams.contracts import PairStrategy, RewardSnapshot
from streams.errors import BadInput
from streams.feed import read_latest_snapshot
from streams.files import missing_ends, read_trace
from streams.messages import StoredMessage
from streams.replay import read_topic
from streams.settings import Settings
from streams.topics import connect_admin
from trainers.pairing import PairingRules
from trainers.processors import PairProcessor, TraceProcessor
from trainers.relearn import relearn
from tribrain import options
from tribrain.output import progress, write_output

_CONNECT_S = 5.0
_TIMEOUT_S = 30.0


@click.command(epilog="Example: tribrain replay --bootstrap-servers 127.0.0.1:9092 --out replayed")
@click.option("--out", required=True, type=options.PATH, help="Folder for pairs.jsonl and bt_reward.json.")
@click.option(
    "--trace",
    "traces",
    multiple=True,
    type=options.PATH,
    help="Replay these trace.jsonl files rather than a broker's log (repeatable).",
)
@click.option(
    "--source",
    type=click.Choice(["pairs", "trace"]),
    default="pairs",
    show_default=True,
    help="From a broker: learn the recorded pairs again, or form them anew from the trace events.",
)
@options.bootstrap_servers
@options.model
@options.strategy
@options.min_gap
@options.top_k
@options.as_json
def replay(
    out: Path,
    traces: tuple[Path, ...],
    source: str,
    bootstrap_servers: str | None,
    model: str,
    strategy: PairStrategy,
    min_gap: float,
    top_k: int,
    as_json: bool,
) -> None:
    """Compute pairs and model again, and say whether the model is the published one bit for bit.

    The comparison is made where the recorded pairs of a broker are replayed (--source pairs): they are
    learnt up to the offset that the newest published snapshot is stamped with. Exit code 1 where they differ.
    """
    settings = (
        Settings(bootstrap_servers="none:1") if traces else Settings.from_environment(bootstrap_servers)
    )
    rules = PairingRules(strategy=strategy, min_gap=min_gap, top_k=top_k, model=model)
    published = None
    if traces:
        pairs = _form(_numbered(_trace_lines(traces), settings.trace_topic), rules, settings)
    else:
        connect_admin(settings, _CONNECT_S).close()
        if source == "trace":
            pairs = _form(read_topic(settings, settings.trace_topic), rules, settings)
        else:
            pairs = read_topic(settings, settings.pairs_topic)
            published = read_latest_snapshot(settings, model, timeout_s=_TIMEOUT_S)
    lines: list[bytes] = []
    with progress(SpinnerColumn(), TextColumn("{task.completed} messages")) as bar:
        counter = bar.add_task("messages", total=None)

        def recorded() -> Iterator[StoredMessage]:
            for message in pairs:
                bar.advance(counter)
                lines.append(message.value + b"\n")
                yield message

        identical: bool | None = None
        model_bytes: bytes | None
        if published is None:
            model_bytes = _learn(recorded(), model)
        else:
            (verdict,) = relearn(recorded(), [published], settings.pairs_topic)
            identical, model_bytes = verdict.identical, verdict.relearnt
    if model_bytes is None or decode_snapshot(model_bytes, "replayed snapshot").version == 0:
        raise BadInput("nothing to replay: no event formed a pair; check the topics or the traces")
    write_output(out / "pairs.jsonl", b"".join(lines))
    write_output(out / "bt_reward.json", model_bytes)
    _say(decode_snapshot(model_bytes, "replayed snapshot"), len(lines), out, identical, as_json)
    if identical is False:
        sys.exit(1)


def _learn(messages: Iterable[StoredMessage], model: str) -> bytes:
    learner = PairProcessor(model, snapshots_topic="", dead_letters_topic="")
    learner.restore(None)
    for message in messages:
        learner.on_message(message)
    return learner.snapshot()


def _form(
    messages: Iterable[StoredMessage], rules: PairingRules, settings: Settings
) -> Iterator[StoredMessage]:
    former = TraceProcessor(
        rules,
        trace_topic=settings.trace_topic,
        pairs_topic=settings.pairs_topic,
        dead_letters_topic=settings.dead_letters_topic,
    )
    formed = (
        outgoing.value
        for message in messages
        for outgoing in former.on_message(message)
        if outgoing.topic == settings.pairs_topic
    )
    return _numbered(formed, settings.pairs_topic)


def _trace_lines(traces: Iterable[Path]) -> Iterator[bytes]:
    for path in traces:
        events = read_trace(path)
        yield from map(encode, (*events, *missing_ends(events)))


def _numbered(values: Iterable[bytes], topic: str) -> Iterator[StoredMessage]:
    for offset, value in enumerate(values):
        yield StoredMessage(topic=topic, partition=0, offset=offset, timestamp_ms=0, key=None, value=value)


def _say(model: RewardSnapshot, n_messages: int, out: Path, identical: bool | None, as_json: bool) -> None:
    if as_json:
        figures = {"messages": n_messages, "version": model.version, "checksum": model.checksum}
        click.echo(orjson.dumps({**figures, "identical_to_published": identical, "out": str(out)}))
        return
    click.echo(f"{n_messages} messages of the pairs topic learnt into version {model.version}, in {out}")
    if identical is not None:
        click.echo(
            "bit for bit the published snapshot" if identical else "NOT the published snapshot: they differ"
        )
