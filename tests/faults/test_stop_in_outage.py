"""Services that are told to stop while their broker is away, all in one outage."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from streams.kafka.settings import Settings
from streams.kafka.topics import create_topics
from streams.local_broker.jars import KafkaJars
from tests.faults.brokers import RestartableBroker
from tests.kafka import test_serve_text as texts
from tests.kafka.test_trainer import interleaved, publish, random_runs, wait_until_learnt
from tests.services import Service, serve_text, service, trainer
from tests.trainers.text.factories import polite_pairs
from tests.waiting import wait_until

HAS_LORA = find_spec("peft") is not None
if HAS_LORA:
    from tests.trainers.lora import serving
    from tests.trainers.lora.tiny import tiny_base

_GRACE_S = 60
"""What compose gives a service before it kills it."""
_WAIT_S = 90.0
_RUNS = random_runs(8, seed=5)


@dataclass(frozen=True)
class Stopped:
    """How a service ended, and where its successor goes on."""

    settings: Settings
    folder: Path
    exit_code: int
    said: str


@dataclass(frozen=True)
class Kind:
    """``occupy`` returns when the service has something to lose; ``check`` is that its successor has it."""

    start: Callable[[Settings, Path], AbstractContextManager[Service]]
    occupy: Callable[[Settings, Service], None]
    last_words: str
    check: Callable[[Settings, Path], None]


def occupy_trainer(settings: Settings, server: Service) -> None:
    publish(settings, interleaved(_RUNS[:4], seed=6))
    wait_until_learnt(settings, 4)
    publish(settings, interleaved(_RUNS[4:], seed=6))


def check_trainer(settings: Settings, folder: Path) -> None:
    with trainer(settings):
        wait_until_learnt(settings, 8)


def occupy_text(settings: Settings, server: Service) -> None:
    texts.send(settings, [*polite_pairs(20), b"behind the last pair"])
    wait_until(lambda: "passed over" in server.said, _WAIT_S)


def check_text(settings: Settings, folder: Path) -> None:
    with serve_text(settings, "--every-s", "0.05"):
        assert texts.wait_for(settings, 20).version == 20


def start_lora(settings: Settings, folder: Path) -> AbstractContextManager[Service]:
    base, store = str(tiny_base(folder / "base", "bert")), str(folder / "store")
    return service(settings, "serve-lora", "--base-model", base, "--store", store, *serving.SMALL)


def occupy_lora(settings: Settings, server: Service) -> None:
    wait_until(lambda: "text pairs of people and validators: 0" in server.said, _WAIT_S)


def check_lora(settings: Settings, folder: Path) -> None:
    serving.publish(settings, serving.numbered(40))
    assert serving.train_once(serving.job_at(settings, folder / "base", folder)).version == 1


KINDS = {
    "trainer": Kind(
        lambda settings, _: trainer(settings, "--snapshot-every-pairs", "1"),
        occupy_trainer,
        "since no broker answers",
        check_trainer,
    ),
    "text": Kind(
        lambda settings, _: serve_text(settings, "--every-s", "3600"),
        occupy_text,
        "version 20 is not published, since no broker answers",
        check_text,
    ),
    "lora": Kind(start_lora, occupy_lora, "stopped; the next start goes on from here\n", check_lora),
}
SIGNALS = (signal.SIGTERM, signal.SIGINT)
CASES = [(name, told) for name in KINDS if HAS_LORA or name != "lora" for told in SIGNALS]


@pytest.fixture(scope="module")
def stopped(
    kafka_jars: KafkaJars, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, signal.Signals], Stopped]]:
    """While its successors are looked at, the broker is back."""
    broker = RestartableBroker(kafka_jars, tmp_path_factory.mktemp("broker"))
    with ExitStack() as running:
        servers = []
        with broker.up():
            for name, told in CASES:
                settings = replace(broker.settings, topic_prefix=f"{name}-{told.name}")
                create_topics(settings)
                folder = tmp_path_factory.mktemp(name)
                servers.append((settings, folder, running.enter_context(KINDS[name].start(settings, folder))))
            for (name, _), (settings, _, server) in zip(CASES, servers, strict=True):
                KINDS[name].occupy(settings, server)
        for (_, told), (_, _, server) in zip(CASES, servers, strict=True):
            server.send_signal(told)
        ended = {
            case: Stopped(settings, folder, server.wait(_GRACE_S), server.said)
            for case, (settings, folder, server) in zip(CASES, servers, strict=True)
        }
    with broker.up():
        yield ended


@pytest.mark.parametrize(("name", "told"), CASES)
def test_it_ends_in_time_and_without_a_traceback(
    name: str, told: signal.Signals, stopped: dict[tuple[str, signal.Signals], Stopped]
) -> None:
    end = stopped[name, told]
    assert end.exit_code == 0
    assert KINDS[name].last_words in end.said
    assert "Traceback" not in end.said


@pytest.mark.parametrize(("name", "told"), CASES)
def test_its_successor_loses_nothing(
    name: str, told: signal.Signals, stopped: dict[tuple[str, signal.Signals], Stopped]
) -> None:
    end = stopped[name, told]
    KINDS[name].check(end.settings, end.folder)
