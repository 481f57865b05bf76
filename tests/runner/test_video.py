"""Videos written and read for real."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.interfaces import Frames, GenerationFailed
from runner.video import (
    is_plain_mp4,
    read_first_frame,
    read_video,
    require_whole,
    write_as_mp4,
    write_video,
)
from tests.runner.videos_of_others import KINDS, write_other


def gradient(count: int = 6, height: int = 48, width: int = 64) -> Frames:
    rows, columns = np.mgrid[0:height, 0:width]
    frames = [np.stack([rows * 3 + 8 * i, columns * 2, 0 * rows + 90], axis=-1) % 256 for i in range(count)]
    return np.stack(frames).astype(np.uint8)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    frames = gradient()
    write_video(tmp_path / "a.mp4", frames, 12.0)
    read, fps = read_video(tmp_path / "a.mp4")
    assert (read.shape, fps) == (frames.shape, 12.0)
    assert np.abs(read.astype(int) - frames).mean() < 6


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 5), st.integers(2, 70), st.integers(2, 70), st.sampled_from([1.0, 12.0, 23.976, 30.0]))
def test_any_size_is_padded_to_even_and_keeps_its_rate(
    tmp_path_factory: pytest.TempPathFactory, count: int, height: int, width: int, fps: float
) -> None:
    path = tmp_path_factory.mktemp("size") / "a.mp4"
    write_video(path, gradient(count, height, width), fps)
    read, read_fps = read_video(path)
    assert read.shape == (count, height + height % 2, width + width % 2, 3)
    assert read_fps == pytest.approx(fps, rel=1e-3)


def test_a_browser_can_play_it_while_it_loads(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", gradient(), 12.0)
    content = (tmp_path / "a.mp4").read_bytes()
    with av.open(str(tmp_path / "a.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
    assert content.index(b"moov") < content.index(b"mdat")


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, gradient(), 12.0)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_nothing_but_the_video_is_left(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", gradient(), 12.0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_large_videos_are_scaled_down_while_decoding(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", gradient(2, 60, 200), 12.0)
    read, _ = read_video(tmp_path / "a.mp4", max_side=100)
    assert read.shape == (2, 30, 100, 3)


@pytest.mark.parametrize("content", [b"", b"not a video", b"\x00" * 4096])
def test_what_cannot_be_decoded_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.mp4").write_bytes(content)
    with pytest.raises(GenerationFailed, match=r"bad\.mp4: cannot be decoded as a video") as failure:
        read_video(tmp_path / "bad.mp4")
    assert "\n" not in str(failure.value)


def test_a_truncated_video_fails(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", gradient(), 12.0)
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: len(whole) // 4])
    with pytest.raises(GenerationFailed):
        read_video(tmp_path / "a.mp4")


def test_a_missing_video_fails(tmp_path: Path) -> None:
    with pytest.raises(GenerationFailed, match=r"none\.mp4"):
        read_video(tmp_path / "none.mp4")


def test_a_single_frame_is_no_video(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", gradient(1), 12.0)
    with pytest.raises(GenerationFailed, match="at least 2"):
        read_video(tmp_path / "a.mp4")


def test_too_many_frames_are_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", gradient(6), 12.0)
    with pytest.raises(GenerationFailed, match="more than 5 frames"):
        read_video(tmp_path / "a.mp4", max_frames=5)


@pytest.mark.parametrize(
    "frames",
    [np.zeros((0, 8, 8, 3), np.uint8), np.zeros((4, 8, 8), np.uint8), np.zeros((4, 8, 8, 3), np.float32)],
)
def test_other_arrays_are_refused_before_anything_is_written(tmp_path: Path, frames: Frames) -> None:
    with pytest.raises(ValueError, match="uint8"):
        write_video(tmp_path / "a.mp4", frames, 12.0)
    assert not list(tmp_path.iterdir())


def write_in(path: Path, container: str, movflags: str = "") -> None:
    """As other programs write: noise, so that each frame has its bytes."""
    frames = np.random.default_rng(0).integers(0, 255, (6, 48, 64, 3), np.uint8)
    with av.open(
        str(path), "w", format=container, options={"movflags": movflags} if movflags else {}
    ) as file:
        stream = file.add_stream("libx264", rate=8, options={"g": "2"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode(None))


@pytest.mark.parametrize("movflags", ["", "+faststart"])
def test_an_mp4_is_whole_and_cut_anywhere_it_is_not(tmp_path: Path, movflags: str) -> None:
    path = tmp_path / "a.mp4"
    write_in(path, "mp4", movflags)
    require_whole(path)
    whole = path.read_bytes()
    for size in [*range(0, len(whole), len(whole) // 50), *range(len(whole) - 150, len(whole))]:
        path.write_bytes(whole[:size])
        with pytest.raises(GenerationFailed):
            require_whole(path)


@pytest.mark.parametrize(
    ("container", "movflags"),
    [("matroska", ""), ("mpegts", ""), ("mp4", "frag_keyframe+empty_moov"), ("avi", "")],
)
def test_a_container_that_decodes_though_it_is_cut_is_never_surely_whole(
    tmp_path: Path, container: str, movflags: str
) -> None:
    path = tmp_path / "a"
    write_in(path, container, movflags)
    assert len(read_video(path)[0]) == 6
    with pytest.raises(GenerationFailed):
        require_whole(path)


def test_an_mp4_whose_frames_are_damaged_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_in(path, "mp4")
    raw = bytearray(path.read_bytes())
    raw[200 : len(raw) // 2] = bytes(len(raw) // 2 - 200)
    path.write_bytes(raw)
    with pytest.raises(GenerationFailed):
        require_whole(path)


def test_an_mp4_that_ends_before_it_names_its_codec_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_in(path, "mp4")
    whole = path.read_bytes()
    for size in range(whole.index(b"stsd"), whole.index(b"stts"), 5):
        path.write_bytes(whole[:size])
        with pytest.raises(GenerationFailed):
            read_video(path)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_video_is_seen_as_opencv_shows_it(tmp_path: Path, kind: str) -> None:
    """Upright, that is; OpenCV turns frames by itself."""
    path = tmp_path / f"v{KINDS[kind][0]}"
    write_other(path, gradient(), kind)
    shown, first = cv2.VideoCapture(str(path)).read()
    assert shown
    expected = cv2.cvtColor(first, cv2.COLOR_BGR2RGB)
    assert expected.shape == ((64, 48, 3) if kind == "on its side" else (48, 64, 3))
    assert np.abs(read_video(path)[0][0].astype(int) - expected).mean() < 2
    assert np.abs(read_first_frame(path).astype(int) - expected).mean() < 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_video_can_be_made_a_plain_mp4(tmp_path: Path, kind: str) -> None:
    path, made = tmp_path / "other.mp4", tmp_path / "made.mp4"
    write_other(path, gradient(), kind)
    write_as_mp4(path, made)
    assert (is_plain_mp4(path), is_plain_mp4(made)) == (False, True)
    (before, fps_before), (after, fps) = read_video(path), read_video(made)
    assert after.shape == before.shape
    assert fps == pytest.approx(fps_before, rel=1e-3)
    assert np.abs(before.astype(int) - after).mean() < 12


@pytest.mark.parametrize(
    ("matrix", "top_left", "top_right"),
    [
        ((1, 0, 0, 1), (0, 0), (0, -1)),
        ((-1, 0, 0, 1), (0, -1), (0, 0)),
        ((1, 0, 0, -1), (-1, 0), (-1, -1)),
        ((-1, 0, 0, -1), (-1, -1), (-1, 0)),
        ((0, 1, -1, 0), (0, -1), (-1, -1)),
        ((0, -1, 1, 0), (-1, 0), (0, 0)),
        ((0, 1, 1, 0), (0, 0), (-1, 0)),
        ((0, -1, -1, 0), (-1, -1), (0, -1)),
    ],
)
def test_a_video_is_turned_and_mirrored_as_a_player_shows_it(
    tmp_path: Path, matrix: tuple[int, int, int, int], top_left: tuple[int, int], top_right: tuple[int, int]
) -> None:
    """Where the corners come to lie that are stored at the top."""
    stored = np.zeros((2, 48, 64, 3), np.uint8)
    stored[:, :24, :32, 0] = stored[:, :24, 32:, 1] = 255
    write_other(tmp_path / "a.mp4", stored, "4:4:4 in mp4", matrix)
    frame = read_first_frame(tmp_path / "a.mp4")
    assert frame.shape == ((48, 64, 3) if matrix[0] else (64, 48, 3))
    assert [int(frame[at].argmax()) for at in (top_left, top_right)] == [0, 1]
    assert min(int(frame[at].max()) for at in (top_left, top_right)) > 200


def test_what_is_written_here_is_a_plain_mp4(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", gradient(), 12.0)
    assert is_plain_mp4(tmp_path / "a.mp4")


def test_what_is_made_an_mp4_keeps_its_size(tmp_path: Path) -> None:
    write_other(tmp_path / "a.avi", gradient(2, 60, 1200), "avi")
    write_as_mp4(tmp_path / "a.avi", tmp_path / "a.mp4")
    assert read_first_frame(tmp_path / "a.mp4").shape == (60, 1200, 3)


@pytest.mark.parametrize("read", [is_plain_mp4, lambda path: write_as_mp4(path, path.with_name("made.mp4"))])
@pytest.mark.parametrize("content", [None, b"", b"not a video"])
def test_what_is_no_video_is_neither_a_plain_mp4_nor_made_one(
    tmp_path: Path, read: Callable[[Path], object], content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "bad.mp4").write_bytes(content)
    with pytest.raises(GenerationFailed, match=r"bad\.mp4: cannot be decoded as a video"):
        read(tmp_path / "bad.mp4")


def test_a_target_that_cannot_be_written_is_not_taken_for_a_video_that_cannot_be_decoded(
    tmp_path: Path,
) -> None:
    write_video(tmp_path / "a.mp4", gradient(), 12.0)
    with pytest.raises(FileNotFoundError):
        write_as_mp4(tmp_path / "a.mp4", tmp_path / "no such folder" / "b.mp4")


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.EMFILE, OSError), (errno.ESTALE, OSError), (errno.EIO, GenerationFailed)],
)
def test_an_error_that_passes_is_no_fault_of_the_video(
    number: int, expected: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg also reports some damaged files as I/O errors; this file can be read to its end."""
    write_video(tmp_path / "a.mp4", gradient(), 12.0)

    def fails(path: Path) -> None:
        raise OSError(number, "cannot be opened")

    monkeypatch.setattr("runner.video._opened", fails)
    with pytest.raises(expected):
        write_as_mp4(tmp_path / "a.mp4", tmp_path / "b.mp4")


@pytest.mark.parametrize("name", ["runs:b", "file:x", "http:", "100%d", "-o", "a b#c?d"])
def test_any_name_of_a_relative_folder_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    video = Path(name) / "a.mp4"
    video.parent.mkdir()
    write_video(video, gradient(), 12.0)
    write_as_mp4(video, Path(name) / "b.mp4")
    assert read_video(video)[0].shape == read_video(Path(name) / "b.mp4")[0].shape
    assert read_first_frame(video).shape == (48, 64, 3)
