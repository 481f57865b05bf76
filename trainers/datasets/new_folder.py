"""A folder that is complete or absent: built beside its place, then renamed."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from streams.errors import BadInput
from streams.fail_points import reach
from streams.files import sync_directory

SUMMARY = "dataset.json"


@contextmanager
def new_folder(out: Path, schema: str, *, replace: bool = False) -> Iterator[Path]:
    """Yields a folder to fill, which becomes ``out`` if the block ends without an exception.

    Its ``SUMMARY`` must name ``schema``. An existing folder is refused, unless it is empty, or ``replace`` is
    given and it has the same schema. The next call cleans up after a killed process. Raises BadInput, also if
    writing fails, or if another process is building the same folder.
    """
    out = Path(os.path.abspath(out))  # "." has no name from which to derive a neighbour's
    check_place(out, schema, replace=replace)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        building, lock = _begin(out)
        try:
            yield building
            _sync(building)
            _put_in_place(building, out)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        finally:
            os.close(lock)
    except OSError as error:
        raise BadInput(f"{out}: cannot be written: {error.strerror}; choose another --out") from None


def check_place(out: Path, schema: str, *, replace: bool) -> None:
    """Raises BadInput if the folder could not be put in place; call it before any work."""
    _restore(out)
    if not out.exists():
        return
    if not out.is_dir():
        raise BadInput(f"{out}: is a file; choose another --out")
    if not any(out.iterdir()):
        return
    try:
        found = orjson.loads((out / SUMMARY).read_bytes())
        ours = isinstance(found, dict) and found.get("schema") == schema
    except (OSError, orjson.JSONDecodeError):
        ours = False
    if not ours:
        raise BadInput(f"{out}: holds files that this command did not write; choose another --out")
    if not replace:
        raise BadInput(f"{out}: already exists; choose another --out, or give --replace")


def place(source: Path, target: Path, *, link: bool = False) -> None:
    """Makes a copy or, if possible and requested, a hard link. Raises OSError."""
    if link:
        try:
            os.link(source, target)
        except OSError:
            link = False  # another file system
    if not link:
        shutil.copyfile(source, target)


def _begin(out: Path) -> tuple[Path, int]:
    """The empty folder beside ``out``, and its lock, which the kernel releases however the process ends."""
    building = out.with_name(f".{out.name}.building")
    while True:
        building.mkdir(exist_ok=True)
        lock = os.open(building, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            in_place = building.stat().st_ino == os.fstat(lock).st_ino
        except BlockingIOError:
            os.close(lock)
            raise BadInput(f"{out}: another process is writing it; wait for it") from None
        except FileNotFoundError:
            in_place = False
        if in_place:
            for left in building.iterdir():
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
            return building, lock
        os.close(lock)


def _put_in_place(building: Path, out: Path) -> None:
    """Replace ``out`` by ``building``, in two renames.

    Between them there is no folder; after a kill there, the next call restores the old one.
    """
    old = _replaced(out)
    if out.exists():
        out.rename(old)
        reach("dataset.old-one-moved")
    building.rename(out)
    sync_directory(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _restore(out: Path) -> None:
    old = _replaced(out)
    if old.is_dir() and not out.exists():
        old.rename(out)
    elif old.is_dir():
        shutil.rmtree(old, ignore_errors=True)


def _replaced(out: Path) -> Path:
    return out.with_name(f".{out.name}.replaced")


def _sync(folder: Path) -> None:
    for path, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(Path(path) / name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(path))
