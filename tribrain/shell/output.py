"""What commands write: files, with an error that says why one cannot be written, and progress for people."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, ProgressColumn

from streams.errors import BadInput
from streams.files import write_atomically


def write_output(path: Path, content: bytes) -> None:
    """Write a result, whole or not at all. Raises BadInput where it cannot be written."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise cannot_write(path, error) from None


def cannot_write(path: Path, error: OSError) -> BadInput:
    return BadInput(f"{path}: cannot be written: {error.strerror}; choose another path")


def cache_folder() -> Path:
    """The folder for what can be fetched or computed again (XDG Base Directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tribrain"


def progress(*columns: str | ProgressColumn) -> Progress:
    """A progress bar on a terminal, removed at its end; elsewhere none, as standard error is for messages."""
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class ProgressLines:
    """Progress for readers of standard error in a file: a line at each tenth of the way, none on a terminal.

    What was done before the first look is not reported.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._told: int | None = None
        self._is_terminal = Console(stderr=True).is_terminal

    def look(self, completed: int, total: int) -> None:
        """Report that ``completed`` of ``total`` steps, at least one, are done."""
        tenth = 10 * completed // total
        if self._told is not None and tenth > self._told and not self._is_terminal:
            click.echo(f"{self._what}: {completed} of {total}", err=True)
        self._told = tenth


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Lines of aligned text, indented by two spaces; the first column aligns left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  "
        + "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
