"""A folder that is whole or absent."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import orjson
import pytest

from streams.errors import BadInput
from trainers.datasets.new_folder import SUMMARY, new_folder, place

SCHEMA = "test/1"


def build(out: Path, content: str, *, replace: bool = False) -> None:
    with new_folder(out, SCHEMA, replace=replace) as folder:
        (folder / "part").mkdir()
        (folder / "part" / "file").write_text(content)
        (folder / SUMMARY).write_bytes(orjson.dumps({"schema": SCHEMA}))


def content(out: Path) -> str:
    return (out / "part" / "file").read_text()


def around(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.iterdir())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "place" / "set"


def test_a_new_folder_is_there_and_nothing_beside_it(out: Path) -> None:
    build(out, "new")
    assert content(out) == "new"
    assert around(out) == ["set"]


def test_an_empty_folder_is_as_good_as_none(out: Path) -> None:
    out.mkdir(parents=True)
    build(out, "new")
    assert content(out) == "new"
    assert around(out) == ["set"]


def test_one_that_is_there_is_replaced_only_when_that_is_said(out: Path) -> None:
    build(out, "old")
    with pytest.raises(BadInput, match="already exists; choose another --out, or give --replace"):
        build(out, "new")
    assert content(out) == "old"
    build(out, "new", replace=True)
    assert content(out) == "new"
    assert around(out) == ["set"]


@pytest.mark.parametrize("summary", [None, b"{", b"[]", b'{"schema": "another/1"}'])
def test_what_somebody_else_wrote_is_never_replaced(out: Path, summary: bytes | None) -> None:
    out.mkdir(parents=True)
    (out / "thesis.txt").write_text("years of work")
    if summary is not None:
        (out / SUMMARY).write_bytes(summary)
    with pytest.raises(BadInput, match="holds files that this command did not write"):
        build(out, "new", replace=True)
    assert (out / "thesis.txt").read_text() == "years of work"


def test_a_file_in_the_way_is_bad_input(out: Path) -> None:
    out.parent.mkdir()
    out.write_text("a file")
    for place_of in (out, out / "below"):
        with pytest.raises(BadInput, match=r"is a file; choose|cannot be written: .*; choose"):
            build(place_of, "new", replace=True)
    assert out.read_text() == "a file"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_fails_leaves_the_old_one_and_nothing_beside(out: Path, error: type[BaseException]) -> None:
    build(out, "old")
    with suppress(error), new_folder(out, SCHEMA, replace=True) as folder:
        (folder / "half").write_text("half")
        raise error
    assert content(out) == "old"
    assert around(out) == ["set"]


def _hold(out: Path, begun: Event) -> None:
    with new_folder(out, SCHEMA, replace=True) as folder:
        (folder / "part").mkdir()
        (folder / "part" / "half").write_text("half")
        begun.set()
        signal.pause()


@pytest.fixture
def holder(out: Path) -> Iterator[SpawnProcess]:
    """A process in the middle of building ``out``."""
    spawn = multiprocessing.get_context("spawn")
    begun = spawn.Event()
    process = spawn.Process(target=_hold, args=(out, begun))
    process.start()
    try:
        assert begun.wait(60)
        yield process
    finally:
        process.kill()
        process.join()


def test_a_killed_build_leaves_the_old_one_and_the_next_clears_up(out: Path, holder: SpawnProcess) -> None:
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert not out.exists()
    build(out, "new")
    assert sorted(path.name for path in (out / "part").iterdir()) == ["file"]
    assert around(out) == ["set"]


def test_two_processes_do_not_build_one_folder(out: Path, holder: SpawnProcess) -> None:
    with pytest.raises(BadInput, match="another process is writing it"):
        build(out, "new")


def test_who_is_killed_between_the_renames_has_the_old_one_again(out: Path) -> None:
    build(out, "old")
    out.rename(out.with_name(".set.replaced"))
    with pytest.raises(BadInput, match="already exists"):
        build(out, "new")
    assert content(out) == "old"


def test_who_is_killed_before_the_old_one_is_removed_has_the_new_one(out: Path) -> None:
    build(out, "old")
    out.rename(out.with_name("old"))
    build(out, "new")
    out.with_name("old").rename(out.with_name(".set.replaced"))
    with pytest.raises(BadInput, match="already exists"):
        build(out, "newer")
    assert content(out) == "new"
    assert around(out) == ["set"]


def test_a_link_is_another_name_of_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    place(tmp_path / "a", tmp_path / "linked", link=True)
    place(tmp_path / "a", tmp_path / "copied")
    assert (tmp_path / "linked").samefile(tmp_path / "a")
    assert not (tmp_path / "copied").samefile(tmp_path / "a")
    assert (tmp_path / "copied").read_text() == "a"


def test_where_no_link_can_be_made_there_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_text("a")
    place(tmp_path / "a", tmp_path / "b", link=True)
    assert (tmp_path / "b").read_text() == "a"
