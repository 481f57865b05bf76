"""What happens to published snapshots: damage, many swaps in a moment, compaction after a long pause."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from runner.rewards.from_file import FileRewardFeed
from runner.rewards.preference import PreferencePolicy
from streams.errors import BadInput
from streams.files import write_atomically
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.kafka.topics import connect_admin
from streams.kafka.writer import produce
from streams.messages.codec import encode, feature_hash, sealed
from streams.messages.contracts import RewardSnapshot
from streams.messages.files import read_snapshot
from streams.messages.stored import Outgoing
from streams.snapshots.feed import SnapshotFeed, read_latest_snapshot
from tests.faults.brokers import RestartableBroker
from tests.faults.disks import fill, small_disk
from tests.faults.recovery import check, recovery
from tests.kafka.test_trainer import interleaved, publish, random_runs, wait_until_learnt
from tests.runner.fakes import judged, snapshot
from tests.services import trainer
from tests.waiting import wait_until
from trainers.bradley_terry.features import of_events
from trainers.bradley_terry.reward import prob_prefer
from tribrain.shell.output import write_output

_SWAPS = 200
_SCORING_THREADS = 8
_BETWEEN_SCORES_S = 0.001
"""Without any, eight threads leave the only core of a small machine to nobody else, nor to the broker."""
_WAIT_S = 60.0
CANDIDATE, BEST = judged({"quality": 0.9}), judged({"quality": 0.4}, iter_idx=1)


def put(settings: Settings, *values: bytes) -> None:
    list(produce(settings, [Outgoing(settings.snapshots_topic, b"bt:default", value) for value in values]))


def test_snapshots_that_cannot_be_used_are_refused_and_counted_and_the_one_in_use_stays(
    settings: Settings,
) -> None:
    in_use, after = snapshot(version=5), snapshot(version=7)
    good = encode(snapshot(version=6))
    flipped = bytearray(good)
    flipped[random.Random(61).randrange(len(good))] ^= 4
    with SnapshotFeed(settings, critics=["eye"]) as feed:
        put(settings, encode(in_use))
        wait_until(lambda: feed.latest() == in_use)
        put(settings, bytes(flipped), good[:-30], good.replace(b"2.0", b"NaN"))
        put(settings, encode(snapshot({"nose.quality": 1.0}, version=6)), encode(snapshot(version=4)))
        wait_until(lambda: sum(feed.refused.values()) == 5)
        assert feed.latest() == in_use
        assert feed.refused == {"damaged": 2, "not finite": 1, "other features": 1, "not newer": 1}
        put(settings, encode(after))
        wait_until(lambda: feed.latest() == after)


def numbered(version: int) -> RewardSnapshot:
    """Each version has a weight of its own, so that a score tells which one it is of."""
    return snapshot({"eye.quality": version / 100}, version=version)


def test_every_score_is_of_exactly_one_version_while_200_snapshots_are_swapped(
    settings: Settings,
) -> None:
    expected = {
        version: prob_prefer(numbered(version), of_events(CANDIDATE, BEST))
        for version in range(1, _SWAPS + 1)
    }
    policy = PreferencePolicy()
    swapped = threading.Event()

    def score(feed: SnapshotFeed) -> list[tuple[int, float]]:
        seen: dict[tuple[int, float], None] = {}
        last_round = False
        while not last_round:
            last_round = swapped.wait(_BETWEEN_SCORES_S)
            in_use = feed.latest()
            if in_use is not None:
                seen[in_use.version, policy.compare(CANDIDATE, BEST, in_use).probability] = None
        return list(seen)

    with SnapshotFeed(settings, critics=["eye"]) as feed, ThreadPoolExecutor(_SCORING_THREADS) as pool:
        scoring = [pool.submit(score, feed) for _ in range(_SCORING_THREADS)]
        try:
            first, *later = (encode(numbered(version)) for version in expected)
            put(settings, first)
            wait_until(lambda: feed.latest() is not None)  # a feed that starts passes over what is not newest
            put(settings, *later)
            wait_until(lambda: (latest := feed.latest()) is not None and latest.version == _SWAPS)
        finally:
            swapped.set()
        seen = [each.result() for each in scoring]
        assert feed.refused == {}
    assert len(set(expected.values())) == _SWAPS
    for of_thread in seen:
        versions = [version for version, _ in of_thread]
        assert versions == sorted(set(versions))
        assert versions[-1] == _SWAPS
        assert all(probability == expected[version] for version, probability in of_thread)
    assert len({version for of_thread in seen for version, _ in of_thread}) > _SWAPS // 10


def configure(settings: Settings, kind: ConfigResourceType, name: str, **configs: str) -> None:
    admin: KafkaAdminClient
    with connect_admin(settings, 5.0) as admin:
        named = {key.replace("_", "."): value for key, value in configs.items()}
        admin.alter_configs([ConfigResource(kind, name, named)])


def filler(number: int) -> bytes:
    """A snapshot of another model, as large as they get, which no compression makes small."""
    padding = random.Random(number).randbytes(1 << 19).hex()
    return encode(sealed(
        RewardSnapshot(
            model=f"filler-{number}", version=1, gate="shadow", statement=padding, feature_names=(),
            feature_hash=feature_hash([]), weights={}, scales={}, labels={}, metrics={},
        )
    ))  # fmt: skip


@pytest.mark.long
def test_the_newest_snapshot_survives_a_long_pause_of_the_log_cleaner_and_the_compaction_after_it(
    broker: RestartableBroker,
) -> None:
    settings = broker.settings
    runs, more = random_runs(20, seed=62), random_runs(10, seed=63, prefix="more")

    def held() -> int:
        return sum(m.key == b"bt:default" for m in read_topic(settings, settings.snapshots_topic))

    with broker.up():
        topic = (settings, ConfigResourceType.TOPIC, settings.snapshots_topic)
        configure(*topic, min_compaction_lag_ms="86400000", segment_bytes=str(1 << 20))
        configure(settings, ConfigResourceType.BROKER, "1", log_cleaner_backoff_ms="500")
        with trainer(settings, "--snapshot-every-pairs", "1"):
            for n in range(0, len(runs), 4):
                publish(settings, interleaved(runs[n : n + 4], seed=n))
                last = wait_until_learnt(settings, n + 4)
        before = held()
        assert before >= 5
        list(
            produce(
                settings,
                (Outgoing(settings.snapshots_topic, f"filler-{n}".encode(), filler(n)) for n in range(4)),
            )
        )
        assert held() == before
        configure(*topic, min_compaction_lag_ms="0", min_cleanable_dirty_ratio="0.001")
        wait_until(lambda: held() == 1, _WAIT_S)
        assert read_latest_snapshot(settings, "default") == last
        with SnapshotFeed(settings) as new_runner:
            wait_until(lambda: new_runner.latest() == last)
        with trainer(settings):
            publish(settings, interleaved(more, seed=65))
            check(recovery(settings, [*runs, *more]))


@pytest.mark.parametrize("spare", [0, 100])
def test_a_full_disk_under_a_reward_file_leaves_the_previous_one_in_use(spare: int, tmp_path: Path) -> None:
    before, after = snapshot(version=3), snapshot(version=4)
    with small_disk(tmp_path / "small", megabytes=1) as disk:
        path = disk / "bt_reward.json"
        write_atomically(path, encode(before))
        feed = FileRewardFeed(path)
        filler = fill(disk)
        filler.open("r+b").truncate(filler.stat().st_size - spare)
        with pytest.raises(BadInput, match=r"bt_reward\.json: cannot be written: No space left on device"):
            write_output(path, encode(after))
        assert read_snapshot(path) == feed.latest() == before
        assert sorted(file.name for file in disk.iterdir()) == ["bt_reward.json", "filler"]
        filler.unlink()
        write_output(path, encode(after))
        assert feed.latest() == after
