"""Decoding that begins in many threads at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Threads take turns as often as they can, and none has decoded an event before.
DECODES = """
import sys
import threading

from streams.messages.codec import decode_trace, encode
from tests.factories import run

event, *_ = run([0.1, 0.9])
raw = encode(event)
at_once = threading.Barrier(8)


def decode() -> None:
    at_once.wait()
    decode_trace(raw, "here")


sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=decode) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("process", range(16))
def test_a_first_event_in_many_threads_at_once_does_not_crash_the_process(process: int) -> None:
    # One process is no proof: before msgspec was told of all kinds at the start, about one of four crashed.
    ended = subprocess.run([sys.executable, "-c", DECODES], timeout=60, check=False, capture_output=True)
    assert ended.returncode == 0, ended.stderr
