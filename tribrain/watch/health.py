"""``tribrain health``: one question to a process of this program, for a container's health check."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import click
import orjson

from streams.errors import BadInput
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.exit_codes import FAILED
from tribrain.shell.measuring import PORT_VARIABLE
from tribrain.shell.option_types import Integer, Seconds
from tribrain.watch import container

_MOST_BYTES = 1_000


@click.command(cls=Command, epilog="Example: tribrain health --url http://127.0.0.1:9464/health")
@click.option(
    "--url", metavar="URL", show_default="/health on --metrics-port", help="Health address of a service."
)
@click.option(
    "--metrics-port",
    type=Integer(1, 65535),
    help=f"Port of the service's /health on this computer, in place of --url (or set {PORT_VARIABLE}).",
)
@click.option(
    "--timeout-s",
    type=Seconds(min=0, min_open=True),
    default="5s",
    help="Timeout for the answer.",
)
@click.option(
    "--end-after-s",
    type=Seconds(min=1),
    help="In a container with an init: end it after this time of failed checks, or ten times as long if none "
    "has passed yet, so that it is restarted.",
)
@options.as_json
def health(
    url: str | None, metrics_port: int | None, timeout_s: float, end_after_s: float | None, as_json: bool
) -> None:
    """Check one service and print its answer; exit code 1 unless it is healthy.

    Services answer on their --metrics-port, and the page also on its own address.
    """
    if url is None and metrics_port is None:
        raise BadInput(f"no service is named; give --url or --metrics-port, or set {PORT_VARIABLE}")
    asked = checked(url or f"http://127.0.0.1:{metrics_port}/health")
    if end_after_s is not None:
        container.check_is_container()
    is_well, said = ask(asked, timeout_s)
    if end_after_s is not None and is_well and container.first_process_stands_still():
        is_well, said = False, "The container's first process stands still (SIGSTOP)."
    if as_json:
        click.echo(orjson.dumps({"healthy": is_well, "said": said, "url": asked}))
    else:
        click.echo(said)
    if end_after_s is not None and container.is_to_end(is_well, end_after_s):
        container.end()
    if not is_well:
        sys.exit(FAILED)


def checked(url: str) -> str:
    """The URL, with ``/health`` where it names no path. Raises BadInput, also for another path."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise BadInput(f"--url {url!r} is no address to ask; expected e.g. http://127.0.0.1:9464/health")
    path = parts.path.strip("/")
    if path and path.rpartition("/")[2] != "health":
        # Any other page answers with status 200, which would be taken for a healthy service.
        raise BadInput(f"--url {url!r} is not where a service says how it is; expected the path /health")
    return url if path else f"{parts.scheme}://{parts.netloc}/health"


def ask(url: str, timeout_s: float) -> tuple[bool, str]:
    """Whether a process is healthy, with its sentence, or with the reason why it gave none."""
    # Without a proxy: the service is on this computer or next to it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as answer:
            return True, _text(answer.read(_MOST_BYTES))
    except urllib.error.HTTPError as refusal:
        with refusal:
            return False, _text(refusal.read(_MOST_BYTES)) or f"It answered {refusal.code}."
    except TimeoutError:
        return False, f"{url} has not answered within {timeout_s:g} s."
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            return False, f"{url} has not answered within {timeout_s:g} s."
        return False, f"{url} does not answer: {error.reason}."
    except (OSError, ValueError) as error:
        return False, f"{url} does not answer: {error}."


def _text(body: bytes) -> str:
    return " ".join(body.decode(errors="replace").split())
