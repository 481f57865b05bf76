"""``tribrain health``: what a container's health check sees."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from streams.metrics.endpoint import serving_metrics
from streams.metrics.health import Condition
from streams.metrics.instruments import Instruments
from tribrain.cli import main
from tribrain.shell.measuring import PORT_VARIABLE
from tribrain.watch import container


@pytest.fixture(autouse=True)
def _no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PORT_VARIABLE, raising=False)


@pytest.fixture
def served() -> Iterator[tuple[Instruments, str]]:
    instruments = Instruments("trainer")
    with serving_metrics(instruments, "127.0.0.1", 0) as url:
        assert url is not None
        yield instruments, url


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["health", *arguments])
    return int(str(ended.value.code))


def test_one_that_is_well_is_code_0_and_its_sentence(
    served: tuple[Instruments, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("--url", f"{served[1]}/health") == 0
    assert capsys.readouterr().out == "It answers.\n"


def test_one_that_is_not_is_code_1_and_why(
    served: tuple[Instruments, str], capsys: pytest.CaptureFixture[str]
) -> None:
    instruments, url = served
    instruments.health = lambda: Condition(False, "Kafka has not answered for 21 s.")
    assert code_of("--url", url, "--json") == 1
    assert orjson.loads(capsys.readouterr().out) == {
        "healthy": False,
        "said": "Kafka has not answered for 21 s.",
        "url": f"{url}/health",
    }


@pytest.mark.parametrize("command", ["health", "status"])
def test_another_page_of_a_service_does_not_say_how_it_is(
    served: tuple[Instruments, str], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--url", f"{served[1]}/metrics"])
    assert ended.value.code == 2
    assert "expected the path /health" in capsys.readouterr().err


def test_the_port_of_the_environment_is_asked_where_nothing_is_named(
    served: tuple[Instruments, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PORT_VARIABLE, served[1].rpartition(":")[2])
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert code_of() == 0


def test_one_that_takes_the_question_and_does_not_answer_is_code_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/health"
        assert code_of("--url", url, "--timeout-s", "0.2") == 1
    assert capsys.readouterr().out == f"{url} has not answered within 0.2 s.\n"


def test_where_nobody_listens_is_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/health"
    assert code_of("--url", url) == 1
    assert "Connection refused" in capsys.readouterr().out


@pytest.mark.parametrize("url", ["", "localhost", "ftp://localhost/health", "http://:9464", "http://a:b"])
def test_what_is_no_address_is_bad_input(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--url", url) == 2
    assert "is no address to ask" in capsys.readouterr().err


def test_nobody_to_ask_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of() == 2
    assert "give --url or --metrics-port, or set TRIBRAIN_METRICS_PORT" in capsys.readouterr().err


def test_beyond_a_container_it_ends_nothing(
    served: tuple[Instruments, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(container, "_MARKS", ())
    assert code_of("--url", served[1], "--end-after-s", "60") == 2
    assert "this is none; leave it out" in capsys.readouterr().err


def test_a_container_whose_first_process_stands_still_is_not_well(
    served: tuple[Instruments, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(container, "_MARKS", (tmp_path,))
    monkeypatch.setattr(container, "_NOTES", tmp_path / "notes")
    monkeypatch.setattr(container, "first_process_stands_still", lambda: True)
    assert code_of("--url", served[1], "--end-after-s", "60") == 1
    assert "stands still" in capsys.readouterr().out
