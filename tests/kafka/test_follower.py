"""Topics followed in the background: what goes wrong there is counted, said once, and recovered from."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from kafka.net.selector import NetworkSelector

from streams.kafka import follow
from streams.kafka.consumer import Consumer
from streams.kafka.follow import TopicFollower
from streams.kafka.settings import Settings
from streams.kafka.topics import create_topics
from streams.kafka.writer import produce
from streams.local_broker.broker import InMemoryBroker
from streams.messages.stored import Outgoing, StoredMessage
from tests.waiting import wait_until


class Heard:
    """The values that came."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def __call__(self, message: StoredMessage) -> None:
        self.values.append(message.value)


def _send(settings: Settings, *values: bytes) -> None:
    list(produce(settings, [Outgoing(settings.pairs_topic, b"key", value) for value in values]))


def test_an_error_of_any_kind_is_counted_said_once_and_recovered_from(
    in_memory_settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heard, poll, left = Heard(), Consumer.poll, iter([1, 2, 3])

    def fail_thrice(consumer: Consumer) -> Any:
        if next(left, None):
            raise RuntimeError("a fault of the client")
        return poll(consumer)

    monkeypatch.setattr(Consumer, "poll", fail_thrice)
    monkeypatch.setattr(follow, "_FIRST_PAUSE_S", 0.01)
    with TopicFollower(in_memory_settings, [in_memory_settings.pairs_topic], heard) as follower:
        _send(in_memory_settings, b"1")
        wait_until(lambda: heard.values == [b"1"])
        assert follower.errors == {"RuntimeError": 3}
        assert follower.is_alive
    assert [record.levelno for record in caplog.records if record.name == follow.__name__] == [logging.ERROR]
    assert not follower.is_alive


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_client_whose_own_thread_has_died_is_replaced(
    in_memory_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, poll_once, killed = Heard(), NetworkSelector._poll_once, threading.Event()

    def die_once(selector: NetworkSelector, *arguments: Any) -> Any:
        if heard.values and threading.current_thread() is selector._io_thread and not killed.is_set():
            killed.set()
            raise MemoryError
        return poll_once(selector, *arguments)

    with TopicFollower(in_memory_settings, [in_memory_settings.pairs_topic], heard) as follower:
        monkeypatch.setattr(NetworkSelector, "_poll_once", die_once)
        _send(in_memory_settings, b"1")
        wait_until(killed.is_set)
        _send(in_memory_settings, b"2")
        wait_until(lambda: b"2" in heard.values)
        assert follower.errors.keys() == {"MemoryError"}


def test_what_the_handler_raises_is_counted_and_said_once(
    in_memory_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()

    def raise_then_take(message: StoredMessage) -> None:
        if message.value == b"bad":
            raise ValueError("a bug of the caller")
        heard(message)

    with TopicFollower(in_memory_settings, [in_memory_settings.pairs_topic], raise_then_take) as follower:
        _send(in_memory_settings, *([b"bad"] * 5), b"good")
        wait_until(lambda: heard.values == [b"good"])
        assert follower.errors == {"ValueError": 5}
    assert len([record for record in caplog.records if record.name == follow.__name__]) == 1


def test_a_broker_that_falls_silent_is_noticed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("_ASK_EVERY_S", "_SILENCE_S"):
        monkeypatch.setattr(follow, name, 0.3)
    with InMemoryBroker() as broker:
        settings = Settings(bootstrap_servers=broker.bootstrap_servers)
        create_topics(settings)
        with TopicFollower(settings, [settings.pairs_topic], Heard()) as follower:
            _wait_until_heard(follower, times=1)
            broker.stop()
            wait_until(lambda: "the broker has been silent for" in caplog.text)
            assert follower.silent_s > 0.3
            assert follower.is_alive
    assert follower.errors == {}


def test_an_idle_topic_is_no_silence(in_memory_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_ASK_EVERY_S", 0.1)
    with TopicFollower(in_memory_settings, [in_memory_settings.pairs_topic], Heard()) as follower:
        _wait_until_heard(follower, times=3)


def _wait_until_heard(follower: TopicFollower, times: int) -> None:
    """Its silence begins anew, although no message comes."""
    last, heard = follower.silent_s, 0

    def enough() -> bool:
        nonlocal last, heard
        now = follower.silent_s
        heard += now < last
        last = now
        return heard >= times

    wait_until(enough)


def test_a_follower_that_finds_no_broker_ends_when_it_is_closed() -> None:
    follower = TopicFollower(Settings(bootstrap_servers="127.0.0.1:9"), ["any"], Heard())
    follower.close()
    assert not follower.is_alive
