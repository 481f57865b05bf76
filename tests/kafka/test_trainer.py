"""The real worker as its own process, on a real broker: what it forms, learns and survives."""

from __future__ import annotations

import json
import os
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streams.kafka.follow import TopicFollower
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.kafka.topics import create_topics
from streams.messages.codec import decode_pair, decode_trace, encode
from streams.messages.contracts import PairsEnd, PreferencePair, RewardSnapshot, Rollback, RunEnd, TraceEvent
from streams.messages.stored import StoredMessage
from streams.snapshots.feed import SnapshotFeed, read_latest_snapshot
from streams.spool.publish_now import publish_messages, publish_trace_file
from tests.factories import event, run
from tests.services import trainer, trainer_to_kill
from tests.waiting import wait_until
from trainers.online.learner import OnlineLearner
from trainers.pairs.pairing import PairingRules, pairs_of_run

_WAIT_S = 60.0


def random_runs(n: int, seed: int, prefix: str = "run") -> list[list[TraceEvent | RunEnd]]:
    """Runs of eight iterations with three critics, a failed candidate here and there, and some outcomes."""
    rng = random.Random(seed)
    runs = []
    for number in range(n):
        run_id = f"{prefix}-{number}"
        messages: list[TraceEvent | RunEnd] = []
        for i in range(8):
            critics = {name: rng.random() for name in ("goal.task", "jump.physics", "flicker.quality")}
            failed = rng.random() < 0.1
            messages.append(
                event(
                    i,
                    None if failed else sum(critics.values()) / 3,
                    run_id=run_id,
                    outcome=critics["goal.task"] if not failed and rng.random() < 0.5 else None,
                    critics={} if failed else critics,
                )
            )
        runs.append([*messages, RunEnd(run_id=run_id, iterations=tuple(range(8)))])
    return runs


def interleaved(runs: Sequence[Sequence[TraceEvent | RunEnd]], seed: int) -> list[TraceEvent | RunEnd]:
    """The events of all runs mixed, those of one run in their order."""
    rng, queues = random.Random(seed), [list(run) for run in runs]
    mixed = []
    while queues:
        queue = rng.choice(queues[:6])
        mixed.append(queue.pop(0))
        queues = [queue for queue in queues if queue]
    return mixed


def publish(settings: Settings, messages: Sequence[TraceEvent | RunEnd]) -> None:
    assert publish_messages(settings, messages, timeout_s=_WAIT_S) == {}


def pairs_on_kafka(settings: Settings) -> list[PreferencePair | PairsEnd]:
    decoded = [decode_pair(m.value, m.source) for m in read_topic(settings, settings.pairs_topic)]
    return [message for message in decoded if not isinstance(message, Rollback)]


def wait_until_learnt(settings: Settings, runs: int) -> RewardSnapshot:
    """The snapshot that has learnt everything, once ``runs`` runs have ended on the pairs topic."""
    seen: set[str] = set()
    ended: set[str] = set()
    last_new = 0

    def take(message: StoredMessage) -> None:
        nonlocal last_new
        pair = decode_pair(message.value, message.source)
        if isinstance(pair, Rollback):
            return
        name = pair.run_id if isinstance(pair, PairsEnd) else pair.pair_id
        if name not in seen:
            last_new = message.offset
        seen.add(name)
        if isinstance(pair, PairsEnd):
            ended.add(pair.run_id)

    def learnt() -> bool:
        latest = feed.latest()
        if latest is None or len(ended) < runs:
            return False
        return max(latest.consumed.get(settings.pairs_topic, {}).values(), default=0) > last_new

    with SnapshotFeed(settings) as feed, TopicFollower(settings, [settings.pairs_topic], take):
        wait_until(learnt, _WAIT_S)
        latest = feed.latest()
        assert latest is not None
        return latest


def wait_for_version(settings: Settings, version: int) -> None:
    with SnapshotFeed(settings) as feed:
        wait_until(lambda: (latest := feed.latest()) is not None and latest.version > version, _WAIT_S)


def expected_pairs(runs: Sequence[Sequence[TraceEvent | RunEnd]]) -> set[str]:
    """Ids of the offline export, which the live pairs must contain."""
    return {
        pair.pair_id
        for messages in runs
        for pair in pairs_of_run([m for m in messages if isinstance(m, TraceEvent)], PairingRules())
    }


def relearnt(messages: Sequence[PreferencePair | PairsEnd]) -> OnlineLearner:
    """What a learner makes of the messages, each once; so it keeps nothing to tell repetitions by."""
    learner = OnlineLearner()
    for message in {encode(message): message for message in messages}.values():
        learner.on_message(message, known_new=True)
    return learner


@dataclass(frozen=True)
class Learnt:
    """Forty runs that one undisturbed worker has learnt."""

    settings: Settings
    runs: list[list[TraceEvent | RunEnd]]
    published: RewardSnapshot


@pytest.fixture(scope="module")
def learnt(kafka: str) -> Learnt:
    settings = Settings(bootstrap_servers=kafka, topic_prefix=f"test-learnt-{uuid.uuid4().hex[:12]}")
    create_topics(settings)
    runs = random_runs(40, seed=1)
    with trainer(settings):
        publish(settings, interleaved(runs, seed=2))
        return Learnt(settings, runs, wait_until_learnt(settings, len(runs)))


def test_live_pairs_contain_the_offline_export_and_no_pair_twice(learnt: Learnt) -> None:
    ids = [m.pair_id for m in pairs_on_kafka(learnt.settings) if isinstance(m, PreferencePair)]
    assert expected_pairs(learnt.runs) <= set(ids)
    assert len(ids) == len(set(ids))


def test_the_published_model_is_the_recorded_pairs_learnt_again_bit_for_bit(learnt: Learnt) -> None:
    again = relearnt(pairs_on_kafka(learnt.settings)).snapshot(
        learnt.published.consumed, learnt.published.topic_ids
    )
    assert encode(again) == encode(learnt.published)
    assert learnt.published.labels["outcome"] > 0


def test_a_run_of_the_original_tribrain_gives_the_pairs_of_its_own_exporter(settings: Settings) -> None:
    data = os.environ.get("TRIBRAIN_DATA")
    if not data:
        pytest.skip("set TRIBRAIN_DATA to the folder of real runs")
    folder = Path(data) / "tribrain_0_6_2"
    theirs = [json.loads(line) for line in (folder / "pairs.best_vs_rest.k1.jsonl").read_text().splitlines()]
    with trainer(settings):
        publish_trace_file(settings, folder / "trace.jsonl")
        wait_until_learnt(settings, 1)
    live = [m for m in pairs_on_kafka(settings) if isinstance(m, PreferencePair)]
    best = [p for p in live if p.chosen_artifact == theirs[0]["chosen_artifact"]]
    names = list(theirs[0])
    assert sorted([repr([getattr(p, name) for name in names]) for p in best]) == sorted(
        [repr([pair[name] for name in names]) for pair in theirs]
    )


def test_a_worker_killed_three_times_ends_with_every_pair_and_none_twice(settings: Settings) -> None:
    runs = random_runs(60, seed=3)
    messages = interleaved(runs, seed=4)
    cuts = [0, len(messages) // 4, len(messages) // 2, 3 * len(messages) // 4]
    for start, stop in zip(cuts, [*cuts[1:], len(messages)], strict=True):
        with trainer_to_kill(settings, "--snapshot-every-pairs", "7") as worker:
            before = read_latest_snapshot(settings, "default")
            publish(settings, messages[start:stop])
            if stop == len(messages):
                last = wait_until_learnt(settings, len(runs))
            else:
                wait_for_version(settings, (before.version if before else 0) + 20)
                worker.kill()
                worker.wait()
    on_topic = [m for m in pairs_on_kafka(settings) if isinstance(m, PreferencePair)]
    distinct = {m.pair_id for m in on_topic}
    assert expected_pairs(runs) <= distinct
    assert sum(last.labels.values()) == len(distinct)
    assert encode(relearnt(pairs_on_kafka(settings)).snapshot(last.consumed, last.topic_ids)) == encode(last)


def test_a_finished_run_sent_twice_is_learnt_once(settings: Settings, tmp_path: Path) -> None:
    messages = run([0.2, 0.5, 0.4, 0.9, 0.1])
    trace = tmp_path / "trace.jsonl"
    trace.write_bytes(b"".join(encode(m) + b"\n" for m in messages[:-1]))
    with trainer(settings):
        publish_trace_file(settings, trace)
        once = wait_until_learnt(settings, 1)
        publish_trace_file(settings, trace)
        publish(settings, run([0.3, 0.6], run_id="run-b"))
        after = wait_until_learnt(settings, 2)
    formed = [m for m in pairs_on_kafka(settings) if isinstance(m, PreferencePair) and m.run_id == "run-a"]
    best = [(p.chosen_prompt, p.rejected_prompt) for p in formed if p.chosen_prompt == "prompt 3"]
    events = [m for m in messages if isinstance(m, TraceEvent)]
    assert sorted(best) == sorted(
        (p.chosen_prompt, p.rejected_prompt) for p in pairs_of_run(events, PairingRules())
    )
    assert sum(after.labels.values()) == sum(once.labels.values()) + 1


def test_what_cannot_be_read_becomes_a_dead_letter_with_its_bytes_and_reason(settings: Settings) -> None:
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers})
    bad = {b"not json": b"\xff\x00{", b"nan": encode(event(0, 0.5)).replace(b"0.5", b"NaN")}
    for key, value in bad.items():
        producer.produce(settings.trace_topic, key=key, value=value)
    producer.produce(settings.pairs_topic, key=b"default", value=b"[]")
    producer.flush(_WAIT_S)
    with trainer(settings):
        publish(settings, run([0.1, 0.9]))
        with SnapshotFeed(settings) as feed:
            wait_until(lambda: getattr(feed.latest(), "labels", None) == {"critic": 1}, _WAIT_S)
    letters = list(read_topic(settings, settings.dead_letters_topic))
    assert sorted(letter.value for letter in letters) == sorted([*bad.values(), b"[]"])
    for letter in letters:
        headers = dict(letter.headers)
        assert headers["reason"].decode().startswith(f"{headers['source.topic'].decode()}[")


def test_a_worker_that_is_told_to_stop_first_publishes_what_it_has_learnt(settings: Settings) -> None:
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers})
    with trainer(settings, "--snapshot-every-s", "3600", "--snapshot-every-pairs", "1000000") as worker:
        publish(settings, run([0.1, 0.9, 0.5]))
        wait_until(lambda: len(pairs_on_kafka(settings)) == 3, _WAIT_S)
        producer.produce(settings.pairs_topic, key=b"default", value=b"behind the last pair")
        producer.flush(_WAIT_S)
        wait_until(lambda: list(read_topic(settings, settings.dead_letters_topic)), _WAIT_S)
        assert read_latest_snapshot(settings, "default") is None
        worker.terminate()
        assert worker.wait(20) == 0
    latest = read_latest_snapshot(settings, "default")
    assert latest is not None
    assert latest.labels == {"critic": 2}


def test_it_works_on_the_in_memory_broker(in_memory_settings: Settings) -> None:
    settings = in_memory_settings
    with trainer(settings):
        publish(settings, run([0.1, 0.9, 0.5]))
        latest = wait_until_learnt(settings, 1)
    assert latest.labels == {"critic": 2}


def test_the_trace_topic_holds_the_lines_of_the_trace_files(settings: Settings, tmp_path: Path) -> None:
    messages = run([0.2, 0.5])
    trace = tmp_path / "trace.jsonl"
    trace.write_bytes(b"".join(encode(m) + b"\n" for m in messages))
    publish_trace_file(settings, trace)
    stored = list(read_topic(settings, settings.trace_topic))
    assert [m.value for m in stored] == trace.read_bytes().splitlines()
    assert [decode_trace(m.value, m.source) for m in stored] == messages
