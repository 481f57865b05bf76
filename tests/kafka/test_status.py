"""``tribrain status``: the whole system on one screen, and its exit code where something needs attention."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.kafka.settings import TOPIC_PREFIX_VARIABLE, Settings
from streams.kafka.topics import create_topics
from streams.kafka.writer import produce
from streams.messages.dead_letters import dead_letter
from streams.messages.stored import StoredMessage
from streams.metrics import disks
from streams.metrics.endpoint import serving_metrics
from streams.metrics.health import Condition
from streams.metrics.instruments import Instruments
from streams.metrics.snapshots import SnapshotFigures
from streams.spool.publisher import TracePublisher
from tests.factories import event
from tests.kafka.test_trainer import interleaved, publish, random_runs, wait_until_learnt
from tests.services import trainer
from tests.waiting import wait_until
from tribrain.cli import main
from tribrain.watch.look import Spooled, Status, Trainers, Unread
from tribrain.watch.status import lines


@pytest.fixture(autouse=True)
def roomy_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """However full those of this computer are."""
    monkeypatch.setattr(disks, "LEAST_FREE_BYTES", 1)


def test_where_all_is_learnt_all_is_well(settings: Settings, tribrain: Any) -> None:
    runs = random_runs(12, seed=31)
    with trainer(settings, "--checkpoint-every-s", "0.1"):
        publish(settings, interleaved(runs, seed=32))
        version = wait_until_learnt(settings, len(runs)).version
        wait_until(lambda: tribrain("status")[1]["trainers"]["unread"]["pairs"]["messages"] == 0)
        code, said = tribrain("status")
    assert (code, said["attention"]) == (0, [])
    assert said["broker"] == settings.bootstrap_servers
    assert said["messages"]["trace"] == sum(map(len, runs))
    assert said["trainers"]["members"] == 1
    assert said["trainers"]["unread"]["pairs"]["messages"] == 0
    (snapshot,) = said["snapshots"]
    assert (snapshot["kind"], snapshot["version"]) == ("bt", version)
    assert snapshot["log_loss"] > 0
    assert said["kafka_disk"]["size_bytes"] > said["kafka_disk"]["free_bytes"] > 0
    assert abs(snapshot["published_s"] - time.time()) < 600


def test_messages_that_nobody_reads_need_attention(settings: Settings, tribrain: Any) -> None:
    code, said = tribrain("status")
    assert (code, said["attention"]) == (0, [])
    publish(settings, random_runs(1, seed=33)[0])
    code, said = tribrain("status")
    assert (code, said["attention"]) == (
        1,
        ["no trainer of model 'default' runs; 9 messages waiting; start tribrain serve trainer"],
    )


def test_dead_letters_need_attention_by_kind(settings: Settings, tribrain: Any) -> None:
    for offset, kind in enumerate(["damaged", "damaged", "not usable"]):
        message = StoredMessage(topic="t", partition=0, offset=offset, timestamp_ms=1, key=b"k", value=b"{]")
        list(produce(settings, [dead_letter(message, "why", settings.dead_letters_topic, kind=kind)]))
    code, said = tribrain("status")
    assert code == 1
    assert said["dead_letters"] == {"damaged": 2, "not usable": 1}
    assert said["attention"] == ["3 dead letters waiting; tribrain log dead-letters list says why"]


def test_a_disk_that_fills_needs_attention(
    settings: Settings, tribrain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "LEAST_FREE_BYTES", 1 << 60)
    monkeypatch.setattr(disks, "LEAST_FREE_SHARE", 1.1)
    code, said = tribrain("status", "--runs", str(tmp_path))
    assert code == 1
    own, of_kafka = said["attention"]
    assert own.startswith(f"{tmp_path}: ")
    assert own.endswith(" MiB of its disk is free; make some space")
    assert of_kafka.endswith(" MiB of Kafka's disk is free; give it more, as its log is kept")


def test_topics_that_are_not_there_need_attention(kafka: str, tribrain_on: Any) -> None:
    code, said = tribrain_on(Settings(bootstrap_servers=kafka, topic_prefix="test-nothing-here"))("status")
    assert code == 1
    assert "topic 'test-nothing-here.trace' does not exist" in said["problem"]


def test_a_broker_that_is_away_hides_nothing_of_this_computer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = Settings(bootstrap_servers="127.0.0.1:1")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "trace.jsonl").touch()
    with TracePublisher(away, tmp_path / "run" / "spool.sqlite") as publisher:
        publisher.push(event(0, 0.5))
        publisher.close(0.0)
    instruments = Instruments("trainer")
    instruments.health = lambda: Condition(False, "Its event loop has not turned for 16 s.")
    with serving_metrics(instruments, "127.0.0.1", 0) as url, pytest.raises(SystemExit) as ended:
        main([
            "status", "--bootstrap-servers", "127.0.0.1:1", "--runs", str(tmp_path), "--url", str(url),
        ])  # fmt: skip
    said = capsys.readouterr().out
    assert ended.value.code == 1
    assert "Kafka         127.0.0.1:1: no answer\n" in said
    assert f"{tmp_path}/run/spool.sqlite: 1 event waiting, for up to " in said
    assert "- no Kafka broker answers at 127.0.0.1:1; " in said
    assert f"- {url}/health: Its event loop has not turned for 16 s.\n" in said


def test_without_a_broker_it_looks_at_this_computer_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRIBRAIN_BOOTSTRAP_SERVERS", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["status", "--runs", str(tmp_path)])
    assert (ended.value.code, capsys.readouterr().out) == (
        0,
        "\nNo Kafka broker was named, so only this computer was looked at.\nAll is well.\n",
    )
    with pytest.raises(SystemExit) as ended:
        main(["status"])
    assert ended.value.code == 2
    assert "no Kafka broker is named" in capsys.readouterr().err


@pytest.mark.parametrize("servers", ["bootstrap.servers=127.0.0.1:1\n", ""])
def test_a_file_of_properties_that_names_a_broker_has_it_looked_at(
    servers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRIBRAIN_BOOTSTRAP_SERVERS", raising=False)
    (tmp_path / "client.properties").write_text(f"security.protocol=PLAINTEXT\n{servers}")
    with pytest.raises(SystemExit) as ended:
        main([
            "status", "--kafka-config", str(tmp_path / "client.properties"), "--runs", str(tmp_path),
        ])  # fmt: skip
    assert ended.value.code == (1 if servers else 0)
    assert ("Kafka         127.0.0.1:1: no answer\n" in capsys.readouterr().out) == bool(servers)


def test_one_of_a_thing_is_said_in_the_singular() -> None:
    found = Status(broker="b:1", model="default", messages={"trace": 1, "votes": 1, "pairs": 1})
    assert "Kafka         b:1: 1 event, 1 vote, 1 pair or end" in lines(found, now_s=0.0)


def test_it_looks_again_until_it_is_interrupted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = 0

    def interrupted_at_the_second(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise KeyboardInterrupt

    monkeypatch.setenv(TOPIC_PREFIX_VARIABLE, settings.topic_prefix)
    monkeypatch.setattr("tribrain.watch.status.time.sleep", interrupted_at_the_second)
    with pytest.raises(SystemExit) as ended:
        main(["status", "--bootstrap-servers", settings.bootstrap_servers, "--watch", "--json"])
    assert ended.value.code == 130
    seen = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["attention"] for each in seen] == [[], []]


def test_the_screen_says_what_it_knows_in_a_line_each() -> None:
    found = Status(
        broker="b:1",
        model="default",
        messages={"trace": 9, "votes": 0, "pairs": 4},
        trainers=Trainers(
            members=2,
            unread={
                "trace": Unread(messages=5, oldest_s=None),
                "pairs": Unread(messages=3, oldest_s=301.0),
                "votes": Unread(messages=0, oldest_s=None),
            },
        ),
        spools=[Spooled(path="a/spool.sqlite", records=4, oldest_s=130.0, quarantined=1)],
    )
    assert list(lines(found, now_s=0.0)) == [
        "Kafka         b:1: 9 events, 0 votes, 4 pairs and ends",
        "Trainers      2 read for model 'default'; in no checkpoint: 3 pairs and ends; unread, or held by "
        "open runs and waiting votes: 5 messages",
        "Model         'default' has no snapshot yet",
        "Dead letters  none",
        "Spool         a/spool.sqlite: 4 events waiting, for up to 130 s",
        "",
        "Needs attention:",
        "- pairs of 301 s ago are in no checkpoint; look at the trainer's log, or ask it with tribrain "
        "health",
        "- a/spool.sqlite: 4 events waiting for up to 130 s; if no run sends them, tribrain log "
        "spool flush does",
        "- a/spool.sqlite: Kafka refused 1 event; tribrain log spool status says why",
    ]


@pytest.mark.parametrize(
    ("gate", "says"), [("shadow", "evidence 14.0 of the 20 needed"), ("active", "evidence 14.0;")]
)
def test_evidence_is_told_beside_what_opens_the_gate(gate: str, says: str) -> None:
    metrics = {"gate": {"evidence": 14.0}}
    newest = SnapshotFigures("bt", "default", 9, gate == "active", {}, metrics, None)
    found = Status(model="default", trainers=Trainers(members=1, unread={}), snapshots=[newest])
    (model,) = (line for line in lines(found, now_s=0.0) if line.startswith("Model"))
    assert says in model


def test_with_the_test_broker_it_says_what_that_does_not_tell(
    in_memory_settings: Settings, tribrain_on: Any
) -> None:
    create_topics(in_memory_settings)
    code, said = tribrain_on(in_memory_settings)("status")
    assert code == 0
    assert said["trainers"] == {"members": None, "unread": {}}
