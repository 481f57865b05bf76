"""Options with earlier spellings."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import click


class Renamed(click.Option):
    """An option with earlier spellings, ``old``; help and errors show only the newer ones."""

    def __init__(
        self, declarations: Sequence[str] | None = None, *, old: Sequence[str], **attrs: Any
    ) -> None:
        super().__init__([*(declarations or ()), *old], **attrs)
        self.old = old

    def _shown(self) -> click.Option:
        shown = copy.copy(self)
        shown.opts = [name for name in self.opts if name not in self.old]
        return shown

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        return click.Option.get_help_record(self._shown(), ctx)

    def get_error_hint(self, ctx: click.Context) -> str:
        return click.Option.get_error_hint(self._shown(), ctx)
