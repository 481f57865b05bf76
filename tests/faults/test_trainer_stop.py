"""A trainer that is told to stop while its broker is away."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from streams.kafka_jars import KafkaJars
from tests.faults.brokers import RestartableBroker
from tests.kafka.test_trainer import interleaved, publish, random_runs, trainer, wait_until_learnt

_SOON_S = 15.0


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_soon_without_a_traceback_and_its_successor_learns_everything(
    told: signal.Signals, kafka_jars: KafkaJars, tmp_path: Path
) -> None:
    broker = RestartableBroker(kafka_jars, tmp_path)
    runs = random_runs(8, seed=5)
    with ExitStack() as running:
        with broker.up():
            stopped = running.enter_context(
                trainer(broker.settings, "--snapshot-every-pairs", "1", stderr=subprocess.PIPE)
            )
            publish(broker.settings, interleaved(runs[:4], seed=6))
            wait_until_learnt(broker.settings, 4)
            publish(broker.settings, interleaved(runs[4:], seed=6))
        started = time.monotonic()
        stopped.send_signal(told)
        _, said = stopped.communicate(timeout=60)
        assert time.monotonic() - started < _SOON_S
    assert stopped.returncode == 0
    assert b"since no broker answers" in said
    assert b"Traceback" not in said
    with broker.up(), trainer(broker.settings):
        wait_until_learnt(broker.settings, 8)
