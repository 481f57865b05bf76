"""The watch over folders of runs goes on, whatever becomes of them meanwhile."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from streams.messages.contracts import TraceMessage
from tests.pages import write_runs
from tribrain.ui.folders import FolderWatch
from tribrain.ui.library import Library


def test_a_folder_that_vanishes_while_it_is_looked_through_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_runs(tmp_path, runs=2)
    going, scandir = tmp_path / "runs" / "secret-folder-0", os.scandir

    def scan(place: Any) -> Any:
        if str(place) == str(going):
            shutil.rmtree(going)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", scan)
    library = Library()
    FolderWatch([tmp_path / "runs"], library).look()
    assert not going.exists()
    assert len(library.runs()) == 1
    assert library.problems.items() == []


def test_a_trace_that_vanishes_before_it_is_read_hides_no_other(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=3)

    class Deleting(Library):
        def take(self, message: TraceMessage, at_ms: int, *, is_on_topic: bool = False) -> None:
            shutil.rmtree(tmp_path / "runs" / "secret-folder-1", ignore_errors=True)
            super().take(message, at_ms, is_on_topic=is_on_topic)

    library = Deleting()
    FolderWatch([tmp_path / "runs"], library).look()
    assert len(library.runs()) == 2
    assert library.problems.items() == []


def test_a_folder_that_is_away_is_a_problem_until_it_is_back(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    library = Library()
    watch = FolderWatch([tmp_path / "runs"], library)
    (tmp_path / "runs").rename(tmp_path / "away")
    watch.look()
    assert library.problems.items() == [(str(tmp_path / "runs"), "cannot be read: No such file or directory")]
    (tmp_path / "away").rename(tmp_path / "runs")
    watch.look()
    assert library.problems.items() == []
    assert len(library.runs()) == 1


def test_a_link_that_leads_in_a_circle_is_a_problem_and_hides_no_other(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    circle = tmp_path / "runs" / "circle" / "trace.jsonl"
    circle.parent.mkdir()
    circle.symlink_to(circle)
    library = Library()
    FolderWatch([tmp_path / "runs"], library).look()
    assert len(library.runs()) == 1
    assert [place for place, _ in library.problems.items()] == [str(circle)]


def test_a_video_that_links_in_a_circle_is_none(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    video = tmp_path / "runs" / "secret-folder-0" / "iter_01" / "video.mp4"
    video.unlink()
    video.symlink_to(video)
    library = Library()
    FolderWatch([tmp_path / "runs"], library).look()
    assert [candidate.iter_idx for candidate in library.votable()] == [0, 2]
