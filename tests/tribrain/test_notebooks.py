"""Every notebook runs, and says what is stored in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from streams.kafka.reader import read_topic
from streams.kafka.settings import (
    BOOTSTRAP_SERVERS_VARIABLE,
    TOPIC_PREFIX_VARIABLE,
    Settings,
    producer_config,
)
from streams.messages.codec import encode
from tests.runner.fakes import snapshot

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"


def outputs_of(name: str) -> tuple[list[Any], list[Any]]:
    """The outputs that are stored, and those of running it now, by cell."""
    nbformat = pytest.importorskip("nbformat", reason="make lora installs it")
    nbclient = pytest.importorskip("nbclient", reason="make lora installs it")
    pytest.importorskip("ipykernel", reason="make lora installs it")
    from traitlets.config import Config

    stored, made = (nbformat.read(NOTEBOOKS / name, as_version=4) for _ in range(2))
    nbformat.validate(stored)
    by_files = Config({"KernelManager": {"transport": "ipc"}})  # rather than by open ports
    nbclient.NotebookClient(made, timeout=300, kernel_name="python3", config=by_files).execute()
    before, after = (
        [whole_outputs(cell) for cell in one.cells if cell.cell_type == "code"] for one in (stored, made)
    )
    return before, after


def whole_outputs(cell: Any) -> list[Any]:
    """A kernel sends what is printed in parts, of any length."""
    whole: list[Any] = []
    for one in cell.outputs:
        if whole and one.output_type == "stream" == whole[-1].output_type and one.name == whole[-1].name:
            whole[-1].text += one.text
        else:
            whole.append(one)
    return whole


def test_the_notebook_that_learns_from_a_table_says_what_is_stored_in_it() -> None:
    pytest.importorskip("pandas", reason="make lora installs it")
    stored, made = outputs_of("learn.ipynb")
    assert stored == made
    assert any(stored)


def test_the_notebook_that_steers_a_loop_says_what_is_stored_in_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BOOTSTRAP_SERVERS_VARIABLE, settings.bootstrap_servers)
    monkeypatch.setenv(TOPIC_PREFIX_VARIABLE, settings.topic_prefix)
    producer = KafkaProducer(**producer_config(settings))
    reward = encode(snapshot({"eye.task": 2.0, "eye.quality": 0.5}))
    producer.send(settings.snapshots_topic, reward, b"bt:default").get(timeout=10)
    producer.close()
    stored, made = outputs_of("steer.ipynb")
    assert stored == made
    assert any(stored)
    assert len(list(read_topic(settings, settings.trace_topic))) == 4


def test_no_notebook_goes_untested() -> None:
    assert {path.name for path in NOTEBOOKS.glob("*.ipynb")} == {"learn.ipynb", "steer.ipynb"}
