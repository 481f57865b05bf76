"""A secret that is planted comes out nowhere: no log at DEBUG, no event, no output, no list of processes."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from streams.errors import BadInput
from streams.kafka.reader import read_topic
from streams.kafka.security import Secret
from streams.kafka.settings import Settings
from streams.spool.publisher import TracePublisher
from streams.worker.outbox import Outbox
from tests.factories import run
from tests.faults.test_broker_faults import push
from tests.kafka.test_trainer import wait_until_learnt
from tests.pages import PageServer, write_runs
from tests.ports import free_port
from tests.secured.broker import PASSWORD, SecuredBroker
from tests.secured.tokens import TokenCommand
from tests.services import service
from tests.tribrain.processes import needs_proc
from tests.waiting import wait_until
from tribrain.shell.kafka_access import TOPICS, rights_of
from tribrain.ui.guard import COOKIE

_VARIABLE = "TRIBRAIN_KAFKA_SASL_PASSWORD"
_CLIENTS = ("kafka", "aiokafka", "faust", "streams", "trainers", "tribrain", "asyncio", "mode")


def _say_all() -> None:
    """In the process of a service: every logger at DEBUG, also the one that the command line makes quiet."""
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    for name in (*logging.root.manager.loggerDict, *_CLIENTS):
        logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).setLevel = lambda level: None  # type: ignore[method-assign]


def _say_all_on_one_stream() -> None:
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _say_all()


@contextmanager
def _all_that_is_logged() -> Iterator[io.StringIO]:
    """Of this process, at DEBUG."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    before = {name: logging.getLogger(name).level for name in ("", *_CLIENTS)}
    for name in before:
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    try:
        yield said
    finally:
        logging.getLogger().removeHandler(handler)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _forms(secret: str, user: str = "plain") -> list[str]:
    """As it is, and as it goes over the wire."""
    encoded = [
        base64.b64encode(text.encode()).decode().rstrip("=") for text in (secret, f"\0{user}\0{secret}")
    ]
    return [secret, *encoded]


def _with_variables(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


@needs_proc
def test_nothing_of_a_password_is_said_by_a_trainer_at_debug_or_lies_on_a_topic(
    secured: SecuredBroker, prefix: str, tmp_path: Path
) -> None:
    seen = replace(secured.open, topic_prefix=prefix)
    settings = replace(secured.user("plain", "PLAIN"), topic_prefix=prefix)
    secured.allow("plain", [*rights_of("serve trainer", settings), *rights_of("log publish", settings)])
    (tmp_path / "password").write_text(PASSWORD)
    in_file = {_VARIABLE: "", f"{_VARIABLE}_FILE": str(tmp_path / "password")}
    with service(settings, "serve-trainer", environment=in_file, change=_say_all) as worker:
        with (
            _all_that_is_logged() as said_here,
            TracePublisher(settings, tmp_path / "spool.sqlite") as publisher,
        ):
            push(publisher, run([0.1, 0.9, 0.4]))
            assert publisher.flush(30.0) == 0
        wait_until_learnt(seen, 1)
        title = Path(f"/proc/{worker.pid}/cmdline").read_text()
    on_topics = "".join(str(message) for name in TOPICS for message in read_topic(seen, f"{prefix}.{name}"))
    # The loggers did say something: it is no test of silence.
    assert "DEBUG:aiokafka" in worker.said
    assert "Produce" in said_here.getvalue()
    for form in _forms(PASSWORD):
        for text in (worker.said, said_here.getvalue(), title, on_topics):
            assert form not in text


def test_nothing_of_a_token_is_said_at_debug(secured: SecuredBroker, prefix: str, tmp_path: Path) -> None:
    tokens = TokenCommand(tmp_path, "planted-bearer", 600)
    settings = replace(secured.bearer(tokens.command), topic_prefix=prefix)
    secured.allow("planted-bearer", rights_of("run simulated", settings))
    with (
        _all_that_is_logged() as said,
        TracePublisher(settings, tmp_path / "spool.sqlite") as publisher,
    ):
        push(publisher, run([0.1, 0.9]))
        assert publisher.flush(30.0) == 0
    header = base64.urlsafe_b64encode(b'{"alg": "none"}').decode().rstrip("=")
    assert "Produce" in said.getvalue()
    assert header not in said.getvalue()
    assert "Bearer" not in said.getvalue()


def test_nothing_of_a_password_or_of_its_token_is_said_by_a_page_at_debug_but_in_its_address(
    secured: SecuredBroker, prefix: str, tmp_path: Path
) -> None:
    token = "plantedtokenplantedtoken"
    settings = replace(secured.user("plain", "PLAIN"), topic_prefix=prefix)
    secured.allow("plain", rights_of("ui", settings))
    (tmp_path / "password").write_text(PASSWORD)
    given = {
        _VARIABLE: "",
        f"{_VARIABLE}_FILE": str(tmp_path / "password"),
        "TRIBRAIN_UI_TOKEN": token,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    write_runs(tmp_path, runs=1)
    page = PageServer((), {}, free_port())
    options = ("--runs", str(tmp_path / "runs"), "--host", "0.0.0.0", "--port", str(page.port))
    with service(settings, "ui", *options, environment=given, change=_say_all_on_one_stream) as worker:
        wait_until(lambda: worker.poll() is not None or page.answers())
        assert page.request("GET", f"/?token={token}")[0] == 303
        assert page.request("GET", "/runs", {"Cookie": f"{COOKIE}={token}"})[0] == 200
        wait_until(lambda: page.request("GET", "/health")[0] == 200)
        said = worker.said
    assert "DEBUG:kafka" in said
    assert not any(form in said for form in _forms(PASSWORD))
    with_token = [line for line in said.splitlines() if token in line]
    assert [line.partition("http")[0] for line in with_token] == ["the page is at "]


async def _start(settings: Settings) -> None:
    def ignore(*_: object) -> None:
        """Nothing is sent."""

    await Outbox(settings, on_sent=ignore, on_refused=ignore, on_failed=ignore).start()


def test_an_error_with_the_variables_of_all_its_frames_shows_no_secret(secured: SecuredBroker) -> None:
    settings = secured.user("plain", "PLAIN")
    wrong = replace(settings, security=replace(settings.security, password=Secret("planted-wrong")))
    with pytest.raises(BadInput) as raised:
        asyncio.run(_start(wrong))
    shown = _with_variables(raised.value)
    assert "does not let user 'plain' in with PLAIN" in shown
    assert "settings = Settings(" in shown
    assert not any(form in shown for form in _forms("planted-wrong"))
