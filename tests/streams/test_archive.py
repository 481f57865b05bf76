"""The file of a backup: whole, or refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from streams.backup.archive import Archive, Block, Contents, Partition, Topic, new_archive, open_archive
from streams.errors import BadInput
from streams.messages.stored import LogRecord
from tests.factories import backed_up

RECORDS = (
    LogRecord(0, 1_700_000_000_000, b"key", b"value", (("name", b"text"), ("empty", b""), ("null", None))),
    LogRecord(3, -1, None, b"", ()),
    LogRecord(7, 0, b"", None, ()),
)


def test_what_was_written_is_read_to_the_last_null(tmp_path: Path) -> None:
    archive = backed_up(tmp_path / "a.backup", {"t.pairs": [list(RECORDS)]}, prefix="t")
    (block,) = archive.blocks()
    assert (block.topic, block.partition, block.records) == ("t.pairs", 0, RECORDS)
    assert archive.contents.records == 3
    assert archive.sha256 == hashlib.sha256(archive.path.read_bytes()[:-32]).hexdigest()


def of_two_blocks(path: Path) -> Archive:
    return backed_up(path, {"t.pairs": [list(RECORDS)], "t.trace": [[RECORDS[0]], []]}, prefix="t")


def test_a_backup_that_was_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = of_two_blocks(tmp_path / "a.backup").path.read_bytes()
    cut = tmp_path / "cut.backup"
    for size in range(1, len(whole)):
        cut.write_bytes(whole[:size])
        with pytest.raises(BadInput, match="is damaged or truncated"):
            open_archive(cut)


def test_a_backup_in_which_any_byte_is_another_is_refused(tmp_path: Path) -> None:
    whole = of_two_blocks(tmp_path / "a.backup").path.read_bytes()
    changed = tmp_path / "changed.backup"
    for at in range(len(whole)):
        changed.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(BadInput):
            open_archive(changed)


def test_a_backup_with_something_behind_it_is_refused(tmp_path: Path) -> None:
    archive = of_two_blocks(tmp_path / "a.backup")
    archive.path.write_bytes(archive.path.read_bytes() + b"\n")
    with pytest.raises(BadInput, match="is damaged or truncated"):
        open_archive(archive.path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a backup of TriBrain"),
        (b"PK\x03\x04 and so on, for more than a line", "is not a backup of TriBrain"),
        (b"tribrain-backup/0\n" + bytes(100), "is a backup of format '0'; this TriBrain reads format 1"),
        (b"tribrain-backup/12\n" + bytes(100), "is a backup of format '12'; this TriBrain reads format 1"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_what_it_is(content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.backup"
    file.write_bytes(content)
    with pytest.raises(BadInput, match=said):
        open_archive(file)


@pytest.mark.parametrize("kind", ["missing", "a folder"])
def test_what_is_no_file_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file" if kind == "missing" else "Is a directory"):
        open_archive(tmp_path / "nothing" if kind == "missing" else tmp_path)


def test_the_last_backup_stays_until_the_next_is_whole(tmp_path: Path) -> None:
    before = of_two_blocks(tmp_path / "a.backup")

    def fail() -> None:
        with new_archive(before.path) as archive:
            archive.add(Block(topic="t.pairs", partition=0, records=RECORDS))
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    assert open_archive(before.path) == before
    assert list(tmp_path.iterdir()) == [before.path]


def test_what_a_killed_backup_left_is_no_part_of_the_next(tmp_path: Path) -> None:
    (tmp_path / ".a.backup.unfinished").write_bytes(b"half of something")
    of_two_blocks(tmp_path / "a.backup")
    assert [path.name for path in tmp_path.iterdir()] == ["a.backup"]


def test_of_two_backups_to_one_file_the_second_is_refused_and_the_first_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.backup"
    contents = Contents(created_ms=0, topic_prefix="t", topics={}, groups={})
    with new_archive(path) as first:
        with (
            pytest.raises(BadInput, match="another backup is being written to it"),
            new_archive(path),
        ):
            raise AssertionError("nobody else may write")
        first.finish(contents)
    assert open_archive(path).contents == contents


def test_a_folder_is_no_place_for_a_backup(tmp_path: Path) -> None:
    with (
        pytest.raises(BadInput, match=r"is a folder; give the name of a file, such as .*tribrain\.backup"),
        new_archive(tmp_path),
    ):
        raise AssertionError("there is nothing to write to")


def test_contents_count_the_messages_of_all_partitions() -> None:
    partitions = (Partition(end=9, records=3), Partition(end=4, records=4))
    topic = Topic(topic_id="id", configs={}, partitions=partitions)
    contents = Contents(
        created_ms=0, topic_prefix="t", topics={"t.trace": topic, "t.votes": topic}, groups={}
    )
    assert contents.records == 14
