"""``tribrain serve-text`` as its own process, on a real broker: what it learns, publishes and survives."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from confluent_kafka import Producer

from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.kafka.topics import connect_admin, create_topics
from streams.messages.codec import decode_snapshot_of, encode
from streams.messages.contracts import PairMessage, PairsEnd, RewardSnapshot, TextSnapshot
from streams.snapshots.feed import FeedOf, read_latest_of, read_latest_snapshot
from tests.factories import run
from tests.kafka.test_trainer import publish, wait_until_learnt
from tests.services import serve_text, trainer
from tests.trainers.text.factories import polite_pairs
from tests.waiting import wait_until
from trainers.text.learner import TextLearner
from trainers.text.processor import TextProcessor
from trainers.text.reward import NgramReward

_WAIT_S = 60.0


def send(settings: Settings, messages: Sequence[PairMessage | bytes]) -> None:
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers})
    for message in messages:
        value = message if isinstance(message, bytes) else encode(message)
        producer.produce(settings.pairs_topic, key=b"default", value=value)
    assert producer.flush(_WAIT_S) == 0


def stream(seed: int = 0) -> list[PairMessage]:
    """240 pairs: of runs that end, of one that does not, and of none."""
    messages: list[PairMessage] = [
        *polite_pairs(80, seed=seed, sources=("critic", "outcome"), run_of=10),
        *polite_pairs(80, seed=seed + 1, sources=("human", "proxy")),
    ]
    for n in range(7):
        end = PairsEnd(run_id=f"run-{seed}-{n}", task_id="t", n_pairs=10, n_candidates=5)
        messages.insert(11 * (n + 1) + 5, end)
    return [*messages, *polite_pairs(80, seed=seed + 2)]


def wait_for(settings: Settings, version: int) -> TextSnapshot:
    with FeedOf(TextSnapshot, settings) as feed:
        wait_until(lambda: (latest := feed.latest()) is not None and latest.version >= version, _WAIT_S)
        latest = feed.latest()
        assert latest is not None
        return latest


def relearnt(settings: Settings, snapshot: TextSnapshot) -> bytes:
    """The pairs topic up to the snapshot's stamp, learnt anew."""
    processor = TextProcessor("default", snapshots_topic="", topic_ids=snapshot.topic_ids)
    stamp = snapshot.consumed[settings.pairs_topic]
    for message in read_topic(settings, settings.pairs_topic):
        if message.offset < stamp[str(message.partition)]:
            processor.on_message(message)
    return processor.snapshot()


def n_learnt(messages: Sequence[PairMessage]) -> int:
    learner = TextLearner()
    for message in messages:
        learner.on_message(message)
    return learner.version


def test_what_is_published_is_the_pairs_topic_learnt_again_bit_for_bit(settings: Settings) -> None:
    messages = stream()
    with serve_text(settings, "--every-s", "0.05"):
        send(settings, messages)
        last = wait_for(settings, n_learnt(messages))
    assert last.version == n_learnt(messages) == 230
    assert encode(last) == relearnt(settings, last)
    assert last.topic_ids.keys() == {settings.pairs_topic}
    p = NgramReward(last).prob_prefer(["g"], ["please move the cube"], ["move the cube now"])
    assert p[0] > 0.7


@pytest.mark.parametrize(
    "place", ["text.learnt:97", "text.learnt:1", "learner.snapshot-sent:2", "text.snapshot-published:2"]
)
def test_killed_in_the_middle_its_successor_ends_with_the_bytes_of_an_uninterrupted_one(
    place: str, settings: Settings
) -> None:
    messages = stream()
    send(settings, messages[:60])
    with serve_text(settings, "--every-s", "0.05", TRIBRAIN_FAIL_POINT=place) as killed:
        if ".snapshot" in place:
            wait_for(settings, 1)
        send(settings, messages[60:])
        assert killed.wait(_WAIT_S) == -9, "the fail point was not reached"
    with serve_text(settings, "--every-s", "0.05"):
        last = wait_for(settings, n_learnt(messages))
    assert encode(last) == relearnt(settings, last)
    assert last.consumed == {settings.pairs_topic: {"0": len(messages)}}


def test_told_to_stop_it_first_publishes_what_it_has_learnt(settings: Settings) -> None:
    with serve_text(settings, "--every-s", "3600") as server:
        send(settings, [*polite_pairs(20), b"behind the last pair"])
        wait_until(lambda: "passed over" in server.said, _WAIT_S)
        assert read_latest_of(TextSnapshot, settings, "default") is None
        server.terminate()
        assert server.wait(20) == 0
    start, passed_over = server.said.splitlines()
    assert start.startswith("tribrain text: model 'default' learns texts from ")
    assert "passed over" in passed_over
    latest = read_latest_of(TextSnapshot, settings, "default")
    assert latest is not None
    assert latest.version == 20
    assert encode(latest) == relearnt(settings, latest)


def test_so_many_pairs_are_reason_enough_to_publish(settings: Settings) -> None:
    with serve_text(settings, "--every-s", "3600", "--every-pairs", "5"):
        send(settings, polite_pairs(7))
        assert wait_for(settings, 5).version in (5, 6, 7)


def test_a_second_one_takes_over_and_the_first_ends_with_a_message(settings: Settings) -> None:
    with serve_text(settings, "--every-s", "0.05") as first:
        send(settings, polite_pairs(5))
        wait_for(settings, 5)
        with serve_text(settings, "--every-s", "3600") as second:
            wait_until(lambda: "5 pairs so far" in second.said, _WAIT_S)
            send(settings, polite_pairs(5, seed=1))
            assert first.wait(_WAIT_S) == 3
    assert "another trainer has taken over model 'default'; this one publishes nothing more" in first.said
    assert "Traceback" not in first.said
    latest = read_latest_of(TextSnapshot, settings, "default")
    assert latest is not None
    assert encode(latest) == relearnt(settings, latest)


def made_again(settings: Settings) -> None:
    with connect_admin(settings, 10.0) as admin:
        admin.delete_topics([settings.pairs_topic])
        wait_until(lambda: settings.pairs_topic not in admin.list_topics(), _WAIT_S)
    create_topics(settings)


def test_a_topic_that_was_made_again_is_refused_at_the_start(settings: Settings) -> None:
    with serve_text(settings, "--every-s", "0.05"):
        send(settings, polite_pairs(5))
        wait_for(settings, 5)
    made_again(settings)
    with serve_text(settings) as server:
        assert server.wait(_WAIT_S) == 2
    assert "was deleted and made again: text snapshot 5 of model 'default' knows it as" in server.said
    assert server.said.rstrip().endswith("cannot go on with another topic: give another --model")
    assert "Traceback" not in server.said


def test_a_topic_that_is_made_again_under_it_ends_it(settings: Settings) -> None:
    with serve_text(settings, "--every-s", "0.05") as server:
        send(settings, polite_pairs(5))
        wait_for(settings, 5)
        made_again(settings)
        assert server.wait(_WAIT_S) == 2
    assert "was deleted and made again: this process knows it as" in server.said
    assert "Traceback" not in server.said


def test_what_cannot_be_read_is_passed_over_with_a_line_in_the_log(settings: Settings) -> None:
    with serve_text(settings, "--every-s", "0.05") as server:
        send(settings, [b"not json", *polite_pairs(3), b"{}", b""])
        wait_for(settings, 3)
        send(settings, polite_pairs(1, seed=1))
        wait_for(settings, 4)
    assert server.said.count("passed over: ") == 3
    assert f"{settings.pairs_topic}[0]@0: not JSON" in server.said
    assert list(read_topic(settings, settings.dead_letters_topic)) == []


def test_beside_a_trainer_each_has_its_own_snapshots(settings: Settings) -> None:
    with trainer(settings), serve_text(settings, "--every-s", "0.05"):
        publish(settings, run([0.1, 0.9, 0.5]))
        preference = wait_until_learnt(settings, 1)
        text = wait_for(settings, 2)
    assert dict(text.labels) == dict(preference.labels) == {"critic": 2}
    assert read_latest_snapshot(settings, "default") == preference
    keys = {m.key: m.value for m in read_topic(settings, settings.snapshots_topic)}
    assert set(keys) == {b"bt:default", b"checkpoint:default", b"text:default"}
    assert decode_snapshot_of(RewardSnapshot, keys[b"bt:default"], "key") == preference


def test_it_works_on_the_in_memory_broker(in_memory_settings: Settings) -> None:
    settings = in_memory_settings
    with serve_text(settings, "--every-s", "0.05"):
        send(settings, polite_pairs(5))
        assert wait_for(settings, 5).topic_ids == {}
