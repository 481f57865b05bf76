"""Videos in stores that fsspec knows, such as S3; only those below given roots are read.

A trace names a video by a URI, or by a path relative to ``ROOT/RUN_ID/``. Traces may contain anything, so
nothing outside the roots is requested.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streams.errors import BadInput
from streams.snapshots.artifacts import (
    LARGEST_FILE,
    ArtifactError,
    ArtifactGone,
    StoreAway,
    check_uri,
    is_uri,
    read_object,
)
from streams.snapshots.scratch import scratch_folder

log = logging.getLogger(__name__)
ANSWER_S = 5.0
"""Seconds to wait for a video."""
_AGAIN_S = 5.0
"""Seconds for which a store is not asked after it did not answer."""
_AT_ONCE = 4
_NO_STORES = ("file", "local", "http", "https")
"""Folders belong in ``--runs``, which follows no link out of them; a web server may lead anywhere."""
_PLAIN = re.compile(r"[^/\\%?#*\[\]\0]+")


class Store:
    """One root. It is read in daemon threads, because some clients wait for minutes."""

    def __init__(self, root: str, *, answer_s: float = ANSWER_S) -> None:
        """Raises BadInput if ``root`` is not a usable URI."""
        scheme = root.partition("://")[0].lower()
        if not is_uri(root) or scheme in _NO_STORES:
            raise BadInput(
                f"--artifacts {root}: is not a store; give a URI such as s3://bucket/runs, or use --runs"
            )
        check_uri(root)
        self.root = root.rstrip("/")
        self._answer_s = answer_s
        self._away_until_s = 0.0
        self._free = threading.Semaphore(_AT_ONCE)

    def read(self, path: str) -> bytes:
        """The content of a file below the root. Raises ArtifactError, including ArtifactGone and
        StoreAway."""
        if time.monotonic() < self._away_until_s or not self._free.acquire(timeout=self._answer_s):
            raise self._away()
        answer: list[bytes | ArtifactError] = []

        def ask() -> None:
            try:
                answer.append(read_object(f"{self.root}/{path}", LARGEST_FILE, if_gone="it was removed"))
            except ArtifactError as error:
                answer.append(error)
            finally:
                self._free.release()

        asking = threading.Thread(target=ask, name="read-store", daemon=True)
        asking.start()
        asking.join(self._answer_s)
        found = answer[0] if answer else StoreAway("no answer")
        if isinstance(found, StoreAway):
            log.warning("%s: %s", self.root, found)
            self._away_until_s = time.monotonic() + _AGAIN_S
            raise self._away()
        if isinstance(found, ArtifactError):
            raise found
        if len(found) > LARGEST_FILE:
            raise ArtifactError(f"{self.root}/{path}: is over {LARGEST_FILE:,} bytes; give a smaller video")
        return found

    def path_of(self, uri: str) -> str | None:
        """The path of a URI below the root; None if it lies outside."""
        path = uri.removeprefix(f"{self.root}/")
        return path if path != uri and is_plain(path) else None

    def _away(self) -> StoreAway:
        return StoreAway(f"the store {self.root} does not answer or denies access; it will be retried")


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """A video, in the first of these places (store and path) that has it."""

    places: tuple[tuple[Store, str], ...]

    @property
    def name(self) -> str:
        """A name that is unique to this video."""
        return "\0".join(f"{store.root}/{path}" for store, path in self.places)

    @contextmanager
    def copied(self, folder: Path) -> Iterator[Path]:
        """A copy below ``folder``, removed when the block ends. Raises ArtifactError and OSError."""
        content = self._read()
        folder.mkdir(parents=True, exist_ok=True)
        with scratch_folder(folder, ".copying-") as scratch:
            # Without a file extension: the format is detected from the content.
            copy = scratch / "video"
            copy.write_bytes(content)
            yield copy

    def _read(self) -> bytes:
        gone: ArtifactGone | None = None
        for store, path in self.places:
            try:
                return store.read(path)
            except ArtifactGone as error:
                gone = error
        raise gone or ArtifactGone("the video is in no store")


class Stores:
    """The roots that videos may come from, in the order of lookup."""

    def __init__(self, roots: Sequence[str] = (), *, answer_s: float = ANSWER_S) -> None:
        """Raises BadInput for a root that cannot be used."""
        self._stores = tuple(Store(root, answer_s=answer_s) for root in dict.fromkeys(roots))

    def find(self, run_id: str, artifact_path: str) -> StoredVideo | None:
        """The possible places of an iteration's video, without a request; None if they lie in no root."""
        if is_uri(artifact_path):
            places = [(store, store.path_of(artifact_path)) for store in self._stores]
        else:
            path = f"{run_id}/{artifact_path}"
            places = [(store, path if artifact_path and is_plain(path) else None) for store in self._stores]
        found = tuple((store, path) for store, path in places if path is not None)
        return StoredVideo(found) if found else None


def is_plain(path: str) -> bool:
    """Whether a path only descends, and means the same to every file system."""
    parts = path.split("/")
    return all(part not in (".", "..") and _PLAIN.fullmatch(part) is not None for part in parts)
