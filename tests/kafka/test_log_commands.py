"""``snapshots``, ``dlq`` and ``replay`` on a log that a real worker has written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from streams.errors import BadInput
from streams.kafka.reader import read_topic
from streams.kafka.settings import TOPIC_PREFIX_VARIABLE, Settings
from streams.kafka.writer import produce
from streams.messages.checkpoints import checkpoint_message
from streams.messages.codec import decode_snapshot, encode, sealed
from streams.messages.contracts import Checkpoint, RewardSnapshot
from streams.messages.dead_letters import pending_letters
from streams.messages.stored import Outgoing, StoredMessage
from streams.snapshots.feed import read_held
from tests.factories import event, pair, run
from tests.kafka.test_trainer import (
    interleaved,
    pairs_on_kafka,
    publish,
    random_runs,
    wait_for_version,
    wait_until_learnt,
)
from tests.services import trainer
from tests.states import held
from tests.waiting import wait_until
from trainers.bradley_terry.estimators import LEARNERS
from trainers.processing.relearn import one_log, relearn
from tribrain.cli import cli


def learn_some(settings: Settings, *options: str) -> RewardSnapshot:
    with trainer(settings, "--snapshot-every-pairs", "5", *options):
        runs = random_runs(12, seed=5)
        publish(settings, interleaved(runs[:4], seed=6))
        wait_for_version(settings, 1)
        publish(settings, interleaved(runs[4:], seed=6))
        return wait_until_learnt(settings, 12)


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_published_snapshot_is_what_the_log_gives(
    learner: str, settings: Settings, tribrain: Any, tmp_path: Path
) -> None:
    last = learn_some(settings, "--learner", learner)
    assert last.recipe["learner"] == learner
    assert bool(last.covariance) is (learner == "laplace")
    code, listed = tribrain("snapshots", "list")
    versions = [row["version"] for row in listed["snapshots"]]
    assert (code, versions[-1]) == (0, last.version)
    assert versions == sorted(set(versions))
    code, verified = tribrain("snapshots", "verify")
    assert (code, verified["verified"], verified["differing"]) == (0, len(versions), [])
    assert verified["checkpoints_verified"] >= 1
    assert (verified["checkpoints_differing"], verified["of_earlier_log"]) == ([], 0)
    assert tribrain("snapshots", "show")[1] == orjson.loads(encode(last))
    code, replayed = tribrain("replay", "--out", str(tmp_path))
    assert (code, replayed["identical_to_published"]) == (0, True)
    assert (tmp_path / "bt_reward.json").read_bytes() == encode(last)


def test_a_model_goes_on_with_its_own_learner_and_refuses_another(settings: Settings) -> None:
    before = learn_some(settings, "--learner", "laplace")
    with trainer(settings, "--learner", "river-logistic") as refused:
        publish(settings, run([0.2, 0.8], run_id="later"))
        assert refused.wait(60) == 2
    assert "model 'default' is learnt by laplace" in refused.said
    with trainer(settings):
        after = wait_until_learnt(settings, 13)
    assert after.recipe["learner"] == "laplace"
    assert sum(after.labels.values()) == sum(before.labels.values()) + 1


def test_a_snapshot_that_the_log_does_not_give_is_found(settings: Settings, tribrain: Any) -> None:
    last = learn_some(settings)
    forged = sealed(replace(last, version=last.version + 1, weights=dict.fromkeys(last.weights, 9.0)))
    list(produce(settings, [Outgoing(settings.snapshots_topic, b"bt:default", encode(forged))]))
    code, verified = tribrain("snapshots", "verify")
    assert (code, verified["differing"]) == (1, [forged.version])
    assert tribrain("snapshots", "verify", "--version", str(last.version))[0] == 0


def test_a_rollback_to_what_cannot_be_continued_is_refused(settings: Settings, tribrain: Any) -> None:
    last = learn_some(settings)
    version = last.version - 1
    foreign = Checkpoint(model="default", version=version, snapshot="", state={"of": "another version"})
    list(produce(settings, [checkpoint_message(foreign, settings.snapshots_topic)]))
    before = [m.value for m in read_topic(settings, settings.pairs_topic)]
    assert tribrain("snapshots", "rollback", "--version", str(version)) == (2, None)
    assert [m.value for m in read_topic(settings, settings.pairs_topic)] == before


def test_a_snapshot_of_offsets_that_the_log_does_not_have_is_no_match(settings: Settings) -> None:
    last = learn_some(settings)
    beyond = replace(last, consumed={settings.pairs_topic: {"0": 10_000}})
    recorded = read_topic(settings, settings.pairs_topic)
    (verdict,) = relearn(recorded, [beyond], settings.pairs_topic, one_log(held(last)))
    assert not verdict.identical


def test_the_trainer_of_another_model_opens_no_letter_that_was_replayed(
    settings: Settings, tribrain: Any
) -> None:
    def letters() -> int:
        return len(list(read_topic(settings, settings.dead_letters_topic)))

    list(produce(settings, [Outgoing(settings.trace_topic, b"run-a", b"{]")]))
    with trainer(settings):
        wait_until(lambda: letters() == 1, 30)
        assert tribrain("dlq", "replay") == (0, {"replayed": 1})
        wait_until(lambda: letters() == 3, 30)  # with the mark, and the letter that comes back
    (open_one,) = tribrain("dlq", "list")[1]["letters"]
    with trainer(settings, "--model", "another"):
        wait_until(lambda: letters() == 5, 30)
    assert tribrain("dlq", "list")[1]["letters"] == [open_one]


def test_an_undisturbed_log_is_verified_and_settled(settings: Settings, tribrain: Any) -> None:
    last = learn_some(settings)
    code, verified = tribrain("verify-state")
    assert (code, verified["consistent"], verified["settled"]) == (0, True, True)
    (report,) = verified["models"]
    assert (report["model"], report["version"], report["identical"]) == ("default", last.version, True)
    assert report["pairs"] == report["learnt"] == sum(last.labels.values())


@pytest.mark.parametrize("fault", ["a forged pair", "a forged snapshot"])
def test_a_log_that_does_not_agree_is_found(fault: str, settings: Settings, tribrain: Any) -> None:
    last = learn_some(settings)
    if fault == "a forged pair":
        forged_pair = pair({"a.x": 1.0}, {"a.x": 0.0}, label_source="critic", pair_id="x", run_id="run-0")
        list(produce(settings, [Outgoing(settings.pairs_topic, b"default", encode(forged_pair))]))
    else:
        forged = sealed(replace(last, version=last.version + 1))
        list(produce(settings, [Outgoing(settings.snapshots_topic, b"bt:default", encode(forged))]))
    code, verified = tribrain("verify-state")
    assert (code, verified["consistent"]) == (1, False)
    (report,) = verified["models"]
    assert report["unexplained"] == (["x"] if fault == "a forged pair" else [])
    assert report["identical"] is (fault == "a forged pair")


@pytest.mark.parametrize("command", [["verify-state"], ["snapshots", "verify"], ["replay", "--out", "new"]])
def test_a_model_that_the_topics_do_not_know_is_bad_input_that_names_it(
    command: list[str], settings: Settings, tribrain: Any
) -> None:
    publish(settings, run([0.1, 0.9]))
    environment = {TOPIC_PREFIX_VARIABLE: settings.topic_prefix}
    words = [*command, "--bootstrap-servers", settings.bootstrap_servers, "--model", "nope"]
    refused = CliRunner().invoke(cli, words, env=environment).exception
    assert isinstance(refused, BadInput)
    assert "of model 'nope'" in str(refused)


@pytest.mark.parametrize(
    "command",
    [
        ["verify-state"],
        ["snapshots", "verify"],
        ["replay", "--out", "replayed"],
        ["replay", "--out", "replayed", "--source", "trace"],
    ],
)
def test_who_only_reads_warns_of_no_dead_letter(
    command: list[str],
    settings: Settings,
    tribrain: Any,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad = [Outgoing(topic, b"a", b"{]") for topic in (settings.trace_topic, settings.pairs_topic)]
    publish(settings, run([0.1, 0.9, 0.5]))
    list(produce(settings, bad))
    with trainer(settings):
        wait_until_learnt(settings, 1)
        wait_until(lambda: len(list(read_topic(settings, settings.dead_letters_topic))) == 2, 30)
    monkeypatch.chdir(tmp_path)
    caplog.clear()
    assert tribrain(*command)[0] == 0
    assert caplog.messages == []


def test_dead_letters_go_back_to_their_topic_with_their_bytes_and_only_once(
    settings: Settings, tribrain: Any
) -> None:
    events = run([0.1, 0.9, 0.5])
    bad = [b"{]", b"\xff\xfe", encode(event(0, 0.5)).replace(b"0.5", b"1e999")]
    strays = [Outgoing(settings.trace_topic, b"run-a", value) for value in bad]
    list(produce(settings, strays))
    with trainer(settings):
        publish(settings, events)
        wait_until_learnt(settings, 1)
        wait_until(lambda: len(list(read_topic(settings, settings.dead_letters_topic))) == 3, 30)
    code, listed = tribrain("dlq", "list")
    assert code == 0
    assert [letter["bytes"] for letter in listed["letters"]] == [len(value) for value in bad]
    assert tribrain("dlq", "show", listed["letters"][0]["name"])[1]["value"] == "{]"
    before = len(list(read_topic(settings, settings.trace_topic)))
    assert tribrain("dlq", "replay") == (0, {"replayed": 3})
    assert tribrain("dlq", "replay") == (0, {"replayed": 0})
    again = list(read_topic(settings, settings.trace_topic))
    assert len(again) == before + 3
    assert sorted(m.value for m in again if m.value in bad) == sorted([*bad, *bad])
    assert len(pairs_on_kafka(settings)) == 3


def test_a_replayed_letter_that_still_fails_comes_back_as_a_new_one(
    settings: Settings, tribrain: Any
) -> None:
    list(produce(settings, [Outgoing(settings.trace_topic, b"x", b"never any good")]))
    with trainer(settings):
        wait_until(lambda: pending_letters(read_topic(settings, settings.dead_letters_topic)), 60)
        first = tribrain("dlq", "list")[1]["letters"][0]["name"]
        assert tribrain("dlq", "replay", "--name", first)[1] == {"replayed": 1}
        wait_until(lambda: pending_letters(read_topic(settings, settings.dead_letters_topic)), 60)
    (second,) = tribrain("dlq", "list")[1]["letters"]
    assert second["name"] != first


@pytest.mark.parametrize(
    "arguments",
    [["snapshots", "list"], ["snapshots", "verify"], ["dlq", "show", "nothing"], ["replay", "--out", "x"]],
)
def test_an_empty_log_is_bad_input(arguments: list[str], tribrain: Any) -> None:
    assert tribrain(*arguments) == (2, None)


def test_a_letter_read_twice_is_listed_once() -> None:
    letter = StoredMessage(
        topic="dlq",
        partition=0,
        offset=0,
        timestamp_ms=0,
        key=None,
        value=b"bytes",
        headers=(
            ("reason", b"why"),
            ("source.topic", b"t"),
            ("source.partition", b"0"),
            ("source.offset", b"7"),
            ("source.timestamp_ms", b"0"),
            ("message.reason", b"a header of the message itself"),
        ),
    )
    (pending,) = pending_letters([letter, letter])
    assert (pending.name, pending.reason) == ("t[0]@7", "why")
    assert pending.headers == (("reason", b"a header of the message itself"),)


def test_all_held_snapshots_are_read_in_the_order_of_versions(settings: Settings) -> None:
    last = learn_some(settings)
    snapshots = [snapshot for _, snapshot in read_held(settings)["default"].snapshots]
    assert snapshots[-1] == decode_snapshot(encode(last), "test")
    assert len(snapshots) > 1
