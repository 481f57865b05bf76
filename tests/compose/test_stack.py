"""The default stack through what happens to one that runs for months."""

from __future__ import annotations

import json
import socket
import time
import urllib.request

import pytest

from streams.snapshots.feed import read_latest_snapshot
from tests.compose.learnt import check_learnt, published
from tests.compose.stack import TOKEN, Stack, docker
from tests.waiting import wait_until

pytestmark = pytest.mark.compose

_MOST_BYTES = 1.5e9
_BACK_S = 180.0
_TOLD_S = 30.0
"""What stands still is told unhealthy within this."""


def test_the_page_answers_who_has_the_token(stack: Stack) -> None:
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with browser.open(f"{stack.url}/?token={TOKEN}") as answer:
        assert answer.status == 200
    assert f"http://127.0.0.1:{stack.ui_port}/?token={TOKEN}" in stack.logs("ui")


def test_all_of_it_takes_less_than_one_and_a_half_gigabytes(stack: Stack) -> None:
    ids = [each["Id"] for each in stack.containers() if each["State"]["Running"]]
    lines = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", *ids).splitlines()
    assert len(lines) == 3
    assert sum(_bytes(line.partition(" / ")[0]) for line in lines) < _MOST_BYTES


def test_nothing_of_it_listens_beyond_this_computer(stack: Stack) -> None:
    bound = {
        port["HostIp"]
        for each in stack.containers()
        for ports in (each["NetworkSettings"]["Ports"] or {}).values()
        for port in ports or []
    }
    assert bound == {"127.0.0.1"}
    own = socket.gethostbyname(socket.gethostname())
    for port in (stack.kafka_port, stack.ui_port):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((own if not own.startswith("127.0.0.1") else "127.0.0.2", port), 2)


def test_no_container_can_do_more_than_it_must(stack: Stack) -> None:
    for each in stack.containers():
        host = each["HostConfig"]
        assert each["Config"]["User"] not in ("", "0", "root")
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["Memory"] > 0
        assert host["NanoCpus"] > 0


def test_no_command_line_holds_the_token(stack: Stack) -> None:
    assert TOKEN not in json.dumps([each["Config"]["Cmd"] for each in stack.containers()])


def test_runs_of_this_computer_are_learnt(stack: Stack) -> None:
    runs = published(stack, 6, "first")
    check_learnt(stack, runs)


def test_a_trainer_that_was_killed_loses_and_doubles_nothing(stack: Stack) -> None:
    runs = published(stack, 6, "before-the-trainer-died")
    docker("kill", stack.container("trainer"))
    runs = [*runs, *published(stack, 6, "while-it-was-dead")]
    stack.bring_back()
    check_learnt(stack, runs)


def test_a_broker_that_was_killed_loses_and_doubles_nothing(stack: Stack) -> None:
    runs = published(stack, 6, "before-the-broker-died")
    docker("kill", stack.container("kafka"))
    stack.bring_back()
    runs = [*runs, *published(stack, 6, "after-it-died")]
    check_learnt(stack, runs)


def test_a_page_that_cannot_read_kafka_is_told_unhealthy(stack: Stack) -> None:
    docker("kill", stack.container("kafka"))
    wait_until(lambda: stack.health("ui") == "unhealthy", _BACK_S)
    stack.bring_back()


def test_three_trainers_share_the_work_and_double_nothing(stack: Stack) -> None:
    runs = published(stack, 6, "for-one")
    stack.up("--scale", "trainer=3")
    assert len(stack.containers("trainer")) == 3
    runs = [*runs, *published(stack, 12, "for-three")]
    check_learnt(stack, runs)
    stack.up("--scale", "trainer=1")
    check_learnt(stack, [*runs, *published(stack, 4, "for-one-again")])


def test_a_stack_that_was_taken_down_goes_on_where_it_was(stack: Stack) -> None:
    runs = published(stack, 4, "before-it-went-down")
    check_learnt(stack, runs)
    version = _version(stack)
    stack.down()
    assert stack.containers() == []
    stack.up()
    assert _version(stack) >= version
    check_learnt(stack, [*runs, *published(stack, 4, "after-it-came-up")])


def test_a_trainer_that_stands_still_is_told_unhealthy_and_started_again(stack: Stack) -> None:
    stopped = time.time()
    _stop_programs(stack.container("trainer"))
    runs = published(stack, 4, "while-it-stood-still")
    wait_until(lambda: stack.health("trainer") == "unhealthy", _BACK_S)
    assert stack.unhealthy_since("trainer", stopped) - stopped < _TOLD_S
    wait_until(lambda: stack.health("trainer") == "healthy", _BACK_S)
    assert stack.containers("trainer")[0]["RestartCount"] >= 1
    check_learnt(stack, runs)


def test_a_trainer_with_nothing_to_do_is_healthy(stack: Stack) -> None:
    check_learnt(stack, [])
    seen: set[str] = set()

    def checked_often() -> bool:
        health = stack.containers("trainer")[0]["State"]["Health"]
        seen.update(check["Start"] for check in health["Log"] if check["ExitCode"] == 0)
        assert health["FailingStreak"] == 0, health
        return len(seen) >= 5

    wait_until(checked_often, _BACK_S)


def _version(stack: Stack) -> int:
    snapshot = read_latest_snapshot(stack.settings, "default")
    assert snapshot is not None
    return snapshot.version


def _stop_programs(container: str) -> None:
    """SIGSTOP to everything in it, as a computer without memory would do."""
    docker("exec", container, "sh", "-c", "kill -STOP -1")


def _bytes(text: str) -> float:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10), ("B", 1)):
        if text.strip().endswith(unit):
            return float(text.strip().removesuffix(unit)) * size
    raise AssertionError(text)
