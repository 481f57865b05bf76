"""Where the spool of a run is: on a local disk, wherever the run's folder is.

SQLite's write-ahead log is memory that the processes of one computer share, and its locks are ``flock``'s;
over a network neither can be relied on (SQLite, "Write-Ahead Logging" and "File Locking And Concurrency").
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from streams.errors import BadInput

SPOOL = "spool.sqlite"
FOLDER_VARIABLE = "TRIBRAIN_SPOOL_DIR"

MOUNTS = Path("/proc/self/mountinfo")
_OVER_A_NETWORK = re.compile(
    r"nfs4?|lustre|cifs|smb3?|smbfs|ceph|gpfs|beegfs|afs|panfs|pvfs2|wekafs|gfs2|ocfs2"
    r"|fuse\.(?!portal|fuse-overlayfs|bindfs|lxcfs).+|glusterfs"
)
_ESCAPED = re.compile(r"\\([0-7]{3})")


def spool_of(out: Path, folder: Path | None = None) -> Path:
    """The spool of the run in ``out``, which is the same whenever it is asked for on this computer.

    It is in ``folder``, where one is given; else in ``out``, where that is no file system over a network;
    else in a folder of the user's on this computer. Raises BadInput where none of them will do.
    """
    if folder is not None:
        if over := network_file_system(folder):
            raise BadInput(f"--spool-dir {folder}: it is on {over}; choose a folder on a local disk")
        return folder / _name_of(out)
    if not (over := network_file_system(out)):
        return out / SPOOL
    for one in _local_folders():
        if not network_file_system(one):
            return one / _name_of(out)
    raise BadInput(
        f"{out}: it is on {over}, where no spool can be, and so are {', '.join(map(str, _local_folders()))}; "
        "give --spool-dir with a folder on a local disk"
    )


def network_file_system(path: Path) -> str:
    """What the path is on where that is over a network; empty where it is local, or nobody can tell."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    kind = _file_system(path.absolute().resolve(), mounts)
    return kind if _OVER_A_NETWORK.fullmatch(kind) else ""


def _file_system(path: Path, mounts: Iterable[str]) -> str:
    """Of the last mount among the deepest ones; lines are as in proc(5), ``/proc/pid/mountinfo``."""
    deepest, kind = -1, ""
    for line in mounts:
        fields, _, more = line.partition(" - ")
        at = Path(_ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields.split(" ")[4]))
        if path.is_relative_to(at) and len(at.parts) >= deepest:
            deepest, kind = len(at.parts), more.split(" ")[0]
    return kind


def _local_folders() -> tuple[Path, ...]:
    """By the XDG Base Directory specification; a home may be over the network, too."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "tribrain" / "spools", Path("/var/tmp") / f"tribrain-{os.getuid()}" / "spools"


def _name_of(out: Path) -> str:
    """Runs of one name in other folders have other spools."""
    whole = hashlib.sha256(os.fsencode(out.absolute().resolve())).hexdigest()
    return f"{out.name[:100]}-{whole[:12]}.sqlite"
