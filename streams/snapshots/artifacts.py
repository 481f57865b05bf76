"""Where trained adapters lie: a folder, or a URI of a file system that fsspec knows.

What is stored is complete or is not pointed to: a folder is renamed into its place, and to a URI the file
that makes an adapter of it comes last, under a name that holds the hash of all.
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
"""Folders that were used last; the others go once one is fetched."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class ArtifactError(BadInput):
    """An artifact that cannot be used."""

    reason: ClassVar[str] = "damaged"
    """In a word or two, for counting."""


class ArtifactGone(ArtifactError):
    """What a snapshot points to is not there."""

    reason = "missing"


class StoreAway(ArtifactError):
    """The store does not answer; it may later."""

    reason = "store away"


class ArtifactStore(Protocol):
    def put(self, name: str, files: Mapping[str, bytes], last: str) -> str:
        """Store the files under ``name``, the one called ``last`` as the last; gives their URI.

        Storing the same again changes nothing. Raises BadInput where the store takes nothing.
        """
        ...


def open_store(where: str) -> ArtifactStore:
    """Raises BadInput where ``where`` is neither a folder nor a URI that can be used."""
    if not is_uri(where):
        return _FolderStore(Path(where).absolute())
    check_uri(where)
    return _UriStore(where.rstrip("/"))


def is_uri(where: str) -> bool:
    """Whether it names a place of some file system, rather than a path here."""
    return _URI.match(where) is not None


def check_uri(uri: str) -> None:
    """Raises BadInput for a URI that no file system here understands, or that holds a secret."""
    parts = urlsplit(uri)
    if "@" in parts.netloc or "::" in uri:
        raise BadInput(
            f"the URI of {parts.scheme}:// holds a user's name or is made of several; give those of the "
            "environment, as it is written onto Kafka"
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
    """Size and SHA-256 of each file, by name in order."""
    return {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(files.items())
    }


def content_hash(files: Files) -> str:
    """SHA-256 (hex) over the names and hashes of all files."""
    lines = "".join(f"{stated['sha256']}  {name}\n" for name, stated in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def fetch(uri: str, files: Files, cache: Path) -> Path:
    """The folder of ``cache`` with exactly these files, fetched where it lacks one; each is checked.

    The cache keeps the KEPT_IN_CACHE that were used last. Raises ArtifactError, and of its kinds ArtifactGone
    and StoreAway.
    """
    for name, stated in files.items():
        is_plain = _PLAIN_NAME.fullmatch(name) is not None
        if not is_plain or not _is_stated(stated):
            raise ArtifactError(
                f"{uri}: the file {name!r} has no plain name, or no size up to {LARGEST_FILE} with a SHA-256"
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
            with suppress(OSError):  # another process was quicker
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
    """But for those that were used last; a process that reads one has just used it."""
    with suppress(OSError):  # another process tidies up, too
        folders = sorted(cache.glob("[!.]*"), key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
        for folder in folders[KEPT_IN_CACHE:]:
            shutil.rmtree(folder, ignore_errors=True)


def path_name(model: str) -> str:
    """A reward model's name as one part of a path. Raises BadInput where it cannot be one."""
    if model in ("", ".", ".."):
        raise BadInput(f"the model's name is {model!r}; give one with a letter in it")
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
        raise ArtifactError(f"{uri}/{name}: is not the file that the snapshot speaks of")
    return content


def read_object(where: str, size: int, *, if_gone: str) -> bytes:
    """A file by its path or URI, at most one byte more than ``size`` of it.

    Raises ArtifactGone, which says what to do ``if_gone``, and StoreAway.
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
        raise ArtifactGone(f"{where}: is not there; {if_gone}") from None
    except ArtifactError:
        raise
    except BadInput as error:
        raise StoreAway(str(error)) from None
    except Exception as error:  # each file system has kinds of its own
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
            # It would be made, with whatever name a slip of the pen gave it.
            if bucket and not system.exists(bucket):
                raise BadInput(f"{uri}: there is no bucket {bucket!r}; make it, or choose another --store")
            system.makedirs(path, exist_ok=True)
            for file in sorted(files, key=lambda file: (file == last, file)):
                system.pipe_file(f"{path}/{file}", files[file])
        except BadInput:
            raise
        except Exception as error:  # each file system has kinds of its own
            raise BadInput(
                f"{uri}: cannot be written ({type(error).__name__}); choose another --store"
            ) from None
        return uri
