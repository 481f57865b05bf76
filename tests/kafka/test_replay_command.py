"""``tribrain replay`` of parts of a log that a real worker has written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.messages.codec import decode_trace, encode
from streams.messages.contracts import PreferencePair, RewardSnapshot, RunEnd, TraceEvent
from streams.messages.files import read_pairs, read_snapshot
from streams.snapshots.feed import read_held
from tests.kafka.test_models_and_ends import has_learnt, newest, of_family, wait_for_ends
from tests.kafka.test_trainer import (
    interleaved,
    pairs_on_kafka,
    publish,
    random_runs,
    wait_until_learnt,
)
from tests.services import trainer


@dataclass(frozen=True)
class Log:
    """Two batches of runs, a snapshot after each, and when the second began."""

    settings: Settings
    runs: list[list[TraceEvent | RunEnd]]
    after_first: RewardSnapshot
    after_all: RewardSnapshot
    second_from_ms: int


@pytest.fixture
def log(settings: Settings) -> Log:
    runs = random_runs(12, seed=71)
    with trainer(settings):
        publish(settings, interleaved(runs[:6], seed=72))
        first = wait_until_learnt(settings, 6)
        offset = len(list(read_topic(settings, settings.pairs_topic)))
        publish(settings, interleaved(runs[6:], seed=73))
        last = wait_until_learnt(settings, 12)
    stored = list(read_topic(settings, settings.pairs_topic))
    return Log(settings, runs, first, last, stored[offset].timestamp_ms)


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def pair_ids(out: Path) -> set[str]:
    return {m.pair_id for m in read_pairs(out / "pairs.jsonl") if isinstance(m, PreferencePair)}


def of_runs(settings: Settings, runs: Sequence[Sequence[TraceEvent | RunEnd]]) -> set[str]:
    """Ids of what a trainer has formed of these runs."""
    names = {messages[0].run_id for messages in runs}
    live = (m for m in pairs_on_kafka(settings) if isinstance(m, PreferencePair))
    return {pair.pair_id for pair in live if pair.run_id in names}


@pytest.mark.parametrize("bound", ["--until", "--to-offset"])
def test_the_log_up_to_a_bound_gives_the_snapshot_that_was_published_then(
    bound: str, log: Log, tribrain: Any, tmp_path: Path
) -> None:
    stamp = log.after_first.consumed[log.settings.pairs_topic]["0"]
    given = iso(log.second_from_ms) if bound == "--until" else str(stamp)
    code, replayed = tribrain("replay", bound, given, "--out", str(tmp_path))
    assert (code, replayed["identical_to_published"]) == (0, True)
    assert (tmp_path / "bt_reward.json").read_bytes() == encode(log.after_first)
    assert pair_ids(tmp_path) == of_runs(log.settings, log.runs[:6])


def test_an_earlier_bound_than_any_snapshot_has_nothing_to_compare_with(
    log: Log, tribrain: Any, tmp_path: Path
) -> None:
    held = read_held(log.settings)["default"].snapshots
    first_stamp = min(s.consumed[log.settings.pairs_topic]["0"] for _, s in held)
    code, replayed = tribrain("replay", "--to-offset", str(first_stamp - 1), "--out", str(tmp_path))
    assert (code, replayed["identical_to_published"]) == (0, None)
    assert replayed["messages"] == first_stamp - 1


@pytest.mark.parametrize("bound", ["--since", "--run"])
def test_whole_runs_are_formed_anew_into_the_pairs_that_were_formed_live(
    bound: str, log: Log, tribrain: Any, tmp_path: Path
) -> None:
    second = log.runs[6:]
    ids = [messages[0].run_id for messages in second]
    names = [option for run_id in ids for option in ("--run", run_id)]
    trace = read_topic(log.settings, log.settings.trace_topic)
    began = min(m.timestamp_ms for m in trace if decode_trace(m.value, m.source).run_id in ids)
    given = ["--since", iso(began)] if bound == "--since" else names
    code, replayed = tribrain("replay", "--source", "trace", *given, "--out", str(tmp_path))
    assert (code, replayed["identical_to_published"]) == (0, None)
    assert pair_ids(tmp_path) == of_runs(log.settings, second)


def test_one_run_of_a_trace_file_gives_its_live_pairs(log: Log, tribrain: Any, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_bytes(b"".join(encode(m) + b"\n" for m in interleaved(log.runs, seed=74)))
    code, _ = tribrain(
        "replay", "--trace", str(trace), "--run", log.runs[3][0].run_id, "--out", str(tmp_path / "out")
    )
    assert code == 0
    assert pair_ids(tmp_path / "out") == of_runs(log.settings, log.runs[3:4])


def test_each_model_of_a_context_is_replayed_and_compared(
    settings: Settings, tribrain: Any, tmp_path: Path
) -> None:
    runs = [
        of_family(messages, "a/b" if n % 2 else "stack") for n, messages in enumerate(random_runs(6, seed=75))
    ]
    with trainer(settings, "--model-by", "task_family"):
        publish(settings, interleaved(runs, seed=76))
        ends = wait_for_ends(settings, 6)
        published = {
            name: newest(settings, name, has_learnt(sum(e.n_pairs for e in ends if e.model == name)))
            for name in ("default.a/b", "default.stack")
        }
    code, replayed = tribrain("replay", "--model-by", "task_family", "--out", str(tmp_path))
    assert code == 0
    assert {name: one["identical_to_published"] for name, one in replayed["models"].items()} == dict.fromkeys(
        published, True
    )
    assert (
        read_snapshot(tmp_path / "bt_reward.default.a%2Fb.json").weights == published["default.a/b"].weights
    )
    code, formed = tribrain(
        "replay", "--model-by", "task_family", "--source", "trace", "--out", str(tmp_path / "formed")
    )
    assert code == 0
    assert set(formed["models"]) == set(published)
    assert pair_ids(tmp_path / "formed") == pair_ids(tmp_path)
