"""``tribrain ui``: the page, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import orjson
from cloup import option_group

from streams.errors import BadInput
from streams.kafka.settings import BOOTSTRAP_SERVERS_VARIABLE
from tribrain.shell import measuring, options
from tribrain.shell.command import Command
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import PATH, FiniteFloat, Integer
from tribrain.shell.output import cache_folder

TOKEN_VARIABLE = "TRIBRAIN_UI_TOKEN"
_FEWEST_TOKEN_CHARS = 16
_MAX_DIMENSION_CHARS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOptions:
    """The values of the command's options, by their names."""

    runs: tuple[Path, ...]
    stores: tuple[str, ...]
    bootstrap_servers: str | None
    model: str
    model_by: str | None
    host: str
    port: int
    more_hosts: tuple[str, ...]
    public_url: str | None
    annotator: str
    dimensions: tuple[str, ...]
    random_share: float | None
    state_dir: Path | None
    metrics_port: int | None
    metrics_host: str
    as_json: bool


@click.command(cls=Command, epilog="Example: tribrain ui --runs runs --bootstrap-servers 127.0.0.1:9092")
@option_group(
    "Videos",
    options.some_runs,
    click.option(
        "--artifacts",
        "stores",
        multiple=True,
        metavar="URI",
        help="Store of videos that traces may name, e.g. s3://bucket/runs (repeatable); needs fsspec.",
    ),
)
@option_group(
    "Voting",
    click.option(
        "--annotator", default="", metavar="NAME", show_default="the page asks", help="Name of who votes."
    ),
    click.option(
        "--ask",
        "dimensions",
        multiple=True,
        metavar="DIMENSION",
        show_default="overall",
        help="Dimension that people judge, e.g. physics (repeatable).",
    ),
    click.option(
        "--random-share",
        type=FiniteFloat(0, 1),
        show_default="0.1 for the first 100 votes, rising to 0.5 at 200",
        help="Share of votes on random pairs, which are evidence for the gate.",
    ),
    options.model,
    click.option(
        "--model-by",
        metavar="KEY",
        help="Context key by which the trainer keeps its models; no pair spans two of them.",
    ),
)
@option_group(
    "Address",
    click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="Address to serve the page on."),
    click.option("--port", type=Integer(0, 65535), default=8700, help="Port of the page; 0: a free one."),
    click.option(
        "--allow-host",
        "more_hosts",
        multiple=True,
        metavar="NAME",
        help="Further host name of the page (repeatable).",
    ),
    click.option(
        "--public-url",
        metavar="URL",
        help="Address of the page for browsers, where it is behind a proxy or a published port.",
    ),
)
@option_group(
    "Kafka, metrics and output",
    bootstrap_servers,
    click.option(
        "--state-dir",
        type=PATH,
        metavar="FOLDER",
        help="Local folder for votes that wait for Kafka, and for the key of links.",
    ),
    measuring.metrics_port,
    options.as_json,
)
def ui(**given: Any) -> None:
    """Serve the web page for voting on pairs of videos and viewing runs and models, until Ctrl-C.

    Votes go to Kafka; while the broker is away they wait on this computer. Without a broker the page shows
    the runs, and nobody can vote. It is served on this computer only, unless --host says otherwise; then it
    asks for a token, which is printed with the address, or taken from TRIBRAIN_UI_TOKEN.
    """
    chosen = PageOptions(**given)
    for text in (chosen.annotator, *chosen.dimensions):
        if len(text) > _MAX_DIMENSION_CHARS or not text.isprintable():
            raise BadInput(f"{text[:80]!r}: expected up to {_MAX_DIMENSION_CHARS} visible characters")
    public_name = None if chosen.public_url is None else _name_in(chosen.public_url)
    settings = None
    if chosen.bootstrap_servers or os.environ.get(BOOTSTRAP_SERVERS_VARIABLE):
        settings = open_kafka(chosen.bootstrap_servers, "ui")
    if settings is None and not chosen.runs:
        raise BadInput("there is nothing to show; give --runs with a folder, or --bootstrap-servers, or both")

    # Not at the top: the server and the Kafka client take 0.5 s to import, and --help needs neither.
    from tribrain.ui import health
    from tribrain.ui.guard import allowed_hosts, is_loopback
    from tribrain.ui.links import Links, kept_key
    from tribrain.ui.server import application
    from tribrain.ui.serving import listening, serve, url_of
    from tribrain.ui.state import open_state

    folder = (chosen.state_dir or _own_folder()).absolute()
    key = kept_key(folder / "key")
    with (
        listening(chosen.host, chosen.port) as sock,
        measuring.measured("page", chosen.metrics_port, chosen.metrics_host) as instruments,
        open_state(
            roots=chosen.runs,
            stores=chosen.stores,
            settings=settings,
            model=chosen.model,
            dimensions=["" if name == "overall" else name for name in dict.fromkeys(chosen.dimensions)],
            random_share=chosen.random_share,
            model_by=chosen.model_by,
            annotator=chosen.annotator,
            key=key,
            state_dir=folder,
            cache=cache_folder() / "films",
            on_applied=instruments.histogram("tribrain_snapshot_apply_seconds").observe,
        ) as state,
    ):
        health.expose(instruments, state, folder)
        token = None if is_loopback(chosen.host) else _token() or Links(key).secret("token")
        names = (*chosen.more_hosts, public_name) if public_name else chosen.more_hosts
        app = application(state, hosts=allowed_hosts(chosen.host, names), token=token)
        url = (chosen.public_url or url_of(sock)).rstrip("/") + (f"/?token={token}" if token else "/")
        click.echo(orjson.dumps({"url": url}) if chosen.as_json else f"the page is at {url} (Ctrl-C ends it)")
        asyncio.run(serve(app, sock))


def _name_in(url: str) -> str:
    """The host of an address such as ``http://votes.example:8700``."""
    try:
        parts = urlsplit(url)
        name, _ = parts.hostname, parts.port
    except ValueError:
        name = None
    if not name or parts.scheme not in ("http", "https") or parts.path.strip("/") or parts.query:
        raise BadInput(f"--public-url {url!r}: expected http(s)://NAME[:PORT], e.g. http://127.0.0.1:8700")
    return name


def _token() -> str:
    given = os.environ.get(TOKEN_VARIABLE, "")
    if given and not (len(given) >= _FEWEST_TOKEN_CHARS and given.isascii() and given.isalnum()):
        raise BadInput(
            f"{TOKEN_VARIABLE} has {len(given)} characters; "
            f"expected {_FEWEST_TOKEN_CHARS} or more, letters and digits"
        )
    return given


def _own_folder() -> Path:
    """The state folder by the XDG Base Directory specification."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "tribrain" / "ui"
