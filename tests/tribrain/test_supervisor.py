"""Services as child processes: what ends them for good, and what only for a moment."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from streams.errors import BadInput
from streams.kafka.settings import Settings
from tests.waiting import wait_until
from tribrain.shell.supervisor import ServiceProcess

NOWHERE = Settings(bootstrap_servers="127.0.0.1:9")


def test_a_service_that_was_given_something_bad_is_not_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    with ServiceProcess(NOWHERE, ["serve-trainer", "--learner", "none"], tmp_path / "log") as service:

        def is_refused() -> bool:
            try:
                service.keep_alive()
            except BadInput as error:
                said.append(str(error))
            return bool(said)

        wait_until(is_refused, 30.0)
    assert said[0].startswith("serve-trainer: Invalid value for '--learner'")
    assert service.restarts == 0


def test_a_service_that_was_killed_is_started_again(tmp_path: Path) -> None:
    with ServiceProcess(NOWHERE, ["serve-trainer"], tmp_path / "log") as service:
        first = service.pid
        os.kill(first, signal.SIGKILL)
        wait_until(service.keep_alive, 30.0)
        assert service.pid != first
    assert service.restarts == 1


def test_a_service_that_found_no_broker_is_started_again(tmp_path: Path) -> None:
    with ServiceProcess(NOWHERE, ["serve-trainer"], tmp_path / "log") as service:
        wait_until(service.keep_alive, 60.0)
    assert "no Kafka broker answers" in (tmp_path / "log").read_text()
    assert service.restarts == 1
