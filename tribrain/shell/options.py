"""Options that several commands share, and what all commands have in common in taking them."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from runner.rewards.preference import LARGEST_SHARE
from streams.kafka.security_sources import CONFIG_VARIABLE, PREFIX, read_sources
from streams.messages.contracts import OVERALL
from streams.messages.dimensions import dimension_called
from streams.spool.place import FOLDER_VARIABLE
from trainers.bradley_terry.estimators import LEARNERS

_CONFIG = f"{__name__}.kafka-config"
"""Where a command's context has the name of the file."""
_C = TypeVar("_C", bound=Callable[..., Any])


class Command(click.Command):
    """Refuses an option that takes one value and is given twice, where Click would take the last alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for option, values in self._given(ctx, args):
            # A flag that is there twice says the same twice.
            if len(values) > 1 and not (option.is_flag and len(set(values)) == 1):
                names = " or ".join((*option.opts, *option.secondary_opts))
                shown = "both ways" if option.is_flag else _in_words(values)
                raise click.UsageError(f"{names} is given {_times(len(values))}: {shown}; give it once", ctx)
        return super().parse_args(ctx, args)

    def _given(self, ctx: click.Context, args: Sequence[str]) -> list[tuple[click.Option, list[Any]]]:
        """Every option that takes one value, with all that are given."""
        collecting = copy.copy(self)
        collecting.params = [copy.copy(param) for param in self.params]
        single = [p for p in collecting.params if isinstance(p, click.Option) and not (p.multiple or p.count)]
        for option in single:
            option.multiple = True
        given, _, _ = collecting.make_parser(ctx).parse_args(list(args))
        return [(option, list(given.get(option.name or "", ()))) for option in single]

    def invoke(self, ctx: click.Context) -> Any:
        with _named_in_environment(ctx.meta.get(_CONFIG)):
            return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text("An option is given once, unless it says that it may be repeated.")
        super().format_epilog(ctx, formatter)


class Group(click.Group):
    """Its commands are such commands, too."""

    command_class = Command


def _times(n: int) -> str:
    return "twice" if n == 2 else f"{n} times"


def _in_words(values: Sequence[object]) -> str:
    *others, last = map(repr, values)
    return f"{', '.join(others)} and {last}"


class _GivenPath(click.Path):
    """An empty text would mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the path is empty; expected the name of a file or folder.", param, ctx)
        return super().convert(value, param, ctx)


class FiniteFloat(click.FloatRange):
    """Click's range lets NaN through, as NaN is neither below nor above anything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number

    def _describe_range(self) -> str:
        """For --help, where Click has "x<=None" for a number without bounds."""
        return "" if self.min is None and self.max is None else super()._describe_range()


class Shares(click.ParamType):
    """``physics=2,quality=1``: dimension to what it counts beside the others."""

    name = "DIMENSION=WEIGHT,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, float]:
        if isinstance(value, dict):
            return value
        shares: dict[str, float] = {}
        for part in value.split(","):
            name, _, number = (piece.strip() for piece in part.rpartition("="))
            try:
                share = float(number)
            except ValueError:
                share = math.nan
            if not (name.isprintable() and name and 0.0 < share <= LARGEST_SHARE):
                self.fail(
                    f"{part!r} is no dimension with its weight; expected e.g. physics=2,quality=1", param, ctx
                )
            name = dimension_called(name) or OVERALL
            if name in shares:
                self.fail(f"{name} is there twice", param, ctx)
            shares[name] = share
        return shares


class _Moment(click.ParamType):
    """ISO 8601, in UTC unless it says otherwise; gives milliseconds since 1970-01-01 UTC."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time; expected e.g. 2026-11-24T15:30:00Z", param, ctx)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


class _Offset(click.ParamType):
    """``OFFSET`` or ``PARTITION:OFFSET``; gives the partition, or None for every one, and the offset."""

    name = "[PARTITION:]OFFSET"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | None, int]:
        if isinstance(value, tuple):
            return value
        partition, _, offset = value.rpartition(":")
        if not offset.isdecimal() or not (partition.isdecimal() or value == offset):
            self.fail(f"{value!r} is no offset; expected e.g. 4127, or 2:4127 in partition 2", param, ctx)
        return (int(partition) if partition else None), int(offset)


PATH = _GivenPath(path_type=Path)
MOMENT = _Moment()
OFFSET = _Offset()

_one_broker = click.option(
    "--bootstrap-servers",
    envvar="TRIBRAIN_BOOTSTRAP_SERVERS",
    metavar="HOST:PORT[,…]",
    help="The Kafka broker; also taken from TRIBRAIN_BOOTSTRAP_SERVERS.",
)


def _use_kafka_config(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    config = os.environ.get(CONFIG_VARIABLE) if path is None else str(path.absolute())
    if context.resilient_parsing or not config:
        return
    context.meta[_CONFIG] = config
    if servers := read_sources(config=config).bootstrap_servers:
        context.default_map = {**(context.default_map or {}), "bootstrap_servers": servers}


@contextmanager
def _named_in_environment(config: str | None) -> Iterator[None]:
    """As if the environment had named the file, for the services that a command starts, too."""
    before = os.environ.get(CONFIG_VARIABLE)
    if config is None or config == before:
        yield
        return
    os.environ[CONFIG_VARIABLE] = config
    try:
        yield
    finally:
        if before is None:
            del os.environ[CONFIG_VARIABLE]
        else:
            os.environ[CONFIG_VARIABLE] = before


_kafka_config = click.option(
    "--kafka-config",
    type=PATH,
    metavar="FILE",
    # Read before --bootstrap-servers, which the file may give.
    is_eager=True,
    expose_value=False,
    callback=_use_kafka_config,
    help=f"How to log in to Kafka, by librdkafka's names (sasl.username=…); also taken from "
    f"{CONFIG_VARIABLE}, and each of them from {PREFIX}… (README).",
)


def bootstrap_servers(command: _C) -> _C:
    """Which Kafka, and by what security: a command has both options or none."""
    return _one_broker(_kafka_config(command))


spool_dir = click.option(
    "--spool-dir",
    envvar=FOLDER_VARIABLE,
    type=PATH,
    metavar="FOLDER",
    help=f"Where events wait for Kafka, on a local disk; also taken from {FOLDER_VARIABLE}. By default the "
    "run's folder, or one of yours on this computer where that is over a network (NFS, Lustre, …).",
)
_RUNS = "The folder of a run, or one of such folders (repeatable)."
runs = click.option("--runs", multiple=True, required=True, type=PATH, metavar="FOLDER", help=_RUNS)
some_runs = click.option("--runs", multiple=True, type=PATH, metavar="FOLDER", help=_RUNS)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
plot = click.option("--plot", type=PATH, metavar="FILE.png", help="Draw it, too, into this file.")
model = click.option("--model", default="default", show_default=True, help="The reward model's name.")
strategy = click.option(
    "--strategy",
    type=click.Choice(["best_vs_rest", "adjacent"]),
    default="best_vs_rest",
    show_default=True,
    help="The best candidates over the rest, or each iteration over the one before it.",
)
min_gap = click.option(
    "--min-gap",
    type=FiniteFloat(min=0.0),
    default=0.03,
    show_default=True,
    help="Least difference of the two scores.",
)
top_k = click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many best candidates are compared with the rest.",
)
learner = click.option(
    "--learner",
    type=click.Choice(LEARNERS),
    help="Who learns a model that begins: laplace (the default), whose confidence grows with what it has "
    "seen, or river-logistic. A model that goes on keeps its own.",
)
dimension = click.option(
    "--dimension",
    default="",
    metavar="NAME",
    help="What labels judge apart from the whole, e.g. physics; by default the whole.",
)
model_by = click.option(
    "--model-by",
    metavar="KEY",
    help="A reward model of its own for each value of this entry of a run's context, e.g. task_family: "
    "they are called MODEL.VALUE.",
)

caption = click.option(
    "--caption",
    type=click.Choice(["goal", "prompt"]),
    default="goal",
    show_default=True,
    help="The goal alone, or the prompt with the requirements that refinement added.",
)
