"""The path of a run's spool: always on a local disk, even if the run's folder is not.

SQLite's write-ahead log needs memory shared by the processes of one computer, and the spool needs ``flock``.
Neither is reliable over a network (SQLite, "Write-Ahead Logging" and "File Locking And Concurrency").
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from streams.errors import BadInput
from streams.files import read_bytes, write_atomically

SPOOL = "spool.sqlite"
PLACES = "spools.json"
"""The file in a run's folder with the paths of its spools in other folders, the one used last at the end."""
FOLDER_VARIABLE = "TRIBRAIN_SPOOL_DIR"

MOUNTS = Path("/proc/self/mountinfo")
_OVER_A_NETWORK = re.compile(
    r"nfs4?|lustre|cifs|smb3?|smbfs|ceph|gpfs|beegfs|afs|panfs|pvfs2|wekafs|gfs2|ocfs2"
    r"|fuse\.(?!portal|fuse-overlayfs|bindfs|lxcfs).+|glusterfs"
)
_ESCAPED = re.compile(r"\\([0-7]{3})")


def spool_of(out: Path, folder: Path | None = None) -> Path:
    """The spool of the run in ``out``; always the same path on one computer.

    It is in ``folder`` if one is given, else where the run had it last, else in ``out`` unless that is on a
    network file system, else in a local folder of the user. Raises BadInput if none of them is usable.
    """
    if folder is not None:
        if over := network_file_system(folder):
            raise BadInput(f"--spool-dir {folder}: it is on {over}; choose a folder on a local disk")
        return folder / _name_of(out)
    # The folder is missing on another computer, or while its disk is not mounted.
    if (had := _had_elsewhere(out)) and had[-1].parent.is_dir() and not network_file_system(had[-1]):
        return had[-1]
    if not (over := network_file_system(out)):
        return out / SPOOL
    for one in _local_folders():
        if not network_file_system(one):
            return one / _name_of(out)
    raise BadInput(
        f"{out}: it is on {over}, where a spool is not safe, and so are "
        f"{', '.join(map(str, _local_folders()))}; give --spool-dir with a folder on a local disk"
    )


def keep_place(out: Path, spool: Path) -> None:
    """Note in the run's folder that it uses this spool. Raises OSError, and BadInput for a damaged note."""
    had = _had_elsewhere(out)
    spool = spool.absolute()
    if not had and spool == (out / SPOOL).absolute():
        return
    places = [*(path for path in had if path != spool and path.exists()), spool]
    if places != had:
        write_atomically(out / PLACES, json.dumps([str(path) for path in places]).encode())


def other_spools(out: Path, spool: Path) -> list[Path]:
    """Spools of the run in ``out`` that are there beside ``spool``, the one used last first.

    Raises BadInput if the run's note of them is damaged.
    """
    places = dict.fromkeys(path.absolute() for path in (*reversed(_had_elsewhere(out)), out / SPOOL))
    return [path for path in places if path != spool.absolute() and path.is_file()]


def _had_elsewhere(out: Path) -> list[Path]:
    note = out / PLACES
    if not note.is_file():
        return []
    try:
        # Not msgspec: it takes no path that is not UTF-8.
        return list(map(Path, msgspec.convert(json.loads(read_bytes(note)), list[str])))
    except (ValueError, msgspec.ValidationError) as error:
        raise BadInput(
            f"{note}: the file is damaged: {error}; remove it, and give --spool-dir with the folder of the "
            "run's spool"
        ) from None


def network_file_system(path: Path) -> str:
    """The type of the network file system that the path is on; empty if it is local or unknown."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    kind = _file_system(path.absolute().resolve(), mounts)
    return kind if _OVER_A_NETWORK.fullmatch(kind) else ""


def _file_system(path: Path, mounts: Iterable[str]) -> str:
    """The type of the deepest, then last, mount of the path; lines are as in proc(5),
    ``/proc/pid/mountinfo``."""
    deepest, kind = -1, ""
    for line in mounts:
        fields, _, more = line.partition(" - ")
        at = Path(_ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields.split(" ")[4]))
        if path.is_relative_to(at) and len(at.parts) >= deepest:
            deepest, kind = len(at.parts), more.split(" ")[0]
    return kind


def _local_folders() -> tuple[Path, ...]:
    """Candidate folders by the XDG Base Directory specification; a home can be on the network, too."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "tribrain" / "spools", Path("/var/tmp") / f"tribrain-{os.getuid()}" / "spools"


def _name_of(out: Path) -> str:
    """The file name; runs of the same name in different folders get different ones."""
    whole = hashlib.sha256(os.fsencode(out.absolute().resolve())).hexdigest()
    return f"{out.name[:100]}-{whole[:12]}.sqlite"
