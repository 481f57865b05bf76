from __future__ import annotations

from pathlib import Path

import pytest

from tests.prometheus import prometheus_command


@pytest.fixture(scope="module")
def rules_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the rule engine is called; skips where there is none, before any fault is injected."""
    folder = tmp_path_factory.mktemp("rules")
    prometheus_command("promtool", folder)
    return folder
