"""A run whose judge was down, on a real broker: it is rescored, and what is learnt of it is its export."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.messages.codec import decode_run_closed
from streams.messages.contracts import PairsEnd, PreferencePair
from streams.messages.files import read_pairs
from streams.snapshots.feed import read_latest_snapshot
from streams.spool.publish_now import publish_messages
from tests.factories import revision, run
from tests.kafka.test_trainer import pairs_on_kafka
from tests.services import trainer
from tests.waiting import wait_until
from tribrain.cli import main

_WAIT_S = 60.0
JUDGE = """
import json
import sys
from pathlib import Path

if (Path(__file__).parent / "down").exists():
    sys.exit(3)
print(json.dumps({"task": 0.9 if "iter_01" in sys.argv[1] else 0.3}))
"""


def ends_on_kafka(settings: Settings) -> list[tuple[str, int]]:
    return [message.run for message in pairs_on_kafka(settings) if isinstance(message, PairsEnd)]


def labels(settings: Settings) -> dict[str, int]:
    newest = read_latest_snapshot(settings, "default")
    return dict(newest.labels) if newest is not None else {}


def test_a_run_whose_judge_was_down_is_rescored_and_its_pairs_are_those_of_the_export(
    settings: Settings, tribrain: Any, tmp_path: Path
) -> None:
    (tmp_path / "judge.py").write_text(JUDGE)
    (tmp_path / "down").touch()
    judge = f"judge={shlex.quote(sys.executable)} -S {shlex.quote(str(tmp_path / 'judge.py'))} {{video}}"
    out = str(tmp_path / "a")
    with trainer(settings, "--snapshot-every-pairs", "1"):
        code, _ = tribrain(
            *("run-simulated", "--goal", "move the red cube to the bowl", "--iters", "3", "--seed", "1"),
            *("--run-id", "a", "--out", out, "--critic", judge, "--require-critic", "judge"),
            *("--max-failures", "9", "--outcome-share", "0"),
        )
        assert code == 4
        wait_until(lambda: ends_on_kafka(settings) == [("a", 0)], _WAIT_S)
        (tmp_path / "down").unlink()
        code, told = tribrain("rescore", out, "--critic", judge)
        assert (code, told["judged"], told["published"]) == (0, {"judge": 3}, True)
        wait_until(lambda: ends_on_kafka(settings) == [("a", 0), ("a", 1)], _WAIT_S)
        wait_until(lambda: labels(settings) == {"critic": 2}, _WAIT_S)
        assert tribrain("rescore", out, "--critic", judge)[0] == 0  # sent once more
        code, state = tribrain("verify-state")
    assert (code, state["consistent"]) == (0, True)
    export = tmp_path / "pairs.jsonl"
    with pytest.raises(SystemExit) as ended:
        main(["export-preference-pairs", "--run-dir", out, "--out", str(export)])
    assert ended.value.code == 0
    on_kafka = {m.pair_id: m for m in pairs_on_kafka(settings) if isinstance(m, PreferencePair)}
    assert on_kafka == {m.pair_id: m for m in read_pairs(export) if isinstance(m, PreferencePair)}
    marks = [
        decode_run_closed(message.value, message.source)
        for message in read_topic(settings, settings.closed_runs_topic)
    ]
    assert {mark.run for mark in marks} == {("a", 0), ("a", 1)}


def test_a_revision_whose_publisher_was_killed_waits_until_it_comes_again_whole(
    settings: Settings, tribrain: Any
) -> None:
    made = run([0.5, 0.2, None])
    rescored = revision(made, {2: 0.9})
    publish_messages(settings, [*rescored[:2], *made], timeout_s=_WAIT_S)
    with trainer(settings, "--snapshot-every-pairs", "1"):
        wait_until(lambda: ends_on_kafka(settings) == [("run-a", 0)], _WAIT_S)
        publish_messages(settings, rescored, timeout_s=_WAIT_S)
        wait_until(lambda: ends_on_kafka(settings) == [("run-a", 0), ("run-a", 1)], _WAIT_S)
        wait_until(lambda: labels(settings) == {"critic": 3}, _WAIT_S)
        code, state = tribrain("verify-state")
    assert (code, state["settled"]) == (0, True)


def test_an_open_revision_is_ended_by_hand_as_an_open_run_is(settings: Settings, tribrain: Any) -> None:
    made = run([0.5, 0.2, None])
    publish_messages(settings, [*made, *revision(made, {1: 0.9})[:2]], timeout_s=_WAIT_S)
    with trainer(settings, "--snapshot-every-pairs", "1"):
        wait_until(lambda: ends_on_kafka(settings) == [("run-a", 0)], _WAIT_S)
        marks = settings.closed_runs_topic
        wait_until(lambda: len(list(read_topic(settings, marks))) == 1, _WAIT_S)
        assert tribrain("end-run", "run-a") == (0, {"ended": {"run-a (revision 1)": [0, 1]}})
        wait_until(lambda: ends_on_kafka(settings) == [("run-a", 0), ("run-a", 1)], _WAIT_S)
