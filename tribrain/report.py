"""``tribrain report``: a report made again from its folder."""

from __future__ import annotations

from pathlib import Path

import click
import orjson

from tribrain.demo.folder import read_summary
from tribrain.demo.report import build_report
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import PATH
from tribrain.suite.folder import SuiteFolder
from tribrain.suite.report import build_suite_report


@click.command(cls=Command, epilog="Example: tribrain report outputs/demo")
@click.argument("folder", type=PATH)
@options.as_json
def report(folder: Path, as_json: bool) -> None:
    """Write FOLDER/report.html, for the folder of a demo or suite: one file with its plots and videos."""
    if SuiteFolder.is_one(folder):
        path, n_runs = build_suite_report(folder), len(SuiteFolder(folder).all_finished())
    else:
        path, n_runs = build_report(folder), len(read_summary(folder).runs)
    if as_json:
        click.echo(orjson.dumps({"report": str(path), "runs": n_runs, "bytes": path.stat().st_size}))
    else:
        click.echo(f"{path}: {n_runs} runs, {path.stat().st_size / 1e6:.1f} MB")
