"""``tribrain log vote``: imports people's votes from a file to Kafka, and exports them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click
import orjson
from rich.console import Console

from streams.errors import BadInput, counted
from streams.files import read_text
from streams.kafka.settings import Settings
from streams.messages.candidates import Place
from streams.messages.votes import Vote
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.exit_codes import FAILED
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import PATH
from tribrain.shell.output import write_output

if TYPE_CHECKING:
    from trainers.datasets.vote_files import VoteFile

_Format = Literal["label-studio", "csv", "jsonl"]
_BY_SUFFIX: dict[str, _Format] = {".json": "label-studio", ".csv": "csv", ".jsonl": "jsonl"}
_PUBLISH_S = 60.0
_SHOWN = 20


@click.command(
    cls=Command,
    epilog="Example: tribrain log vote --import ls_export.json --bootstrap-servers 127.0.0.1:9092",
)
@click.option("--import", "given", type=PATH, metavar="FILE", help="Publish the votes in this file.")
@click.option(
    "--export",
    "out",
    type=PATH,
    metavar="FILE",
    help="Write all votes on Kafka to this file, *.jsonl or *.csv.",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(get_args(_Format)),
    show_default="by the file's suffix; .json is Label Studio's",
    help="Format of the file to import.",
)
@options.some_runs
@bootstrap_servers
@options.as_json
def vote(
    given: Path | None,
    out: Path | None,
    file_format: _Format | None,
    runs: tuple[Path, ...],
    bootstrap_servers: str | None,
    as_json: bool,
) -> None:
    """Import people's votes on pairs of videos to Kafka, or export them; the trainer makes pairs of them.

    Label Studio: the JSON export of tasks from tribrain pairs share. Tasks of an older version do not name
    the run and iteration of their videos; --runs finds them by the videos' content.

    CSV and JSON Lines: left_run_id, left_iter_idx, right_run_id, right_iter_idx and answer (left, right, tie,
    both_bad or cannot_tell); and, where known, vote_id, takes_back (the vote_id of an earlier vote of
    the annotator), dimension, annotator, voted_at (ISO 8601), response_time_s, plays_left, plays_right, rule
    (what chose the pair: random, or a rule that asks the model), probability, page. Other columns of a CSV
    file go into meta.

    Votes on runs or iterations that are not on this Kafka are published as well, and listed: no pair comes of
    them until the run is published, and the trainer gives up waiting after its --vote-timeout-s.

    Importing a file again changes nothing. Without a vote_id, an annotator's votes on the same two videos,
    dimension and voted_at are one vote, on whichever sides the videos were: a changed answer replaces the
    earlier one. At another time it is another vote, and both count. Votes that cannot be used are listed and
    kept beside the file, as NAME.unmatched.SUFFIX, and the exit code is 1.
    """
    if (given is None) == (out is None):
        raise click.UsageError("give either --import or --export")
    if out is not None:
        if file_format or runs:
            raise click.UsageError("--format and --runs are for --import alone")
        _export(out, open_kafka(bootstrap_servers, "log vote --export"), as_json=as_json)
    elif given is not None:
        _import(given, file_format, runs, bootstrap_servers, as_json=as_json)


def _import(
    file: Path,
    file_format: _Format | None,
    runs: Sequence[Path],
    bootstrap_servers: str | None,
    *,
    as_json: bool,
) -> None:
    # Not at the top, here and below: Kafka's client and what reads videos take a while to load.
    from streams.kafka.topics import create_topics
    from streams.spool.publish_now import publish_votes
    from trainers.datasets.vote_import import new_votes

    file_format = file_format or _BY_SUFFIX.get(file.suffix.lower())
    if file_format is None:
        raise BadInput(f"{file}: its name does not say its format; give --format label-studio, csv or jsonl")
    read = _read(file, file_format, runs)
    if not (read.statements or read.unusable or read.skipped):
        raise BadInput(f"{file}: holds no votes")
    settings = open_kafka(bootstrap_servers, "log vote --import")
    create_topics(settings)
    with Console(stderr=True).status("reading the votes that are known"):
        known, _, _ = _on_kafka(settings)
    new = new_votes(read.statements, known)
    with Console(stderr=True).status("looking up what the votes are on"):
        unknown = _on_unknown([each.vote for each in read.statements], settings)
    with Console(stderr=True).status(f"publishing {counted(len(new), 'vote')}"):
        refused = publish_votes(settings, new, timeout_s=_PUBLISH_S) if new else {}
    kept = _keep(file, file_format, read)
    published = len(new) - len(refused)
    said = {
        "file": str(file),
        "votes": len(read.statements),
        "published": published,
        "known": len(read.statements) - len(new),
        "skipped": read.skipped,
        "waiting": len(_ids(unknown)),
        "unknown_candidates": [
            {"run_id": run_id, "iter_idx": iter_idx, "votes": len(votes)}
            for (run_id, iter_idx), votes in unknown.items()
        ],
        "unmatched": [{"place": each.place, "reason": each.reason} for each in read.unusable],
        "unmatched_file": None if kept is None else str(kept),
    }
    if as_json:
        click.echo(orjson.dumps(said))
    else:
        click.echo(
            f"{file}: votes published to {settings.votes_topic}: {published:,}; known already: "
            f"{said['known']:,}; cancelled: {read.skipped:,}"
        )
        if unknown:
            click.echo(_waiting(unknown), err=True)
        for each in read.unusable[:_SHOWN]:
            click.echo(f"  {each.place}: {each.reason}", err=True)
        if kept is not None:
            more = f" ({len(read.unusable) - _SHOWN:,} more)" if len(read.unusable) > _SHOWN else ""
            click.echo(f"unusable: {len(read.unusable):,}{more}; kept in {kept}", err=True)
    if refused:
        reasons = "; ".join(f"{vote_id}: {reason}" for vote_id, reason in refused.items())
        raise BadInput(f"{file}: some votes cannot be on Kafka: {reasons}")
    if kept is not None:
        sys.exit(FAILED)


def _on_unknown(votes: Sequence[Vote], settings: Settings) -> dict[Place, list[Vote]]:
    from streams.kafka.candidates import Candidates
    from trainers.datasets.vote_import import votes_on_unknown

    places = {place for vote in votes for place in (vote.left, vote.right)}
    return votes_on_unknown(votes, Candidates(settings).look_up(places, ()).candidates)


def _ids(unknown: Mapping[Place, Sequence[Vote]]) -> set[int]:
    return {id(vote) for votes in unknown.values() for vote in votes}


def _waiting(unknown: Mapping[Place, Sequence[Vote]]) -> str:
    """Lines on how many votes wait for candidates, and for which."""
    lines = [
        f"  iteration {iter_idx} of run {run_id!r}: {counted(len(votes), 'vote')}"
        for (run_id, iter_idx), votes in unknown.items()
    ]
    if len(lines) > _SHOWN:
        lines[_SHOWN:] = [f"  … and {len(lines) - _SHOWN} more"]
    votes = len(_ids(unknown))
    return "\n".join(
        [
            f"{counted(votes, 'vote')} on candidates that are not on this Kafka: no pair comes of "
            f"{'it' if votes == 1 else 'them'} until these are published",
            *lines,
        ]
    )


def _read(file: Path, file_format: _Format, runs: Sequence[Path]) -> VoteFile:
    from trainers.datasets.samples import read_runs
    from trainers.datasets.vote_files import read_csv, read_json_lines, read_label_studio
    from trainers.datasets.vote_import import VideoPlaces

    content = read_text(file)
    if file_format == "csv":
        return read_csv(content, str(file))
    if file_format == "jsonl":
        return read_json_lines(content, str(file))
    folder = file.resolve().parent
    is_of_runs = any(any(folder.glob(pattern)) for pattern in ("trace.jsonl", "*/trace.jsonl"))
    return read_label_studio(content, str(file), VideoPlaces(read_runs(runs or [folder] * is_of_runs)))


def _keep(file: Path, file_format: _Format, read: VoteFile) -> Path | None:
    """Write unusable votes, unchanged, to a file beside ``file``; its path, or None if all are usable."""
    from trainers.datasets.vote_files import unusable_as_csv

    if not read.unusable:
        return None
    kept = file.with_name(f"{file.stem}.unmatched{file.suffix}")
    originals = [each.original for each in read.unusable]
    if file_format == "csv":
        write_output(kept, unusable_as_csv(read.unusable))
    elif file_format == "jsonl":
        write_output(kept, "".join(f"{line}\n" for line in originals).encode())
    else:
        write_output(kept, orjson.dumps(originals, option=orjson.OPT_INDENT_2) + b"\n")
    return kept


def _export(out: Path, settings: Settings, *, as_json: bool) -> None:
    from trainers.datasets.vote_files import as_csv, as_json_lines

    writers = {".jsonl": as_json_lines, ".csv": as_csv}
    write = writers.get(out.suffix.lower())
    if write is None:
        raise BadInput(f"{out}: its name does not say its format; call it .jsonl or .csv")
    with Console(stderr=True).status("reading votes"):
        votes, repeated, unreadable = _on_kafka(settings)
    write_output(out, write(votes))
    if as_json:
        click.echo(
            orjson.dumps(
                {"out": str(out), "votes": len(votes), "repeated": repeated, "unreadable": unreadable}
            )
        )
    else:
        click.echo(
            f"{counted(len(votes), 'vote')} written to {out}; {counted(repeated, 'duplicate')}, "
            f"{counted(unreadable, 'unreadable message')}"
        )


def _on_kafka(settings: Settings) -> tuple[list[Vote], int, int]:
    """The topic's votes, the first of each id; the number of repeated ones, and of unreadable messages."""
    from streams.kafka.reader import read_topic
    from streams.messages.codec import ContractError, decode_vote

    votes: dict[str, Vote] = {}
    repeated = unreadable = 0
    for message in read_topic(settings, settings.votes_topic):
        try:
            found = decode_vote(message.value, message)
        except ContractError:
            unreadable += 1
            continue
        repeated += found.vote_id in votes
        votes.setdefault(found.vote_id, found)
    return list(votes.values()), repeated, unreadable
