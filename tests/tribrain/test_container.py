"""When a health check ends its container."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import BadInput
from tribrain.watch import container


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


def test_one_that_was_well_is_ended_after_so_long(notes: Path) -> None:
    assert not container.is_to_end(True, 60, 0.0, notes)
    assert not container.is_to_end(False, 60, 10.0, notes)
    assert not container.is_to_end(False, 60, 69.0, notes)
    assert container.is_to_end(False, 60, 70.0, notes)


def test_a_check_that_passes_begins_the_time_anew(notes: Path) -> None:
    container.is_to_end(True, 60, 0.0, notes)
    container.is_to_end(False, 60, 10.0, notes)
    container.is_to_end(True, 60, 40.0, notes)
    assert not container.is_to_end(False, 60, 80.0, notes)
    assert not container.is_to_end(False, 60, 139.0, notes)
    assert container.is_to_end(False, 60, 140.0, notes)


def test_one_that_was_never_well_gets_ten_times_as_long(notes: Path) -> None:
    container.is_to_end(False, 60, 0.0, notes)
    assert not container.is_to_end(False, 60, 599.0, notes)
    assert container.is_to_end(False, 60, 600.0, notes)


def test_notes_that_were_cut_off_begin_the_time_anew(notes: Path) -> None:
    container.is_to_end(True, 60, 0.0, notes)
    (notes / "not-well-since").write_text("")
    assert not container.is_to_end(False, 60, 100.0, notes)
    assert container.is_to_end(False, 60, 160.0, notes)


def test_beyond_a_container_nothing_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(container, "_MARKS", (tmp_path / "none",))
    with pytest.raises(BadInput, match="this is none"):
        container.check_is_container()
