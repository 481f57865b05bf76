"""The periodic training of text rewards while its broker is away."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from streams.kafka_jars import KafkaJars
from streams.topics import create_topics
from tests.faults.brokers import RestartableBroker
from tests.tribrain.processes import command, needs_proc
from tests.waiting import wait_until

if find_spec("peft") is None:
    pytest.skip("the lora extra is not installed", allow_module_level=True)

from tests.trainers.lora.serving import SMALL, numbered, publish, the_newest
from tests.trainers.lora.tiny import tiny_base

pytestmark = needs_proc

_SOON_S = 15.0


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_without_a_broker_it_ends_soon_and_its_successor_trains(
    told: signal.Signals, kafka_jars: KafkaJars, tmp_path: Path
) -> None:
    broker = RestartableBroker(kafka_jars, tmp_path)
    base = tiny_base(tmp_path / "base", "bert")
    given = ["--base-model", str(base), "--store", str(tmp_path / "store"), *SMALL]
    given += ["--bootstrap-servers", broker.settings.bootstrap_servers]
    with ExitStack() as running:
        with broker.up():
            create_topics(broker.settings)
            prefix = {"TRIBRAIN_TOPIC_PREFIX": broker.settings.topic_prefix}
            server = running.enter_context(command(["serve-lora", *given], tmp_path / "said", **prefix))
            wait_until(lambda: "0 text pairs" in server.output, 90.0)
        started = time.monotonic()
        server.process.send_signal(told)
        assert server.wait(60) == 0
        assert time.monotonic() - started < _SOON_S
    assert server.output.splitlines()[-1].endswith("stopped; the next start goes on from here")
    assert "Traceback" not in server.output
    with broker.up():
        publish(broker.settings, numbered(40))
        with command(["serve-lora", "--once", *given], tmp_path / "said-again", **prefix) as again:
            assert again.wait(90) == 0
        assert the_newest(broker.settings, "default").version == 1
