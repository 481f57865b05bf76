"""``tribrain log dead-letters``: shows messages that could not be used, and replays or dismisses them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import click
import orjson
from rich.progress import MofNCompleteColumn, TextColumn

from streams.errors import BadInput, counted
from streams.kafka.settings import Settings
from streams.messages.dead_letters import DeadLetter, mark_of, pending_letters
from tribrain.log.dlq_replay import replay_letters
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.group import Group
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.output import progress

_TOLD = 5
"""Number of letters that an error names."""


@click.group(cls=Group)
def dlq() -> None:
    """List, show, replay or dismiss dead letters: messages that could not be used, with bytes and reason."""


@dlq.command(
    "list", cls=Command, epilog="Example: tribrain log dead-letters list --bootstrap-servers 127.0.0.1:9092"
)
@bootstrap_servers
@options.as_json
def list_letters(bootstrap_servers: str | None, as_json: bool) -> None:
    """List the dead letters that were neither replayed nor dismissed, oldest first."""
    letters = _pending(open_kafka(bootstrap_servers, "log dead-letters list"))
    if as_json:
        click.echo(orjson.dumps({"letters": [_summary(letter) for letter in letters]}))
        return
    for letter in letters:
        state = "  (damaged)" if letter.damaged else "  (kept in part)" if letter.cut else ""
        click.echo(f"{letter.name}  {_time(letter)}  {letter.reason}{state}")
    click.echo(counted(len(letters), "dead letter"))


@dlq.command(
    cls=Command,
    epilog="Example: tribrain log dead-letters show 'tribrain.trace[0]@17' "
    "--bootstrap-servers 127.0.0.1:9092",
)
@click.argument("name")
@bootstrap_servers
@options.as_json
def show(name: str, bootstrap_servers: str | None, as_json: bool) -> None:
    """Show one dead letter, with its bytes (those that are not UTF-8 as \\xNN)."""
    (letter,) = _named([name], _pending(open_kafka(bootstrap_servers, "log dead-letters show")))
    text = letter.value.decode(errors="backslashreplace")
    if as_json:
        click.echo(orjson.dumps({**_summary(letter), "value": text}))
        return
    in_part = f"\nIn part only: {', '.join(letter.cut)}" if letter.cut else ""
    click.echo(f"{letter.name}  {_time(letter)}\n{letter.reason}{in_part}\n\n{text}")


@dlq.command(
    cls=Command, epilog="Example: tribrain log dead-letters replay --bootstrap-servers 127.0.0.1:9092"
)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME",
    show_default="all",
    help="Replay only this letter (repeatable).",
)
@bootstrap_servers
@options.as_json
def replay(names: tuple[str, ...], bootstrap_servers: str | None, as_json: bool) -> None:
    """Send dead letters back to the topics that they came from, once their cause is fixed.

    A letter is replayed once; if it still cannot be used, it becomes a new letter. Letters that are damaged,
    or hold only a part of a message that was too large, are not replayed: dismiss them. A letter that Kafka
    refuses is reported, and does not stop the others.
    """
    settings = open_kafka(bootstrap_servers, "log dead-letters replay")
    letters = _pending(settings)
    whole = [letter for letter in letters if not (letter.cut or letter.damaged)]
    chosen = _named(names, letters) if names else whole
    in_part, damaged = (0, 0) if names else _left_out(letters)
    with progress(TextColumn("replaying"), MofNCompleteColumn()) as bar:
        task = bar.add_task("letters", total=len(chosen))
        failed = replay_letters(settings, chosen, lambda: bar.advance(task))
    replayed = len(chosen) - len(failed)
    if as_json:
        counts = {"replayed": replayed, "kept_in_part": in_part, "damaged": damaged, "failed": failed}
        click.echo(orjson.dumps({name: n for name, n in counts.items() if n or name == "replayed"}))
    else:
        left = f"; {in_part} kept in part, not replayed: tribrain log dead-letters show" if in_part else ""
        left += f"; {damaged} damaged, not replayed: tribrain log dead-letters show" if damaged else ""
        click.echo(f"{counted(replayed, 'dead letter')} replayed{left}")
    if failed:
        told = "; ".join(f"{name}: {reason}" for name, reason in list(failed.items())[:_TOLD])
        raise BadInput(f"{counted(len(failed), 'dead letter')} could not be replayed: {told}")


@dlq.command(
    cls=Command,
    epilog="Example: tribrain log dead-letters dismiss 'tribrain.trace[0]@17' "
    "--bootstrap-servers 127.0.0.1:9092",
)
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@bootstrap_servers
@options.as_json
def dismiss(names: tuple[str, ...], bootstrap_servers: str | None, as_json: bool) -> None:
    """Give up dead letters that can never be used.

    They are no longer listed or replayed, and no alert mentions them. They stay on their topic, but this
    cannot be undone. If list does not show one of the names, none is dismissed.
    """
    settings = open_kafka(bootstrap_servers, "log dead-letters dismiss")
    letters = _named(names, _pending(settings))

    # Not at the top: Kafka's client takes a third of a second, and --help needs none.
    from streams.kafka.writer import produce

    list(produce(settings, [mark_of(letter, settings.dead_letters_topic) for letter in letters]))
    if as_json:
        click.echo(orjson.dumps({"dismissed": len(letters)}))
    else:
        kept_on = settings.dead_letters_topic
        click.echo(f"{counted(len(letters), 'dead letter')} dismissed, and kept on {kept_on}")


def _pending(settings: Settings) -> list[DeadLetter]:
    # Not at the top: Kafka's client takes a third of a second, and --help needs none.
    from streams.kafka.reader import read_topic

    return pending_letters(read_topic(settings, settings.dead_letters_topic))


def _named(names: Collection[str], letters: list[DeadLetter]) -> list[DeadLetter]:
    """The letters with these names, each once. Raises BadInput where one is not among them."""
    unknown = set(names) - {letter.name for letter in letters}
    if unknown:
        raise BadInput(
            f"{', '.join(sorted(unknown))}: no such dead letter, or replayed or dismissed; "
            "tribrain log dead-letters list shows them"
        )
    return [letter for letter in letters if letter.name in names]


def _left_out(letters: list[DeadLetter]) -> tuple[int, int]:
    """The number of letters that are kept in part, and of those that are damaged."""
    return sum(bool(letter.cut) for letter in letters), sum(bool(letter.damaged) for letter in letters)


def _summary(letter: DeadLetter) -> dict[str, object]:
    return {
        "name": letter.name,
        "time": _time(letter),
        "reason": letter.reason,
        "bytes": len(letter.value),
        "cut": list(letter.cut),
        **({"damaged": True} if letter.damaged else {}),
    }


def _time(letter: DeadLetter) -> str:
    try:
        time = datetime.fromtimestamp(letter.source_timestamp_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{letter.source_timestamp_ms} ms"
    return time.isoformat(timespec="seconds")
