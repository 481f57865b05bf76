"""Videos as other programs write them: any container, codec, colour and rotation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av

from runner.interfaces import Frames

KINDS: dict[str, tuple[str, str, str, int]] = {
    "hevc in mp4": (".mp4", "libx265", "yuv420p", 0),
    "mpeg4 in mp4": (".mp4", "mpeg4", "yuv420p", 0),
    "4:4:4 in mp4": (".mp4", "libx264", "yuv444p", 0),
    "on its side": (".mp4", "libx264", "yuv420p", 90),
    "upside down": (".mp4", "libx264", "yuv420p", 180),
    "gif": (".gif", "gif", "rgb8", 0),
    "avi": (".avi", "mpeg4", "yuv420p", 0),
    "mov": (".mov", "libx264", "yuv420p", 0),
    "mkv": (".mkv", "libx264", "yuv420p", 0),
    "webm": (".webm", "libvpx-vp9", "yuv420p", 0),
}
"""Suffix, encoder, pixel format, and by how many degrees a player turns it counterclockwise."""


def write_other(
    path: Path, frames: Frames, kind: str, matrix: tuple[int, int, int, int] | None = None
) -> None:
    """Frames (T, H, W, 3) as they are stored; the name's own suffix does not matter.

    ``matrix`` (a, b, c, d) shows the pixel (x, y) at (a·x + c·y, b·x + d·y), but for a shift.
    """
    suffix, codec, pixels, rotation = KINDS[kind]
    container_format = {".mkv": "matroska"}.get(suffix, suffix[1:])
    log: dict[str, Any] = {"options": {"x265-params": "log-level=none"}} if codec == "libx265" else {}
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=8, **log)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        if rotation:
            stream.set_display_rotation(rotation)
        if matrix is not None:
            a, b, c, d = (number << 16 for number in matrix)
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
