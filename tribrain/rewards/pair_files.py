"""Reads files of pairs, for commands that learn from them or measure on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click

from streams.errors import counted
from streams.messages.contracts import PairMessage
from trainers.pairs.superseded import without_superseded


def read_current(paths: Iterable[Path], read: Callable[[Path], list[PairMessage]]) -> list[PairMessage]:
    """The messages of the files, in their order, without pairs of scores that a rescoring replaced.

    ``read`` reads one file. The number left out is printed on standard error. Raises BadInput.
    """
    paths = list(paths)
    kept, left_out = without_superseded([message for path in paths for message in read(path)])
    if left_out:
        click.echo(
            f"{', '.join(map(str, paths))}: left out: {counted(left_out, 'pair')} of scores that a rescoring "
            "replaced",
            err=True,
        )
    return kept
