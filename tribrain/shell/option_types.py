"""Types of options that Click lacks."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import click

from runner.rewards.preference import LARGEST_SHARE
from streams.messages.contracts import OVERALL
from streams.messages.dimensions import dimension_called

_LARGEST = 2**63 - 1


class _GivenPath(click.Path):
    """A path that is not empty; an empty one would mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the path is empty; expected the name of a file or folder.", param, ctx)
        return super().convert(value, param, ctx)


class Integer(click.IntRange):
    """An integer of at most 64 bits. Click calls it INTEGER RANGE, and one without bounds "x<=None"."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number: int = super().convert(value, param, ctx)
        if not -_LARGEST <= number <= _LARGEST:
            self.fail(f"{value} is too large; expected at most {_LARGEST}.", param, ctx)
        return number

    def _describe_range(self) -> str:
        return "" if self.min is None and self.max is None else super()._describe_range()


class FiniteFloat(click.FloatRange):
    """A finite number. Click's range lets NaN through, as NaN is neither below nor above anything."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number

    def _describe_range(self) -> str:
        """The range in --help, where Click has "x<=None" for a number without bounds."""
        return "" if self.min is None and self.max is None else super()._describe_range()


_TIME = re.compile(r"(-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)([smhd]?)")
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Seconds(FiniteFloat):
    """A time: a number of seconds, or one with its unit, as ``90s``, ``5m``, ``6h`` or ``7d``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return super().convert(value, param, ctx)
        found = _TIME.fullmatch(value)
        seconds = float(found[1]) * _UNITS_S[found[2] or "s"] if found else math.nan
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is not a time; expected seconds, or e.g. 90s, 5m, 6h or 7d", param, ctx)
        return super().convert(seconds, param, ctx)


class Shares(click.ParamType):
    """``physics=2,quality=1``: dimension to its weight relative to the others.

    A name with a comma is written in double quotes, as in CSV: ``"light, shade"=2``.
    """

    name = "DIMENSION=WEIGHT,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, float]:
        if isinstance(value, dict):
            return value
        shares: dict[str, float] = {}
        for part in self._parts(value, param, ctx):
            name, _, number = (piece.strip() for piece in part.rpartition("="))
            try:
                share = float(number)
            except ValueError:
                share = math.nan
            if not (name.isprintable() and name and 0.0 < share <= LARGEST_SHARE):
                self.fail(
                    f"{part!r} is not a dimension with its weight; expected e.g. physics=2,quality=1, and a "
                    "name with a comma in double quotes",
                    param,
                    ctx,
                )
            name = dimension_called(name) or OVERALL
            if name in shares:
                self.fail(f"{name} is there twice", param, ctx)
            shares[name] = share
        return shares

    @staticmethod
    def written(shares: Mapping[str, str]) -> str:
        """``shares``, dimension to number, as a text that ``convert`` reads."""
        line = StringIO()
        csv.writer(line, lineterminator="").writerow(f"{name}={share}" for name, share in shares.items())
        return line.getvalue()

    def _parts(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        try:
            # A quote that is not closed would continue in the second line, which is otherwise empty.
            first, *second = csv.reader([value, ""], skipinitialspace=True)
        except csv.Error:
            self.fail(f"{value!r} is not one line; expected e.g. physics=2,quality=1", param, ctx)
        if second != [[]]:
            self.fail(f"{value!r} has a double quote that is not closed", param, ctx)
        return first or [""]


class RewardSource(_GivenPath):
    """A file, or a reward model's name on Kafka: a text without slash and suffix that is no existing file."""

    name = "FILE|NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        path: Path = super().convert(value, param, ctx)
        is_name = os.sep not in str(value) and not path.suffix and not path.exists()
        return str(path) if is_name else path


class _Moment(click.ParamType):
    """A time by ISO 8601, in UTC unless it has an offset; gives milliseconds since 1970-01-01 UTC."""

    name = "MOMENT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time; expected e.g. 2026-11-24T15:30:00Z", param, ctx)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


class _Offset(click.ParamType):
    """``OFFSET`` or ``PARTITION:OFFSET``; gives the partition (None for all) and the offset."""

    name = "[PARTITION:]OFFSET"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | None, int]:
        if isinstance(value, tuple):
            return value
        partition, _, offset = value.rpartition(":")
        if not offset.isdecimal() or not (partition.isdecimal() or value == offset):
            self.fail(f"{value!r} is not an offset; expected e.g. 4127, or 2:4127 in partition 2", param, ctx)
        of_64_bits = Integer(0)
        return (
            of_64_bits.convert(partition, param, ctx) if partition else None,
            of_64_bits.convert(offset, param, ctx),
        )


PATH = _GivenPath(path_type=Path)
MOMENT = _Moment()
OFFSET = _Offset()
