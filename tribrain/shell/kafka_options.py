"""The options for Kafka's address, and for how a command logs in to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from streams.kafka.security_sources import CONFIG_VARIABLE, PREFIX, SERVERS, read_sources
from tribrain.shell.config_file import Given
from tribrain.shell.option_types import PATH
from tribrain.shell.settings_sources import add_source, place_of

KAFKA_CONFIG = place_of("kafka_config")
"""Key of the file's name in a command's ``context.meta``."""
_C = TypeVar("_C", bound=Callable[..., Any])

_one_broker = click.option(
    "--bootstrap-servers",
    metavar="HOST:PORT[,…]",
    help="Addresses of Kafka brokers (or set TRIBRAIN_BOOTSTRAP_SERVERS).",
)


def _use_kafka_config(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    if context.resilient_parsing or path is None:
        return
    context.meta[KAFKA_CONFIG] = config = str(path.absolute())
    if servers := read_sources(config=config).bootstrap_servers:
        add_source(context, "bootstrap_servers", Given(servers, "file", f"{config} {SERVERS}"))


@contextmanager
def named_in_environment(config: str | None) -> Iterator[None]:
    """Name the file in the environment within the block, also for the services that a command starts."""
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
    help="Security settings by librdkafka's names, e.g. sasl.username=… "
    f"(or set {CONFIG_VARIABLE}, or each as {PREFIX}…).",
)


def bootstrap_servers(command: _C) -> _C:
    """The options for Kafka's address and its security; a command has both or neither."""
    return _one_broker(_kafka_config(command))
