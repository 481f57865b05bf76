"""The whole loop over SASL_SSL and SCRAM, each part of it as a user of its own with the least rights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from streams.kafka.settings import Settings
from streams.messages.codec import encode
from streams.snapshots.feed import SnapshotFeed, read_latest_snapshot
from tests.faults.recovery import check, recovery
from tests.kafka.test_trainer import interleaved, publish, random_runs, wait_until_learnt
from tests.kafka.test_votes import wait_for_labels
from tests.secured.broker import SecuredBroker
from tests.services import trainer
from tests.waiting import wait_until


def test_runs_trainer_snapshots_votes_rollback_replay_and_verify_state(
    secured: SecuredBroker, prefix: str, tribrain_on: Callable[[Settings], Any], tmp_path: Path
) -> None:
    runner, seen = secured.allowed("run simulated", prefix), replace(secured.open, topic_prefix=prefix)

    def call(rights: str, *arguments: str) -> Any:
        code, said = tribrain_on(secured.allowed(rights, prefix))(*rights.split(), *arguments)
        assert code == 0
        return said

    with (
        trainer(secured.allowed("serve trainer", prefix), "--snapshot-every-pairs", "1") as worker,
        SnapshotFeed(runner) as feed,
    ):
        of_run = ("--out", str(tmp_path / "a"), "--iters", "4", "--seed", "3", "--run-id", "a")
        code, _ = tribrain_on(runner)("run-simulated", "--goal", "move the cube", *of_run)
        assert code == 0
        wait_until(lambda: feed.latest() is not None)
        first = wait_until_learnt(seen, 1)
        vote = {"left_run_id": "a", "left_iter_idx": 0, "right_run_id": "a", "right_iter_idx": 2}
        (tmp_path / "votes.jsonl").write_bytes(orjson.dumps(vote | {"answer": "left", "annotator": "eve"}))
        assert call("log vote --import", str(tmp_path / "votes.jsonl"))["published"] == 1
        voted = wait_for_labels(seen, 1)
        assert voted.version > first.version
        call("log snapshots rollback", "--version", str(first.version))
        wait_until(lambda: _version(seen) > voted.version)
        wait_until(lambda: feed.latest() == read_latest_snapshot(seen, "default"))
        assert call("log verify")["settled"]
        assert call("log replay --source pairs", "--out", str(tmp_path / "again"))["identical_to_published"]
        latest = read_latest_snapshot(seen, "default")
        assert latest is not None
        assert (tmp_path / "again" / "bt_reward.json").read_bytes() == encode(latest)
        assert worker.poll() is None
    assert "Error" not in worker.said


def test_events_of_many_runs_are_learnt_once_and_in_the_same_bytes(
    secured: SecuredBroker, prefix: str
) -> None:
    runs = random_runs(20, seed=31)
    with trainer(secured.allowed("serve trainer", prefix)):
        publish(secured.allowed("log publish", prefix), interleaved(runs, seed=32))
        check(recovery(replace(secured.open, topic_prefix=prefix), runs))


def _version(settings: Settings) -> int:
    latest = read_latest_snapshot(settings, "default")
    return latest.version if latest else 0
