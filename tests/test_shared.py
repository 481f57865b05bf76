"""The one broker of a test run: flock holds between threads, too, so these stand for worker processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.shared import shared
from tests.waiting import wait_until


class Service:
    """Counts how often it is started, and how many of it run."""

    def __init__(self) -> None:
        self.started = self.running = 0

    @contextmanager
    def start(self) -> Iterator[str]:
        self.started += 1
        self.running += 1
        yield f"address {self.started}"
        self.running -= 1


def test_it_ends_when_its_last_user_has_gone_and_a_later_one_starts_it_anew(tmp_path: Path) -> None:
    service = Service()
    first, second = ExitStack(), ExitStack()
    assert first.enter_context(shared(tmp_path, service.start)) == "address 1"
    assert second.enter_context(shared(tmp_path, service.start)) == "address 1"
    ending = threading.Thread(target=first.close)
    ending.start()
    with shared(tmp_path, service.start) as address:
        assert (address, service.running) == ("address 1", 1)
        second.close()
    ending.join(10.0)
    assert (service.started, service.running) == (1, 0)
    with shared(tmp_path, service.start) as address:
        assert address == "address 2"


def test_of_many_that_come_at_once_one_starts_it(tmp_path: Path) -> None:
    service, together = Service(), threading.Barrier(8)

    def use() -> None:
        together.wait()
        with shared(tmp_path, service.start):
            together.wait()

    users = [threading.Thread(target=use) for _ in range(8)]
    for user in users:
        user.start()
    wait_until(lambda: not any(user.is_alive() for user in users))
    assert (service.started, service.running) == (1, 0)


def test_a_start_that_fails_leaves_it_to_the_next(tmp_path: Path) -> None:
    service = Service()

    @contextmanager
    def fail() -> Iterator[str]:
        raise OSError("no port is free")
        yield ""

    with pytest.raises(OSError, match="no port"), shared(tmp_path, fail):
        pass
    with shared(tmp_path, service.start) as address:
        assert address == "address 1"
