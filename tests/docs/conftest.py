"""Pages are read once, and those that need Kafka share a broker, each with topics of its own."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from streams.kafka.settings import TOPIC_PREFIX_VARIABLE, Settings
from streams.kafka.topics import create_topics
from tests.docs.pages import blocks_of
from tests.docs.plan import READINGS
from tests.docs.reader import Reader
from tests.docs.stand_ins import standing_in
from tests.ports import free_ports
from trainers.lora.base_model import packaged_base

_BROKER = "127.0.0.1:9092"
_STARTS_ITS_OWN = "--port 9092"
_PORTS = ("9092", "9093", "9464")
Read = Callable[[str], Path]


@pytest.fixture(scope="session")
def read(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Read:
    """Reads a page, and before it the one that it goes on from; gives the folder in which that was done."""
    folders: dict[str, Path] = {}

    def page(name: str) -> Path:
        if name not in folders:
            folder = tmp_path_factory.mktemp(name.replace("/", "-"))
            before = READINGS[name].after
            if before is not None:
                shutil.copytree(page(before), folder, symlinks=True, dirs_exist_ok=True)
            _read(name, folder, request)
            folders[name] = folder
        return folders[name]

    return page


def _read(name: str, folder: Path, request: pytest.FixtureRequest) -> None:
    reading, blocks = READINGS[name], blocks_of(name)
    code = "".join(block.code for block in blocks)
    topic_prefix = f"docs-{uuid.uuid4().hex[:8]}"
    with ExitStack() as stack:
        typed = {"distilbert-base-uncased": _base_model()}
        for need in reading.needs:
            typed |= stack.enter_context(standing_in(need, folder, topic_prefix, request))
        if _BROKER in code and _STARTS_ITS_OWN not in code:
            typed[_BROKER] = request.getfixturevalue("kafka")
            create_topics(Settings(bootstrap_servers=typed[_BROKER], topic_prefix=topic_prefix))
        typed |= dict(zip(_PORTS, map(str, free_ports(len(_PORTS))), strict=True))
        reader = Reader(folder, {TOPIC_PREFIX_VARIABLE: topic_prefix}, typed)
        stack.callback(reader.stop)
        said = "".join(
            reader.read(block) for block in blocks if block.title or block.language in ("sh", "python")
        )
    for expected in reading.says:
        assert expected in said, said


def _base_model() -> str:
    """In place of a model of the hub, which no test asks."""
    base = packaged_base()
    assert base is not None, "make lora installs it"
    return base
