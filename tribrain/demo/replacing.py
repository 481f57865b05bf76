"""Checks whether a demo may use a folder, and removes an earlier demo there."""

from __future__ import annotations

import shutil
from pathlib import Path

from streams.errors import BadInput, counted
from tribrain.demo.folder import SUMMARY, VOTES, read_people

_MARK = ".tribrain-demo"


def is_demo(out: Path) -> bool:
    return (out / _MARK).exists()


def check_may_replace(out: Path, *, fresh: bool) -> None:
    """Raises BadInput where ``out`` holds anything but a demo, or, unless ``fresh``, one with people's votes.

    A demo that was killed has no summary, so nothing is known of its votes, and it may be replaced.
    """
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: is a file; choose another --out")
    if out.exists() and any(out.iterdir()) and not is_demo(out):
        raise BadInput(f"{out}: holds files that are not of a demo; choose another --out")
    if fresh or not (out / SUMMARY).is_file():
        return
    instead = "choose another --out, or give --fresh to replace it"
    try:
        people = read_people(out)
    except BadInput as error:
        raise BadInput(f"{error}, so nobody knows whether people voted in this demo; {instead}") from None
    if people is not None and people.persons:
        votes = counted(sum(voter.votes for voter in people.persons), "vote")
        names = ", ".join(voter.name or "somebody without a name" for voter in people.persons)
        kept = f", kept in {VOTES}" if (out / VOTES).is_file() else ""
        raise BadInput(f"{out}: holds a demo in which people voted ({votes} of {names}{kept}); {instead}")


def empty(out: Path) -> None:
    """Empty the folder, or make it; it keeps only the mark of a demo. Raises BadInput."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / _MARK).touch()
        for path in out.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != _MARK:
                path.unlink()
    except OSError as error:
        raise BadInput(f"{out}: cannot be written: {error.strerror}; choose another --out") from None
