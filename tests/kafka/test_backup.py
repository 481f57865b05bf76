"""A log that was lived on, backed up, and restored on another broker: everything goes on there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streams.backup import rewriter
from streams.backup.archive import Archive, open_archive
from streams.backup.collect import back_up, effects_first
from streams.backup.restore import restore
from streams.errors import BadInput
from streams.fail_points import VARIABLE
from streams.kafka.closed_runs import committed_offsets
from streams.kafka.incarnations import topic_ids
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings, trainer_group
from streams.kafka.topics import connect_admin, create_topics
from streams.kafka.writer import produce
from streams.local_broker.apache_kafka import LocalBroker
from streams.local_broker.jars import KafkaJars
from streams.messages.codec import decode_pair, decode_run_closed, decode_snapshot, decode_trace
from streams.messages.contracts import Rollback
from streams.messages.stored import LogRecord, Outgoing
from streams.snapshots.feed import read_latest_snapshot
from streams.spool.publish_now import publish_votes
from tests.factories import run
from tests.faults.brokers import RestartableBroker
from tests.faults.disks import fill, small_disk
from tests.faults.recovery import check, recovery
from tests.faults.test_log_faults import make_again
from tests.kafka.test_trainer import interleaved, publish, random_runs, wait_until_learnt
from tests.services import service, trainer
from tests.trainers.pairs.test_votes import vote
from tests.waiting import wait_until
from trainers.pairs.pairing import PairingRules
from tribrain.log.verify_state import state_of

_WAIT_S = 60.0


@pytest.fixture(scope="module")
def elsewhere(kafka_jars: KafkaJars) -> Iterator[str]:
    """Bootstrap servers of a broker that nothing else uses."""
    with LocalBroker(kafka_jars) as broker:
        yield broker.bootstrap_servers


@pytest.fixture
def there(settings: Settings, elsewhere: str) -> Settings:
    """The same topics on the other broker, where none of them is."""
    return replace(settings, bootstrap_servers=elsewhere)


def records_of(archive: Archive) -> dict[tuple[str, int], list[LogRecord]]:
    found: dict[tuple[str, int], list[LogRecord]] = {}
    for block in archive.blocks():
        found.setdefault((block.topic, block.partition), []).extend(block.records)
    return found


def backup_of(settings: Settings, path: Path) -> Archive:
    back_up(settings, path)
    return open_archive(path)


def live_a_life(settings: Settings, tribrain: Any) -> None:
    """Learnt runs, a vote, a rollback, dead letters replayed and open."""
    runs = random_runs(10, seed=71)
    with trainer(settings, "--snapshot-every-pairs", "5", "--checkpoint-every-s", "0.1"):
        publish(settings, interleaved(runs[:5], seed=72))
        first = wait_until_learnt(settings, 5)
        publish(settings, run([0.1, 0.5, 0.9], "run-a"))
        assert (
            publish_votes(settings, [vote(right_run_id="run-a", right_iter_idx=1)], timeout_s=_WAIT_S) == {}
        )
        wait_until(lambda: labels(settings).get("human") == 1, _WAIT_S)
        assert (
            tribrain("snapshots", "rollback", "--version", str(first.version), "--reason", "a test")[0] == 0
        )
        publish(settings, interleaved(runs[5:], seed=73))
        list(produce(settings, [Outgoing(settings.trace_topic, b"x", value) for value in (b"{]", b"[}")]))
        wait_until(lambda: len(open_letters(tribrain)) == 2, _WAIT_S)
        assert tribrain("dlq", "replay", "--name", open_letters(tribrain)[0])[0] == 0
        wait_until(lambda: len(open_letters(tribrain)) == 2, _WAIT_S)
        wait_until_learnt(settings, 11)


def labels(settings: Settings) -> dict[str, int]:
    latest = read_latest_snapshot(settings, "default")
    return {} if latest is None else latest.labels


def open_letters(tribrain: Any) -> list[str]:
    return [letter["name"] for letter in tribrain("dlq", "list")[1]["letters"]]


def test_a_restored_log_is_the_one_that_was_backed_up_and_all_commands_say_the_same_of_it(
    settings: Settings, there: Settings, tribrain_on: Callable[[Settings], Any], tmp_path: Path
) -> None:
    here, elsewhere = tribrain_on(settings), tribrain_on(there)
    live_a_life(settings, here)
    out = tmp_path / "a.backup"
    code, told = here("backup", str(out))
    before = open_archive(out)
    assert (code, told["sha256"], told["records"]) == (0, before.sha256, before.contents.records)
    assert set(before.contents.topics) == set(effects_first(settings))
    assert list(before.contents.groups) == [trainer_group(settings, "default")]
    code, told = elsewhere("restore", str(out))
    assert (code, told["restored"], told["resumed"]) == (0, before.contents.records, False)
    after = backup_of(there, tmp_path / "b.backup")
    assert records_of(after) == records_of(before)
    assert after.contents.topics == before.contents.topics
    assert after.contents.groups == before.contents.groups
    for words in (["verify-state"], ["snapshots", "list"], ["snapshots", "verify"], ["dlq", "list"]):
        said = here(*words)
        assert said[0] == 0
        assert elsewhere(*words) == said
    code, replayed = elsewhere("replay", "--out", str(tmp_path / "replayed"))
    assert (code, replayed["identical_to_published"]) == (0, True)


def test_a_trainer_goes_on_from_a_restored_log_without_being_told(
    settings: Settings, there: Settings, tmp_path: Path
) -> None:
    runs = random_runs(24, seed=74)
    with trainer(settings):
        publish(settings, interleaved(runs[:12], seed=75))
        before = wait_until_learnt(settings, 12)
    restore(there, backup_of(settings, tmp_path / "a.backup"))
    assert topic_ids(there, effects_first(there)) == topic_ids(settings, effects_first(settings))
    with trainer(there):
        publish(there, interleaved(runs[12:], seed=76))
        check(recovery(there, runs))
    after = read_latest_snapshot(there, "default")
    assert after is not None
    assert after.version > before.version
    assert after.topic_ids == before.topic_ids


def test_a_restored_topic_that_is_deleted_and_made_again_is_found(
    settings: Settings, there: Settings, tmp_path: Path
) -> None:
    with trainer(settings):
        publish(settings, interleaved(random_runs(4, seed=77), seed=78))
        wait_until_learnt(settings, 4)
    restore(there, backup_of(settings, tmp_path / "a.backup"))
    make_again(there, there.pairs_topic)
    with trainer(there) as stopped:
        assert stopped.wait(_WAIT_S) == 2
    assert f"topic '{there.pairs_topic}' was deleted and recreated" in stopped.said


def test_what_was_restored_is_backed_up_and_restored_again(
    settings: Settings, there: Settings, tmp_path: Path
) -> None:
    with trainer(settings):
        publish(settings, interleaved(random_runs(4, seed=79), seed=80))
        wait_until_learnt(settings, 4)
    first = backup_of(settings, tmp_path / "a.backup")
    restore(there, first)
    second = backup_of(there, tmp_path / "b.backup")
    with connect_admin(there, 5.0) as admin:
        admin.delete_topics([*effects_first(there), there.restores_topic])
        wait_until(lambda: there.restores_topic not in admin.list_topics(), _WAIT_S)
    restore(there, second)
    assert backup_of(there, tmp_path / "c.backup").contents.topics == first.contents.topics
    (report,) = state_of(there, PairingRules())
    assert (report.settled, report.identical) == (True, True)


def test_a_backup_that_is_taken_while_a_trainer_works_loses_no_pair_and_doubles_none(
    settings: Settings, there: Settings, tmp_path: Path
) -> None:
    runs = random_runs(32, seed=81)
    out = tmp_path / "a.backup"
    ended = 8

    def one_more_is_learnt(_: int) -> None:
        nonlocal ended
        if ended < len(runs):
            publish(settings, runs[ended])
            ended += 1
            wait_until_learnt(settings, ended)

    with trainer(settings, "--snapshot-every-pairs", "5", "--checkpoint-every-s", "0.1"):
        publish(settings, interleaved(runs[:ended], seed=82))
        wait_until_learnt(settings, ended)
        group = trainer_group(settings, "default")
        wait_until(lambda: any(committed_offsets(settings, group, settings.trace_topic).values()), _WAIT_S)
        back_up(settings, out, one_more_is_learnt)
    archive = open_archive(out)
    require_all_causes(archive, settings)
    restore(there, archive)
    (report,) = state_of(there, PairingRules())
    assert report.consistent, report
    # What came after it is sent once more, as from the runs' own files.
    with trainer(there):
        publish(there, interleaved(runs, seed=82))
        check(recovery(there, runs))


def require_all_causes(archive: Archive, settings: Settings) -> None:
    """What is learnt, formed or committed in the backup is of pairs and events in it."""
    records = records_of(archive)
    ends = {
        (name, n): partition.end
        for name, topic in archive.contents.topics.items()
        for n, partition in enumerate(topic.partitions)
    }
    committed = archive.contents.groups[trainer_group(settings, "default")]
    assert all(each.offset <= ends[each.topic, each.partition] for each in committed)
    snapshots = [r for r in records[settings.snapshots_topic, 0] if r.key == b"bt:default"]
    learnt = decode_snapshot(snapshots[-1].value or b"", "the newest").consumed[settings.pairs_topic]
    assert learnt["0"] <= ends[settings.pairs_topic, 0]
    pairs = [decode_pair(r.value or b"", "a pair") for r in records[settings.pairs_topic, 0]]
    formed = {pair.run_id for pair in pairs if not isinstance(pair, Rollback)}
    closed = {
        decode_run_closed(r.value or b"", "a mark").run_id for r in records[settings.closed_runs_topic, 0]
    }
    begun = {
        decode_trace(r.value or b"", "an event").run_id
        for (topic, _), of_partition in records.items()
        for r in of_partition
        if topic == settings.trace_topic
    }
    assert closed <= formed <= begun


@pytest.mark.parametrize(
    "place",
    [
        "restore.block-written:5",
        *(
            pytest.param(place, marks=pytest.mark.long)
            for place in ("restore.topics-made", "restore.gap-open:3", "restore.offsets-set")
        ),
    ],
)
def test_a_restore_that_is_killed_goes_on_where_it_was_and_no_trainer_starts_before(
    place: str, settings: Settings, there: Settings, tribrain_on: Any, tmp_path: Path
) -> None:
    runs = random_runs(9, seed=83)
    with trainer(settings, "--snapshot-every-pairs", "3"):
        # Snapshots with gaps between them.
        for n in (3, 6, 9):
            publish(settings, interleaved(runs[n - 3 : n], seed=84))
            wait_until_learnt(settings, n)
    archive = backup_of(settings, tmp_path / "a.backup")
    with service(there, "restore", str(archive.path), environment={VARIABLE: place}) as killed:
        assert killed.wait(_WAIT_S) == -9
    with trainer(there) as refused:
        assert refused.wait(_WAIT_S) == 2
    advice = "are only partly restored; run `tribrain log restore` with the same backup again"
    assert advice in refused.said
    code, seen = tribrain_on(there)("status")
    assert code == 1
    assert advice in seen["problem"]
    restore(there, archive)
    after = backup_of(there, tmp_path / "b.backup")
    assert records_of(after) == records_of(archive)
    assert after.contents.topics == archive.contents.topics
    with trainer(there):
        more = random_runs(2, seed=87, prefix="more")
        publish(there, interleaved(more, seed=88))
        check(recovery(there, [*runs, *more]))


def test_another_backup_than_the_one_that_is_half_restored_is_refused(
    settings: Settings, there: Settings, tmp_path: Path
) -> None:
    publish(settings, run([0.1, 0.9], "run-a"))
    first = backup_of(settings, tmp_path / "a.backup")
    publish(settings, run([0.1, 0.9], "run-b"))
    second = backup_of(settings, tmp_path / "b.backup")
    place = {VARIABLE: "restore.block-written:1"}
    with service(there, "restore", str(first.path), environment=place) as killed:
        assert killed.wait(_WAIT_S) == -9
    with pytest.raises(BadInput, match=f"holds part of another backup, with SHA-256 {first.sha256}"):
        restore(there, second)
    assert restore(there, first).resumed


def test_a_restore_says_that_something_else_wrote_to_its_topics_while_it_was_away(
    settings: Settings, there: Settings, tmp_path: Path
) -> None:
    publish(settings, run([0.1, 0.9], "run-a"))
    archive = backup_of(settings, tmp_path / "a.backup")
    create_topics(there)
    with service(there, "restore", str(archive.path), environment={VARIABLE: "restore.begun:1"}) as killed:
        assert killed.wait(_WAIT_S) == -9
    publish(there, run([0.1, 0.9], "run-b"))
    with pytest.raises(BadInput, match="which no restore of this backup has written: something else writes"):
        restore(there, archive)


def test_a_broker_that_holds_anything_is_refused_and_left_as_it_is(
    settings: Settings, there: Settings, tmp_path: Path
) -> None:
    publish(settings, run([0.1, 0.9], "run-a"))
    archive = backup_of(settings, tmp_path / "a.backup")
    create_topics(there)
    list(produce(there, [Outgoing(there.votes_topic, b"somebody's", b"vote")]))
    with pytest.raises(BadInput, match=r"votes' at .* ends at offset 1; a backup is restored only to"):
        restore(there, archive)
    assert [m.value for m in read_topic(there, there.votes_topic)] == [b"vote"]
    with pytest.raises(BadInput, match="a backup is restored only to empty topics"):
        restore(settings, archive)


def test_nothing_is_restored_under_a_trainer_at_work(
    settings: Settings, there: Settings, tmp_path: Path
) -> None:
    archive = backup_of(settings, tmp_path / "a.backup")
    create_topics(there)
    group = trainer_group(there, "default")

    def is_at_work() -> bool:
        with connect_admin(there, 5.0) as admin:
            names = [each["group_id"] for each in admin.list_groups()]
            return group in names and bool(admin.describe_groups([group])[group]["members"])

    with trainer(there):
        wait_until(is_at_work, _WAIT_S)
        with pytest.raises(BadInput, match=f"group '{group}' is active at .*; stop its trainers"):
            restore(there, archive)


def test_topics_of_another_prefix_are_refused(settings: Settings, there: Settings, tmp_path: Path) -> None:
    archive = backup_of(settings, tmp_path / "a.backup")
    with pytest.raises(BadInput, match=f"set TRIBRAIN_TOPIC_PREFIX={settings.topic_prefix}"):
        restore(replace(there, topic_prefix="another"), archive)


def test_a_broker_without_topics_has_nothing_to_back_up(there: Settings, tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"there is no topic .* check --bootstrap-servers and the topic prefix"
    ):
        back_up(there, tmp_path / "a.backup")
    assert list(tmp_path.iterdir()) == []


def test_the_in_memory_broker_is_refused(
    in_memory_settings: Settings, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="backups need Apache Kafka"):
        back_up(in_memory_settings, tmp_path / "a.backup")
    archive = backup_of(settings, tmp_path / "b.backup")
    there = replace(settings, bootstrap_servers=in_memory_settings.bootstrap_servers)
    with pytest.raises(BadInput, match="backups need Apache Kafka"):
        restore(there, archive)


def test_a_broker_that_is_away_is_said_and_the_last_backup_stays(settings: Settings, tmp_path: Path) -> None:
    before = backup_of(settings, tmp_path / "a.backup")
    with pytest.raises(BadInput, match=r"no Kafka broker answers at 127\.0\.0\.1:1"):
        back_up(replace(settings, bootstrap_servers="127.0.0.1:1"), before.path)
    assert open_archive(before.path) == before


def test_a_file_is_checked_without_a_broker(settings: Settings, tribrain: Any, tmp_path: Path) -> None:
    publish(settings, run([0.1, 0.9], "run-a"))
    archive = backup_of(settings, tmp_path / "a.backup")
    code, told = tribrain("restore", "--check", str(archive.path))
    assert (code, told["whole"], told["sha256"]) == (0, True, archive.sha256)
    archive.path.write_bytes(archive.path.read_bytes()[:-1])
    assert tribrain("restore", "--check", str(archive.path)) == (2, None)


def test_a_full_disk_under_the_backup_is_said_and_the_last_one_stays(
    settings: Settings, tribrain: Any, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "small", megabytes=1) as disk:
        publish(settings, run([0.1, 0.9], "run-a"))
        out = disk / "a.backup"
        assert tribrain("backup", str(out))[0] == 0
        before = open_archive(out)
        filler = fill(disk)
        with pytest.raises(OSError, match="No space left on device"):
            back_up(settings, out)
        assert tribrain("backup", str(out)) == (2, None)
        assert open_archive(out) == before
        assert sorted(path.name for path in disk.iterdir()) == ["a.backup", "filler"]
        filler.unlink()
        assert tribrain("backup", str(out))[0] == 0
        assert records_of(open_archive(out)) == records_of(before)


@pytest.mark.long
def test_a_broker_that_goes_away_in_the_middle_ends_a_restore_which_goes_on_once_it_is_back(
    settings: Settings, kafka_jars: KafkaJars, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriter, "ANSWER_S", 5.0)
    with trainer(settings):
        publish(settings, interleaved(random_runs(4, seed=89), seed=90))
        wait_until_learnt(settings, 4)
    archive = backup_of(settings, tmp_path / "a.backup")
    broker = RestartableBroker(kafka_jars, tmp_path / "kafka")
    there = replace(broker.settings, topic_prefix=settings.topic_prefix)
    with (
        broker.up() as running,
        pytest.raises(BadInput, match=f"no Kafka broker answers at {there.bootstrap_servers}"),
    ):
        restore(there, archive, lambda _: running.stop())
    with broker.up():
        assert restore(there, archive).resumed
        assert records_of(backup_of(there, tmp_path / "b.backup")) == records_of(archive)
