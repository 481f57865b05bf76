"""Tiny base models, one trained adapter, and no network. Nothing is collected without the ``lora`` extra."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
collect_ignore_glob = [] if find_spec("peft") else ["test_*.py"]


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.trainers.lora.tiny import tiny_base

    return tiny_base(tmp_path_factory.mktemp("base") / "bert", "bert")


@pytest.fixture(scope="session")
def adapter_folder(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on that with the default recipe."""
    from tests.trainers.lora.tiny import job_of

    out = tmp_path_factory.mktemp("trained") / "lora_rm"
    job_of(bert, out)
    return out
