"""What commands share in reporting their health and metrics: the options, the port, and the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.metrics.catalogue import Service
from tribrain.shell.option_types import PATH, Integer

if TYPE_CHECKING:
    from streams.metrics.instruments import Instruments

PORT_VARIABLE = "TRIBRAIN_METRICS_PORT"
HOST_VARIABLE = "TRIBRAIN_METRICS_HOST"
FILE_VARIABLE = "TRIBRAIN_METRICS_FILE"
VARIABLES = (PORT_VARIABLE, HOST_VARIABLE, FILE_VARIABLE)
"""Variables of one process alone: a child that inherits them would want the same port."""
_LOOPBACK = "127.0.0.1"

_PORT = click.option(
    "--metrics-port",
    type=Integer(0, 65535),
    show_default="none",
    help=f"Port for /metrics (Prometheus) and /health; 0 takes a free one (or set {PORT_VARIABLE}).",
)
_HOST = click.option(
    "--metrics-host",
    default=_LOOPBACK,
    metavar="ADDRESS",
    help=f"Address to serve metrics on (or set {HOST_VARIABLE}).",
)
_FILE = click.option(
    "--metrics-file",
    type=PATH,
    metavar="FILE.prom",
    help=f"Also write metrics to this file, for node_exporter's textfile collector (or set {FILE_VARIABLE}).",
)


OPTIONS_OF_A_RUN = (_PORT, _HOST, _FILE)
"""The options of a run, on whose node there may be nothing that scrapes; hence the file."""


def metrics_port(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a service."""
    return _PORT(_HOST(command))


@contextmanager
def measured(
    service: Service, port: int | None, host: str, file: Path | None = None
) -> Iterator[Instruments]:
    """The registry of this process, exposed as requested until the block is left. Raises BadInput."""
    # Not at the top: an HTTP server and the registry take a sixth of a second, and --help needs neither.
    from streams.metrics.endpoint import serving_metrics
    from streams.metrics.instruments import Instruments
    from streams.metrics.textfile import writing_metrics

    instruments = Instruments(service)
    with serving_metrics(instruments, host, port) as url, writing_metrics(instruments, file):
        if url is not None:
            click.echo(f"metrics are at {url}/metrics, and {url}/health says whether it is healthy", err=True)
        yield instruments
