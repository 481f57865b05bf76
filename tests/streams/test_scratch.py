"""What a killed process leaves behind goes, and what a living one works in stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.snapshots.artifacts import fetch, listed, open_store
from streams.snapshots.scratch import scratch_folder

PREFIX = ".fetching-"
_OTHER_PROCESS = f"""
import sys
from pathlib import Path
from streams.snapshots.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1]), {PREFIX!r}) as folder:
    (folder / "half").write_bytes(b"x")
    print(folder.name, flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """One that works in a scratch folder until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", _OTHER_PROCESS, str(parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, parent / process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def in_folder(parent: Path) -> set[str]:
    return {path.name for path in parent.iterdir()}


def test_a_folder_is_there_while_it_is_used_and_no_longer(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, PREFIX) as folder:
        (folder / "half").write_bytes(b"x")
        assert in_folder(tmp_path) == {folder.name}
    assert in_folder(tmp_path) == set()


def test_a_folder_that_was_renamed_stays(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, PREFIX) as folder:
        folder.rename(tmp_path / "whole")
    assert in_folder(tmp_path) == {"whole"}


def test_the_folder_of_a_process_that_was_killed_goes_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    with another_process(tmp_path) as (living, in_use):
        with another_process(tmp_path) as (killed, left):
            killed.kill()
            killed.wait()
            assert in_folder(tmp_path) == {in_use.name, left.name}
        with scratch_folder(tmp_path, PREFIX) as own:
            assert in_folder(tmp_path) == {in_use.name, own.name}
            assert living.poll() is None
            assert (in_use / "half").read_bytes() == b"x"


def test_a_fetch_removes_what_killed_fetches_have_left(tmp_path: Path) -> None:
    cache, files = tmp_path / "cache", {"reward.json": b"{}"}
    cache.mkdir()
    with another_process(cache) as (killed, left):
        killed.kill()
        killed.wait()
        uri = open_store(str(tmp_path / "store")).put("m", files, last="reward.json")
        folder = fetch(uri, listed(files), cache)
        assert in_folder(cache) == {folder.name}
        assert left.name not in in_folder(cache)
