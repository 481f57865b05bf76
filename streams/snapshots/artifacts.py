"""The store of trained adapters: a folder, or a URI of a file system that fsspec knows.

An incomplete artifact is never visible. A folder is renamed into place. At a URI the file that makes the
artifact an adapter is written last, under a name that contains the hash of all files.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import quote, urlsplit

from streams.errors import BadInput
from streams.files import sync_directory, write_atomically
from streams.snapshots.scratch import scratch_folder

Files = Mapping[str, Mapping[str, Any]]
"""File name to its ``size`` in bytes and ``sha256`` (hex)."""

LARGEST_FILE = 256 << 20
KEPT_IN_CACHE = 20
"""Number of most recently used folders kept; a fetch removes all others."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class ArtifactError(BadInput):
    """An artifact that cannot be used."""

    reason: ClassVar[str] = "damaged"
    """The reason in a word or two, by which failures are counted."""


class ArtifactGone(ArtifactError):
    """The artifact that a snapshot points to does not exist."""

    reason = "missing"


class StoreAway(ArtifactError):
    """The store does not answer; it may later."""

    reason = "store away"


class ArtifactStore(Protocol):
    def put(self, name: str, files: Mapping[str, bytes], last: str) -> str:
        """Store the files under ``name``, the file ``last`` at the end; returns their URI.

        Storing the same files again changes nothing. Raises BadInput if the store cannot be written.
        """
        ...


def open_store(where: str) -> ArtifactStore:
    """The store at ``where``. Raises BadInput if that is a URI that cannot be used."""
    if not is_uri(where):
        return _FolderStore(Path(where).absolute())
    check_uri(where)
    return _UriStore(where.rstrip("/"))


def is_uri(where: str) -> bool:
    """Whether ``where`` is a URI rather than a local path."""
    return _URI.match(where) is not None


def check_uri(uri: str) -> None:
    """Raises BadInput for a URI that no installed file system understands, or that may hold a secret."""
    parts = urlsplit(uri)
    if "@" in parts.netloc or "::" in uri:
        raise BadInput(
            f"the URI of {parts.scheme}:// contains a user name or chains several URIs; it is written to "
            "Kafka, so give credentials in the environment"
        )
    if find_spec("fsspec") is None:
        raise BadInput(
            f'{uri}: a URI needs fsspec; install it with pip install -e ".[lora]", or give a folder'
        )
    from fsspec.registry import get_filesystem_class

    try:
        get_filesystem_class(parts.scheme)
    except (ImportError, ValueError) as error:
        raise BadInput(f"{uri}: cannot be used: {error}") from None


def listed(files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of each file, sorted by name."""
    return {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(files.items())
    }


def content_hash(files: Files) -> str:
    """SHA-256 (hex) of the names and hashes of all files."""
    lines = "".join(f"{stated['sha256']}  {name}\n" for name, stated in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def fetch(uri: str, files: Files, cache: Path) -> Path:
    """The folder of ``cache`` with exactly these files, fetched if one is missing; each is checked.

    The cache keeps the KEPT_IN_CACHE most recently used folders. Raises ArtifactError, including its
    subclasses ArtifactGone and StoreAway.
    """
    for name, stated in files.items():
        is_plain = _PLAIN_NAME.fullmatch(name) is not None
        if not is_plain or not _is_stated(stated):
            raise ArtifactError(
                f"{uri}: the file {name!r} needs a plain name, a size of at most {LARGEST_FILE} and a SHA-256"
            )
    folder = cache / content_hash(files)
    if _holds(folder, files):
        os.utime(folder)
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with scratch_folder(cache, ".fetching-") as beside:
            for name, stated in files.items():
                (beside / name).write_bytes(_read_checked(uri, name, stated))
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # another process was faster
                beside.rename(folder)
    except OSError as error:
        raise StoreAway(
            f"{cache}: cannot be written: {error.strerror}; make room or choose another cache"
        ) from None
    if not _holds(folder, files):
        raise StoreAway(f"{folder}: cannot be written; make room or choose another cache")
    _forget_old(cache)
    return folder


def _forget_old(cache: Path) -> None:
    """Remove all but the most recently used folders; a process that reads one has just used it."""
    with suppress(OSError):  # another process removes them, too
        folders = sorted(cache.glob("[!.]*"), key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
        for folder in folders[KEPT_IN_CACHE:]:
            shutil.rmtree(folder, ignore_errors=True)


def path_name(model: str) -> str:
    """A reward model's name as one component of a path. Raises BadInput if it cannot be one."""
    if model in ("", ".", ".."):
        raise BadInput(f"the model's name is {model!r}; give a name that contains a letter")
    return quote(model, safe="")


def _is_stated(stated: Mapping[str, Any]) -> bool:
    size, sha256 = stated.get("size"), stated.get("sha256")
    return isinstance(size, int) and 0 <= size <= LARGEST_FILE and isinstance(sha256, str)


def _holds(folder: Path, files: Files) -> bool:
    try:
        return {path.name for path in folder.iterdir()} == set(files) and all(
            hashlib.sha256((folder / name).read_bytes()).hexdigest() == stated["sha256"]
            for name, stated in files.items()
        )
    except OSError:
        return False


def _read_checked(uri: str, name: str, stated: Mapping[str, Any]) -> bytes:
    content = read_object(f"{uri}/{name}", int(stated["size"]), if_gone="train the model again")
    if len(content) != stated["size"] or hashlib.sha256(content).hexdigest() != stated["sha256"]:
        raise ArtifactError(f"{uri}/{name}: has another size or SHA-256 than the snapshot states")
    return content


def read_object(where: str, size: int, *, if_gone: str) -> bytes:
    """The content of a file, by path or URI; reads at most ``size + 1`` bytes.

    Raises ArtifactGone, whose message ends with ``if_gone``, and StoreAway.
    """
    try:
        if not is_uri(where):
            with Path(where).open("rb") as file:
                return file.read(size + 1)
        check_uri(where)
        import fsspec

        with fsspec.open(where, "rb") as opened:
            content: bytes = opened.read(size + 1)
            return content
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise ArtifactGone(f"{where}: does not exist; {if_gone}") from None
    except ArtifactError:
        raise
    except BadInput as error:
        raise StoreAway(str(error)) from None
    except Exception as error:  # each file system raises its own exceptions
        raise StoreAway(f"{where}: cannot be read ({type(error).__name__})") from None


class _FolderStore:
    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, name: str, files: Mapping[str, bytes], last: str) -> str:
        folder = self._root / name
        if _holds(folder, listed(files)):
            return str(folder)
        beside = folder.with_name(f".{folder.name}.tmp")
        try:
            shutil.rmtree(beside, ignore_errors=True)
            for file in sorted(files):
                write_atomically(beside / file, files[file])
            shutil.rmtree(folder, ignore_errors=True)
            beside.rename(folder)
            for directory in {folder.parent, self._root}:
                sync_directory(directory)
        except OSError as error:
            raise BadInput(f"{folder}: cannot be written: {error.strerror}; choose another --store") from None
        return str(folder)


class _UriStore:
    def __init__(self, root: str) -> None:
        self._root = root

    def put(self, name: str, files: Mapping[str, bytes], last: str) -> str:
        import fsspec

        uri = f"{self._root}/{name}"
        try:
            system, path = fsspec.core.url_to_fs(uri)
            bucket = path.partition("/")[0]
            # Otherwise a misspelt bucket would be created.
            if bucket and not system.exists(bucket):
                raise BadInput(f"{uri}: there is no bucket {bucket!r}; create it, or choose another --store")
            system.makedirs(path, exist_ok=True)
            for file in sorted(files, key=lambda file: (file == last, file)):
                system.pipe_file(f"{path}/{file}", files[file])
        except BadInput:
            raise
        except Exception as error:  # each file system raises its own exceptions
            raise BadInput(
                f"{uri}: cannot be written ({type(error).__name__}); choose another --store"
            ) from None
        return uri
