"""A service's report once it has ended: what it did, and why it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import click
import orjson

from streams.errors import BadInput, Fenced
from tribrain.shell.exit_codes import NothingMade

EndedBy = Literal["signal", "once", "nothing made", "takeover", "bad input", "error"]


def say_end(
    service: str,
    model: str,
    facts: Mapping[str, Any],
    failure: BaseException | None,
    *,
    once: bool = False,
    as_json: bool,
) -> None:
    """Print one JSON object, or the same as lines, on standard output.

    ``service`` is the last word of its command; ``facts`` are what it did. A service that ended without
    ``failure`` has done its one piece of work (``once``), or was asked to stop.
    """
    told = {
        "service": service,
        "model": model,
        **facts,
        "ended_by": _ended_by(failure, once),
        "failure": None if failure is None or isinstance(failure, KeyboardInterrupt) else str(failure),
    }
    if as_json:
        click.echo(orjson.dumps(told))
        return
    for name, value in told.items():
        click.echo(f"  {name.replace('_', ' '):20}  {_in_words(value)}")


@contextmanager
def saying_end(
    service: str, model: str, facts: Callable[[], Mapping[str, Any]], *, once: bool = False, as_json: bool
) -> Iterator[None]:
    """Call ``say_end`` when the block is left, also by an error, which is then raised again."""
    try:
        yield
    except BaseException as error:
        say_end(service, model, facts(), error, once=once, as_json=as_json)
        raise
    say_end(service, model, facts(), None, once=once, as_json=as_json)


def _ended_by(failure: BaseException | None, once: bool) -> EndedBy:
    if failure is None:
        return "once" if once else "signal"
    if isinstance(failure, KeyboardInterrupt):
        return "signal"
    if isinstance(failure, NothingMade):
        return "nothing made"
    if isinstance(failure, Fenced):
        return "takeover"
    return "bad input" if isinstance(failure, BadInput) else "error"


def _in_words(value: Any) -> str:
    if value is None or value in ({}, []):
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
