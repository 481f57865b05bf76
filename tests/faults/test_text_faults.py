"""The text learner while its broker is away."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from streams.kafka_jars import KafkaJars
from tests.faults.brokers import RestartableBroker
from tests.kafka.test_serve_text import send, serve_text, wait_for
from tests.trainers.text.factories import polite_pairs

_SOON_S = 15.0


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_without_a_broker_it_ends_soon_and_its_successor_loses_nothing(
    told: signal.Signals, kafka_jars: KafkaJars, tmp_path: Path
) -> None:
    broker = RestartableBroker(kafka_jars, tmp_path)
    with ExitStack() as running:
        with broker.up():
            options = ("--every-s", "3600")
            server = running.enter_context(serve_text(broker.settings, *options, stderr=subprocess.PIPE))
            assert server.stderr is not None
            server.stderr.readline()
            send(broker.settings, [*polite_pairs(20), b"behind the last pair"])
            assert b"passed over" in server.stderr.readline()
        started = time.monotonic()
        server.send_signal(told)
        _, said = server.communicate(timeout=60)
        assert time.monotonic() - started < _SOON_S
    assert server.returncode == 0
    assert b"version 20 is not published, since no broker answers" in said
    assert b"Traceback" not in said
    with broker.up(), serve_text(broker.settings, "--every-s", "0.05"):
        assert wait_for(broker.settings, 20).version == 20
