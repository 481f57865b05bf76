"""``tribrain report``: a report made from a folder, whatever is in it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
import orjson

from streams.errors import BadInput, counted
from streams.messages.votes import Vote
from tribrain.demo.folder import SUMMARY, VOTES
from tribrain.demo.replacing import is_demo
from tribrain.demo.report import build_report
from tribrain.run.report import build_run_report, is_folder_of_runs
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import PATH
from tribrain.story.album import size_text
from tribrain.story.report import WrittenReport
from tribrain.suite.folder import SuiteFolder
from tribrain.suite.report import build_suite_report


@click.command(cls=Command, epilog="Example: tribrain report outputs/demo")
@click.argument("folder", type=PATH)
@click.option(
    "--votes-file",
    type=PATH,
    metavar="FILE",
    show_default="votes.jsonl of the run or of its demo, if any",
    help="Of runs: votes to count, as tribrain log vote --export writes them.",
)
@options.as_json
def report(folder: Path, votes_file: Path | None, as_json: bool) -> None:
    """Write FOLDER/report.html of a demo, a suite, or runs: one file with its plots and videos."""
    written = _build(folder, votes_file)
    if as_json:
        click.echo(orjson.dumps(asdict(written)))
        return
    click.echo(
        f"{written.report}: {counted(written.runs, 'run')}, "
        f"{written.videos_in_file} of {counted(written.videos, 'video')} in it, {size_text(written.bytes)}"
    )


def _build(folder: Path, votes_file: Path | None) -> WrittenReport:
    is_suite, is_of_demo = SuiteFolder.is_one(folder), (folder / SUMMARY).is_file()
    if votes_file is not None and (is_suite or is_of_demo):
        raise BadInput(f"--votes-file is for runs, and {folder} holds a {'suite' if is_suite else 'demo'}")
    if is_suite:
        return build_suite_report(folder)
    if is_of_demo:
        return build_report(folder)
    if is_folder_of_runs(folder):
        votes = _votes(votes_file or _votes_beside(folder))
        if votes_file is not None and not votes:
            raise BadInput(f"{votes_file}: holds no votes; leave --votes-file out, or give another file")
        return build_run_report(folder, votes)
    what = "holds no demo, suite or run" if folder.is_dir() else "no such folder"
    raise BadInput(f"{folder}: {what}; give the folder of a demo, suite or run")


def _votes_beside(folder: Path) -> Path | None:
    """The votes of the folder itself, or of the demo that a run, or its folder of runs, belongs to."""
    whole = folder.resolve()
    places = [whole, *(above for above in list(whole.parents)[:2] if is_demo(above))]
    return next((place / VOTES for place in places if (place / VOTES).is_file()), None)


def _votes(file: Path | None) -> list[Vote]:
    if file is None:
        return []
    # Not at the top: what reads votes brings video libraries, and --help needs none.
    from trainers.datasets.vote_import import votes_in

    return votes_in(file)
