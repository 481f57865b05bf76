"""A generator's process and the Ctrl-C of the command that waits for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runner.worlds.process import ProcessGroups
from tests.interrupts import interrupts_heard

# The signal is taken by the thread that works, when the main thread waits for it already.
INTERRUPTED = """
import signal, subprocess, sys, threading
from runner.worlds.process import ProcessGroups, interruptibly

groups = ProcessGroups()
main = threading.get_ident()


def work():
    process = groups.start(["cat"], stdin=subprocess.PIPE)  # ends at the latest with this process
    while sys._current_frames()[main].f_code.co_filename != threading.__file__:
        pass
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    return process.wait()


try:
    interruptibly(groups, work)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_a_signal_that_does_not_wake_the_waiting_thread_ends_the_wait() -> None:
    # In a process of its own: a wait that misses the signal has no end.
    with interrupts_heard():
        ended = subprocess.run([sys.executable, "-c", INTERRUPTED], timeout=20, check=False)
    assert ended.returncode == 130


def test_a_generator_is_not_given_the_login_to_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIBRAIN_KAFKA_SASL_PASSWORD", "planted")
    monkeypatch.setenv("TRIBRAIN_KAFKA_SSL_KEY_PASSWORD", "planted")
    monkeypatch.setenv("A_SETTING_OF_ITS_OWN", "kept")
    said, _ = ProcessGroups().start(["env"], stdout=subprocess.PIPE).communicate()
    assert b"A_SETTING_OF_ITS_OWN=kept" in said
    assert b"planted" not in said
