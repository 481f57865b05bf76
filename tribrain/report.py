"""``tribrain report``: a report made from a folder, whatever is in it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
import orjson

from streams.errors import BadInput
from tribrain.demo.folder import SUMMARY
from tribrain.demo.report import build_report
from tribrain.run.report import build_run_report, is_folder_of_runs
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import PATH
from tribrain.story.album import size_text
from tribrain.story.report import Written
from tribrain.suite.folder import SuiteFolder
from tribrain.suite.report import build_suite_report


@click.command(cls=Command, epilog="Example: tribrain report outputs/demo")
@click.argument("folder", type=PATH)
@options.as_json
def report(folder: Path, as_json: bool) -> None:
    """Write FOLDER/report.html of a demo, a suite, or runs: one file with its plots and videos."""
    written = _build(folder)
    if as_json:
        click.echo(orjson.dumps(asdict(written)))
        return
    click.echo(
        f"{written.report}: {written.runs} {'run' if written.runs == 1 else 'runs'}, "
        f"{written.videos_in_file} of {written.videos} videos in it, {size_text(written.bytes)}"
    )


def _build(folder: Path) -> Written:
    if SuiteFolder.is_one(folder):
        return build_suite_report(folder)
    if (folder / SUMMARY).is_file():
        return build_report(folder)
    if is_folder_of_runs(folder):
        return build_run_report(folder)
    what = "holds no demo, suite or run" if folder.is_dir() else "no such folder"
    raise BadInput(f"{folder}: {what}; give the folder of one, as tribrain demo and the run commands make it")
