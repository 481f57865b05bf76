"""Videos for a browser: copies that do not reveal their origin, served with HTTP ranges."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import av
from starlette.responses import Response, StreamingResponse

from runner.video import UNKNOWN_FPS, write_as_mp4
from tribrain.ui.stores import StoredVideo

_STEP_BYTES = 64 << 10
_CHUNK_BYTES = 256 << 10
_KEPT = 400
_HEADER = 8
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindCopy:
    """The copy of a video that voters are shown."""

    path: Path
    fps: float
    frames: int
    width: int
    height: int


class Films:
    """Anonymous copies of videos in a cache folder, all made by one encoder.

    An encoder version, a title or a file size could reveal the world model.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._busy: dict[str, threading.Lock] = {}
        self._known: dict[str, BlindCopy] = {}

    def blind(self, video: Path | StoredVideo) -> BlindCopy:
        """The copy of a video, created if missing; a video in a store is fetched once.

        Raises GenerationFailed, OSError for what is not the video's fault, and ArtifactError for a video in a
        store.
        """
        name = hashlib.sha256(_identity(video).encode()).hexdigest()[:40]
        with self._lock:
            busy = self._busy.setdefault(name, threading.Lock())
        with busy:
            known = self._known.get(name)
            if known is not None and known.path.exists():
                return known
            target = self._cache / f"{name}.mp4"
            if not target.exists():
                with _file_of(video, self._cache) as file:
                    self._make(file, target)
            film = self._known[name] = _film(target)
            return film

    def _make(self, video: Path, target: Path) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.stem}.{os.getpid()}.mp4")
        try:
            write_as_mp4(video, beside)
            _pad(beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
        kept = sorted(self._cache.glob("[!.]*.mp4"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in kept[_KEPT:]:
            path.unlink(missing_ok=True)


def _file_of(video: Path | StoredVideo, scratch: Path) -> AbstractContextManager[Path]:
    return video.copied(scratch) if isinstance(video, StoredVideo) else nullcontext(video)


def _identity(video: Path | StoredVideo) -> str:
    """Identifies the content: it changes when a file is rewritten."""
    if isinstance(video, StoredVideo):
        return video.name
    stat = video.stat()
    return f"{video}\0{stat.st_size}\0{stat.st_mtime_ns}"


def _pad(path: Path) -> None:
    """Pad to a multiple of 64 KiB with a box that players skip (ISO/IEC 14496-12, "free")."""
    size = path.stat().st_size
    missing = -(size + _HEADER) % _STEP_BYTES
    with path.open("ab") as file:
        file.write((_HEADER + missing).to_bytes(4, "big") + b"free" + bytes(missing))


def _film(path: Path) -> BlindCopy:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return BlindCopy(
            path=path,
            fps=float(stream.average_rate or UNKNOWN_FPS),
            frames=stream.frames,
            width=stream.codec_context.width,
            height=stream.codec_context.height,
        )


def in_parts(path: Path, range_header: str | None, headers: Mapping[str, str]) -> Response:
    """A file, or the requested range of it; multiple ranges are refused (416)."""
    size = path.stat().st_size
    all_headers = {**headers, "Accept-Ranges": "bytes", "Content-Type": "video/mp4"}
    if range_header is None:
        return _stream(path, 0, size, 200, all_headers)
    span = _span(range_header, size)
    if span is None:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    first, end = span
    return _stream(path, first, end, 206, {**all_headers, "Content-Range": f"bytes {first}-{end - 1}/{size}"})


def _span(header: str, size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last; None if the range cannot be satisfied."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:  # a suffix range: the last N bytes
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), min(size, int(last) + 1) if last else size
    return (begin, end) if begin < end else None


def _stream(path: Path, first: int, end: int, status: int, headers: Mapping[str, str]) -> Response:
    def chunks() -> Iterator[bytes]:
        with path.open("rb") as file:
            file.seek(first)
            left = end - first
            while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk

    return StreamingResponse(chunks(), status, {**headers, "Content-Length": str(end - first)})
