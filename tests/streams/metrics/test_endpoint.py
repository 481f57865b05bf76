"""``/metrics`` and ``/health`` as a scraper and a health check see them."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from streams.errors import BadInput
from streams.metrics.endpoint import serving_metrics
from streams.metrics.health import Condition
from streams.metrics.instruments import Instruments


def ask(url: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, content type and body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.headers["Content-Type"], refusal.read().decode()


def test_metrics_are_in_the_format_that_prometheus_reads() -> None:
    with serving_metrics(Instruments("text"), "127.0.0.1", 0) as url:
        status, content_type, body = ask(f"{url}/metrics")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "# TYPE tribrain_healthy gauge\n" in body


def test_health_is_200_or_503_with_one_sentence() -> None:
    instruments = Instruments("text")
    with serving_metrics(instruments, "127.0.0.1", 0) as url:
        instruments.health = lambda: Condition(True, "It has read everything.")
        assert ask(f"{url}/health")[::2] == (200, "It has read everything.\n")
        instruments.health = lambda: Condition(False, "Kafka has not answered for 21 s.")
        assert ask(f"{url}/health")[::2] == (503, "Kafka has not answered for 21 s.\n")


def test_any_other_path_is_404_and_says_what_there_is() -> None:
    with serving_metrics(Instruments("text"), "127.0.0.1", 0) as url:
        assert ask(f"{url}/")[::2] == (404, "There are /metrics and /health.\n")


def test_the_head_of_an_answer_can_be_asked_for_alone() -> None:
    with serving_metrics(Instruments("text"), "127.0.0.1", 0) as url:
        assert ask(f"{url}/metrics", "HEAD")[::2] == (200, "")


def test_without_a_port_nothing_listens() -> None:
    with serving_metrics(Instruments("text"), "127.0.0.1", None) as url:
        assert url is None


def test_a_port_that_is_taken_is_bad_input() -> None:
    with serving_metrics(Instruments("text"), "127.0.0.1", 0) as url:
        assert url is not None
        port = int(url.rpartition(":")[2])
        with (
            pytest.raises(BadInput, match=r"cannot be listened on: Address already in use; choose another"),
            serving_metrics(Instruments("text"), "127.0.0.1", port),
        ):
            pass


def test_after_the_block_the_port_is_free() -> None:
    with serving_metrics(Instruments("text"), "127.0.0.1", 0) as url:
        assert url is not None
    with serving_metrics(Instruments("text"), "127.0.0.1", int(url.rpartition(":")[2])) as again:
        assert again == url
