"""A snapshot writer in a thread of its own leaves nothing behind."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator

import pytest

from streams.kafka.settings import Settings
from streams.messages.contracts import AdapterSnapshot
from streams.snapshots.held_writer import HeldWriter

_WRITERS = 10


@pytest.fixture
def only_closing_frees() -> Iterator[None]:
    """Left to the garbage collector, descriptors come and go."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left_open() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), threading.active_count()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc to ask")
@pytest.mark.usefixtures("only_closing_frees")
def test_writers_that_are_done_leave_no_descriptor_and_no_thread(in_memory_settings: Settings) -> None:
    def write() -> None:
        with HeldWriter(AdapterSnapshot, in_memory_settings, "model") as writer:
            assert writer.open() is None

    write()  # what is made once in a process
    before = left_open()
    for _ in range(_WRITERS):
        write()
    # Less than one a writer: clients of other tests may still be at work in this process.
    assert max(now - then for now, then in zip(left_open(), before, strict=True)) < _WRITERS
