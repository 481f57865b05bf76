"""Checks whether a file is a spool, without changing the file.

Only SQLite opens it: opening and closing a file releases all POSIX locks that the process holds on it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

APPLICATION_ID = 0x74726962  # "trib", in the file's header

_NO_DATABASE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY_S = 10.0


def is_spool(path: Path) -> bool:
    """Whether the file is a spool, even a damaged one. Raises sqlite3.Error if it cannot be read."""
    return _asked(path)[0] == APPLICATION_ID


def may_become_spool(path: Path) -> bool:
    """Whether the file is a spool, empty or missing. Raises sqlite3.Error if it cannot be read."""
    if not path.exists():
        return True
    application_id, has_tables = _asked(path)
    return application_id == APPLICATION_ID or (application_id == 0 and not has_tables)


def _asked(path: Path) -> tuple[int | None, bool]:
    """The application id, None if the file is not a database, and whether there are tables."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, timeout=_BUSY_S, isolation_level=None, uri=True)
    application_id = None
    try:
        connection.execute("BEGIN")  # reads both at one moment: another process may be creating the spool
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (has_tables,) = connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_master)").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in _NO_DATABASE:
            raise
        return application_id, True
    finally:
        connection.close()
    return application_id, bool(has_tables)
