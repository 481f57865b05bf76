"""The options by which a command is told which Kafka, and how to log in to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from streams.kafka.security_sources import CONFIG_VARIABLE, PREFIX, read_sources
from tribrain.shell.option_types import PATH

KAFKA_CONFIG = f"{__name__}.kafka-config"
"""Where a command's context has the name of the file."""
_C = TypeVar("_C", bound=Callable[..., Any])

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
    context.meta[KAFKA_CONFIG] = config
    if servers := read_sources(config=config).bootstrap_servers:
        context.default_map = {**(context.default_map or {}), "bootstrap_servers": servers}


@contextmanager
def named_in_environment(config: str | None) -> Iterator[None]:
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
