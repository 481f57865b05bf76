"""A small set of human preferences for the benchmarks of learners."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.bench import learning


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One small set in which people follow the first critic; the second is often silent."""
    rng = np.random.default_rng(1)
    candidates, pairs = [], []
    for task in range(40):
        good = rng.uniform(0, 10, 4)
        for number, score in enumerate(good):
            critics = {"first": score, "second": None if number == 3 else float(rng.uniform())}
            candidates.append({"task_id": f"t{task}", "candidate_id": str(number), "critic_scores": critics})
        for a in range(4):
            for b in range(a):
                best, other = (a, b) if good[a] + rng.normal(0, 2) > good[b] else (b, a)
                named = {
                    "task_id": f"t{task}",
                    "domain": f"d{task % 2}",
                    "chosen": str(best),
                    "rejected": str(other),
                }
                pairs.append(named | {"tie": a == 3 and b == 0})
    for kind, rows in (("candidates", candidates), ("pairs", pairs)):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"small.dev.{kind}.jsonl").write_text(lines)
    monkeypatch.setattr(learning, "SETS", ("small",))
    monkeypatch.setattr(learning, "SPLITS", 1)
    monkeypatch.setattr(learning, "_ORDERS", 2)
    monkeypatch.setattr(learning, "_BOOTSTRAPS", 5)
    return tmp_path
