"""Videos to frames and back: the only module that knows about codecs."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from runner.interfaces import Frames, GenerationFailed

MAX_SIDE = 512
"""Pixels of the longest side that ``read_video`` gives; larger videos are scaled down while decoding."""
MAX_SIDE_OF_A_FRAME = 4096
"""Pixels of the longest side that ``read_first_frame`` gives."""
MAX_FRAMES = 2000
"""A video with more frames is refused, so that no file can fill the memory."""
UNKNOWN_FPS = 24.0
"""Assumed where a container names no frame rate."""


def write_video(path: Path, frames: Frames, fps: float) -> None:
    """Write RGB frames (T, H, W, 3) uint8 as H.264 in MP4, which every browser plays.

    The same frames give the same bytes (one encoder thread, no time stamps), and ``path`` is whole or
    absent. An odd height or width is padded by repeating its last line, as 4:2:0 colour needs even sizes.
    Raises ValueError for frames of another shape or type, none at all, or a rate that is not positive.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ValueError(
            f"frames must be uint8 (T, H, W, 3) and not empty, not {frames.dtype} {frames.shape}"
        )
    if not 0 < fps < 1000:
        raise ValueError(f"fps must be between 0 and 1000, not {fps}")
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _encode(beside, _even(frames), fps)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_video(path: Path, *, max_side: int = MAX_SIDE, max_frames: int = MAX_FRAMES) -> tuple[Frames, float]:
    """Decode a video into RGB frames (T, H, W, 3) uint8 and frames per second.

    Frames whose longest side exceeds ``max_side`` pixels are scaled down, keeping their shape. Raises
    GenerationFailed for a file that is missing, cannot be decoded, is damaged on the way, or has fewer than
    2 or more than ``max_frames`` frames.
    """
    try:
        frames, fps = _decode(path, max_side, max_frames)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise GenerationFailed(f"{path}: cannot be decoded as a video: {_one_line(error)}") from error
    if len(frames) > max_frames:
        raise GenerationFailed(f"{path}: more than {max_frames} frames; make shorter videos")
    if len(frames) < 2:
        raise GenerationFailed(f"{path}: {len(frames)} frame(s) in the video; at least 2 are needed")
    return np.stack(frames), fps


def require_whole(path: Path) -> None:
    """For a video whose writer may have been killed: raises GenerationFailed where it may be cut short.

    That it decodes says little, as most containers decode up to where they are cut. An MP4 says how long it
    is, in boxes that have to fill the file, and its ``moov`` names every frame that there is to be. One in
    fragments, which can end after any of them, and every other container may be cut, and is refused.
    """
    try:
        kinds = _boxes(path)
    except (OSError, ValueError) as error:
        raise GenerationFailed(f"{path}: is cut short, or no MP4: {_one_line(error)}") from error
    if not {b"moov", b"mdat"} <= kinds or b"moof" in kinds:
        raise GenerationFailed(f"{path}: is no MP4 in one piece, so it may be cut short")
    read_video(path)


def read_first_frame(path: Path) -> Frames:
    """The first frame of a video, or an image: (H, W, 3) uint8 in RGB, in its own size.

    Raises GenerationFailed for a file that is missing or cannot be decoded.
    """
    try:
        frames, _ = _decode(path, max_side=MAX_SIDE_OF_A_FRAME, max_frames=1)
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise GenerationFailed(f"{path}: cannot be decoded: {_one_line(error)}") from error
    if not frames:
        raise GenerationFailed(f"{path}: there is no frame in it")
    return frames[0]


def _encode(path: Path, frames: Frames, fps: float) -> None:
    rate = Fraction(fps).limit_denominator(1001)
    flags = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=flags) as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "16"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        reformatter = VideoReformatter()  # one scaler for all frames; a new one each costs more than encoding
        for array in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
            container.mux(stream.encode(reformatter.reformat(frame, format="yuv420p")))
        container.mux(stream.encode(None))


def _decode(path: Path, max_side: int, max_frames: int) -> tuple[list[Frames], float]:
    frames: list[Frames] = []
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError("there is no video stream in it")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise ValueError("its codec is not known")
        # Runs are parallel already; threads inside a decoder would fight over the same cores.
        stream.codec_context.thread_count = 1
        reformatter = VideoReformatter()
        for frame in container.decode(stream):
            height, width = _bounded(frame.height, frame.width, max_side)
            rgb: Any = reformatter.reformat(frame, width=width, height=height, format="rgb24")
            frames.append(rgb.to_ndarray())
            if frames[-1].shape != frames[0].shape:
                raise ValueError("the frame size changes on the way")
            if len(frames) > max_frames:
                break
        fps = float(stream.average_rate or stream.guessed_rate or UNKNOWN_FPS)
    return frames, fps


def _boxes(path: Path) -> set[bytes]:
    """The kinds of an MP4's outermost boxes. Raises ValueError where they do not fill the file."""
    kinds = set()
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            header = file.read(16)
            length, start = int.from_bytes(header[:4]), 8
            if length == 1:  # a long box: its length stands in the next 8 bytes
                length, start = int.from_bytes(header[8:]), 16
            if len(header) < start or length < start or at + length > size:
                raise ValueError(f"the box at byte {at} does not end in the file")
            kinds.add(header[4:8])
            at += length
    return kinds


def _even(frames: Frames) -> Frames:
    odd_rows, odd_columns = frames.shape[1] % 2, frames.shape[2] % 2
    return np.pad(frames, ((0, 0), (0, odd_rows), (0, odd_columns), (0, 0)), mode="edge")


def _bounded(height: int, width: int, max_side: int) -> tuple[int, int]:
    scale = min(1.0, max_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
