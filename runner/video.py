"""Videos to frames and back: the only module that knows about codecs."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from runner.interfaces import Frames, GenerationFailed

MAX_SIDE = 512
"""Longest side in pixels of the frames from ``read_video``; larger videos are scaled down while decoding."""
MAX_SIDE_OF_A_FRAME = 4096
"""Longest side in pixels of the frame from ``read_first_frame``."""
MAX_FRAMES = 2000
"""A video with more frames is refused, so that no file can exhaust the memory."""
UNKNOWN_FPS = 24.0
"""Assumed if a container states no frame rate."""
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ESTALE)
"""Errors that say nothing about a file: too many are open, or a network disk has lost its place."""
_PIECE = 1 << 20


def write_video(path: Path, frames: Frames, fps: float) -> None:
    """Write RGB frames (T, H, W, 3) uint8 as H.264 in MP4, which every browser plays.

    The same frames give the same bytes (one encoder thread, no time stamps), and ``path`` is complete or
    absent. An odd height or width is padded by repeating its last line, as 4:2:0 colour needs even sizes.
    Raises ValueError for frames of another shape or type, no frames, or a rate that is not positive, and
    OSError.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ValueError(
            f"frames must be uint8 (T, H, W, 3) and not empty, not {frames.dtype} {frames.shape}"
        )
    if not 0 < fps < 1000:
        raise ValueError(f"fps must be between 0 and 1000, not {fps}")
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _encode(beside, frames, fps)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_video(path: Path, *, max_side: int = MAX_SIDE, max_frames: int = MAX_FRAMES) -> tuple[Frames, float]:
    """Decode a video into RGB frames (T, H, W, 3) uint8 and frames per second.

    Rotates frames as the file says, like a player. Frames whose longest side exceeds ``max_side`` pixels are
    scaled down, keeping their shape. Raises GenerationFailed for a file that is missing, cannot be decoded,
    is damaged anywhere, or has fewer than 2 or more than ``max_frames`` frames.
    """
    try:
        frames, fps = _decode(path, max_side, max_frames)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _undecodable(path, error) from error
    if len(frames) > max_frames:
        raise GenerationFailed(f"{path}: more than {max_frames} frames; make shorter videos")
    if len(frames) < 2:
        raise GenerationFailed(f"{path}: {len(frames)} frame(s) in the video; at least 2 are needed")
    return np.stack(frames), fps


def require_whole(path: Path) -> None:
    """Raises GenerationFailed if the video may be truncated, because its writer may have been killed.

    Decoding proves little: most containers decode up to the point where they are cut. An MP4 states its
    length, in boxes that must fill the file, and its ``moov`` lists every frame. A fragmented MP4, which can
    end after any fragment, and every other container may be cut, and are refused.
    """
    try:
        kinds = _boxes(path)
    except (OSError, ValueError) as error:
        raise GenerationFailed(f"{path}: is cut short, or not an MP4: {_one_line(error)}") from error
    if not {b"moov", b"mdat"} <= kinds or b"moof" in kinds:
        raise GenerationFailed(f"{path}: is not an unfragmented MP4, so it may be cut short")
    read_video(path)


def read_first_frame(path: Path) -> Frames:
    """The first frame of a video, or an image: (H, W, 3) uint8 in RGB, at full size and upright.

    Raises GenerationFailed for a file that is missing or cannot be decoded.
    """
    try:
        frames, _ = _decode(path, max_side=MAX_SIDE_OF_A_FRAME, max_frames=1)
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise GenerationFailed(f"{path}: cannot be decoded: {_one_line(error)}") from error
    if not frames:
        raise GenerationFailed(f"{path}: has no frame")
    return np.ascontiguousarray(frames[0])


def is_plain_mp4(path: Path) -> bool:
    """Whether a file is what readers of ``.mp4`` expect: H.264 (4:2:0) in MP4, stored upright.

    Raises GenerationFailed for a file that is missing or cannot be decoded.
    """
    try:
        with _opened(path) as container:
            stream = _video_of(container)
            frame = next(container.decode(stream))
            brand = container.metadata.get("major_brand", "qt").strip()
            return (
                "mp4" in container.format.name.split(",")
                and brand != "qt"
                and stream.codec_context.name == "h264"
                and frame.format.name in ("yuv420p", "yuvj420p")
                and _orientation(frame) == (0, False)
            )
    except (av.FFmpegError, OSError, ValueError, StopIteration) as error:
        raise _undecodable(path, error) from error


def write_as_mp4(source: Path, target: Path) -> None:
    """Write any video like ``write_video``, at full size, upright and one frame at a time.

    Raises GenerationFailed if it cannot be decoded, and OSError for what is not the video's fault: ``target``
    cannot be written, or ``source`` cannot be read at the moment.
    """
    try:
        with _reading(source):
            container = _opened(source)
        with container:
            with _reading(source):
                stream = _video_of(container)
            _encode(target, _frames_read(source, container, stream), _rate(stream))
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, OSError):
            raise
        raise _undecodable(source, error) from error


@contextmanager
def _reading(source: Path) -> Iterator[None]:
    """Turns an OSError into GenerationFailed, unless it may pass."""
    try:
        yield
    except OSError as error:
        if _may_pass(error, source):
            raise
        raise _undecodable(source, error) from error


def _may_pass(error: OSError, source: Path) -> bool:
    """Whether a read failed for a passing reason; FFmpeg reports some damaged files as I/O errors, too."""
    if error.errno in _PASSING:
        return True
    try:
        with source.open("rb") as file:
            while file.read(_PIECE):
                pass
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError):
        return False
    except OSError:
        return True
    return False


def _frames_read(source: Path, container: InputContainer, stream: VideoStream) -> Iterator[Frames]:
    with _reading(source):
        yield from _upright(container, stream, max_side=None)


def _undecodable(source: Path, error: Exception) -> GenerationFailed:
    return GenerationFailed(f"{source}: cannot be decoded as a video: {_one_line(error)}")


def _encode(path: Path, frames: Iterable[Frames], fps: float) -> None:
    """Frames (H, W, 3), all of one size."""
    rate = Fraction(fps).limit_denominator(1001)
    flags = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(_file(path), "w", format="mp4", options=flags) as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "16"})
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        reformatter = VideoReformatter()  # one scaler for all frames; a new one each costs more than encoding
        for number, array in enumerate(map(_even, frames)):
            if number == 0:
                stream.height, stream.width = array.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
            container.mux(stream.encode(reformatter.reformat(frame, format="yuv420p")))
        container.mux(stream.encode(None))


def _decode(path: Path, max_side: int, max_frames: int) -> tuple[list[Frames], float]:
    frames: list[Frames] = []
    with _opened(path) as container:
        stream = _video_of(container)
        for frame in _upright(container, stream, max_side):
            frames.append(frame)
            if len(frames) > max_frames:
                break
        return frames, _rate(stream)


def _opened(path: Path) -> InputContainer:
    container: InputContainer = av.open(_file(path))
    return container


def _file(path: Path) -> str:
    """A name that FFmpeg takes for a file: it reads what precedes a first colon as a protocol."""
    return str(path.absolute())


def _video_of(container: InputContainer) -> VideoStream:
    """Raises ValueError if there is none that can be decoded."""
    if not container.streams.video:
        raise ValueError("there is no video stream in it")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise ValueError("its codec is not known")
    # Runs are already parallel; threads inside a decoder would compete for the same cores.
    stream.codec_context.thread_count = 1
    return stream


def _upright(container: InputContainer, stream: VideoStream, max_side: int | None) -> Iterator[Frames]:
    """RGB frames (H, W, 3), turned and mirrored as the file says. Raises ValueError if their size changes."""
    reformatter = VideoReformatter()
    shape = None
    for frame in container.decode(stream):
        height, width = _bounded(frame.height, frame.width, max_side)
        rgb: Any = reformatter.reformat(frame, width=width, height=height, format="rgb24")
        quarters, is_mirrored = _orientation(frame)
        turned: Frames = np.rot90(rgb.to_ndarray(), k=quarters)
        if is_mirrored:
            turned = np.fliplr(turned)
        shape = shape or turned.shape
        if turned.shape != shape:
            raise ValueError("the frame size changes within the video")
        yield turned


def _orientation(frame: av.VideoFrame) -> tuple[int, bool]:
    """How the picture is shown: quarters to turn it anticlockwise, and whether it is mirrored after that.

    The display matrix is row-major, 16.16 fixed point, and multiplies from the right
    (``libavutil/display.h``).
    """
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return 0, False
    a, b, _, c, d = (np.frombuffer(bytes(matrix), dtype="=i4")[:5] / 65536.0).tolist()
    is_mirrored = a * d < b * c
    if is_mirrored:
        a = -a
    return -round(math.atan2(b, a) / (math.pi / 2.0)) % 4, is_mirrored


def _rate(stream: VideoStream) -> float:
    return float(stream.average_rate or stream.guessed_rate or UNKNOWN_FPS)


def _boxes(path: Path) -> set[bytes]:
    """The types of an MP4's outermost boxes. Raises ValueError if they do not fill the file."""
    kinds = set()
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            header = file.read(16)
            length, start = int.from_bytes(header[:4]), 8
            if length == 1:  # a long box: its length is in the next 8 bytes
                length, start = int.from_bytes(header[8:]), 16
            if len(header) < start or length < start or at + length > size:
                raise ValueError(f"the box at byte {at} does not end in the file")
            kinds.add(header[4:8])
            at += length
    return kinds


def _even(frame: Frames) -> Frames:
    odd_rows, odd_columns = frame.shape[0] % 2, frame.shape[1] % 2
    return np.pad(frame, ((0, odd_rows), (0, odd_columns), (0, 0)), mode="edge")


def _bounded(height: int, width: int, max_side: int | None) -> tuple[int, int]:
    if max_side is None:
        return height, width
    scale = min(1.0, max_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
