"""The file for node_exporter: whole at any time, and with the last numbers at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import BadInput
from streams.metrics.instruments import Instruments
from streams.metrics.textfile import writing_metrics
from tests.scrapes import Scrape
from tests.waiting import wait_until


def test_the_file_is_there_at_once_renewed_and_has_the_last_numbers(tmp_path: Path) -> None:
    count, path = 1, tmp_path / "run.prom"
    instruments = Instruments("runner")
    instruments.expose("tribrain_spool_records", lambda: count)
    with writing_metrics(instruments, path, every_s=0.05):
        assert Scrape(path.read_text())["tribrain_spool_records"] == 1
        count = 2
        wait_until(lambda: Scrape(path.read_text())["tribrain_spool_records"] == 2)
    count = 3
    with writing_metrics(instruments, path, every_s=600.0):
        count = 4
    assert Scrape(path.read_text())["tribrain_spool_records"] == 4
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_node_exporter_does_not_read_is_bad_input(tmp_path: Path) -> None:
    with (
        pytest.raises(BadInput, match=r"only files named \*\.prom"),
        writing_metrics(Instruments("runner"), tmp_path / "run.txt"),
    ):
        pass


def test_a_file_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with (
        pytest.raises(BadInput, match=r"cannot be written: .*; choose another --metrics-file"),
        writing_metrics(Instruments("runner"), tmp_path / "taken" / "run.prom"),
    ):
        pass


def test_a_folder_that_goes_away_ends_no_run_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "metrics"
    with writing_metrics(Instruments("runner"), folder / "run.prom", every_s=0.02):
        (folder / "run.prom").unlink()
        folder.rmdir()
        folder.write_text("")
        wait_until(lambda: caplog.records)
    assert [record.message for record in caplog.records] == [
        f"{folder / 'run.prom'}: the metrics cannot be written: {caplog.records[0].args[1]}"  # type: ignore[index]
    ]


def test_nothing_is_written_where_no_file_is_named(tmp_path: Path) -> None:
    with writing_metrics(Instruments("runner"), None):
        assert list(tmp_path.iterdir()) == []
