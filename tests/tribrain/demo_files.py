"""A small demo's folder, with real videos of two frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from msgspec.structs import replace

from runner.video import write_video
from streams.messages.codec import encode
from streams.messages.contracts import RunEnd, TraceEvent
from tests import factories
from trainers.online.train import train_on_pairs

HOSTILE_GOAL = '<script>alert("1")</script> & <img src=x onerror=alert(1)>'
RUN_IDS = ["run-a", "run-b", "run-c"]


def write_run(
    folder: Path, run_id: str, scores: Sequence[float], confidences: Sequence[float], goal: str
) -> dict[str, Any]:
    """A run's folder with a video and a truth per iteration; returns its part of the summary."""
    events = []
    for i, (score, confidence) in enumerate(zip(scores, confidences, strict=True)):
        best = int(np.argmax(scores[: i + 1]))
        event = factories.event(i, score, run_id=run_id)
        events.append(
            replace(event, meta=event.meta | {"preference_confidence": confidence, "best_iter": best})
        )
        iteration = folder / "runs" / run_id / f"iter_{i:02d}"
        iteration.mkdir(parents=True)
        frames = np.full((2, 16, 16, 3), 20 * i + RUN_IDS.index(run_id), dtype=np.uint8)
        write_video(iteration / "video.mp4", frames, fps=8)
        (iteration / "truth.json").write_bytes(orjson.dumps({"true_quality": 0.25 + i / 100, "failures": {}}))
    trace = folder / "runs" / run_id / "trace.jsonl"
    end = RunEnd(run_id=run_id, iterations=tuple(range(len(events))), stop_reason="max_iters")
    trace.write_bytes(b"".join(encode(event) + b"\n" for event in events) + encode(end) + b"\n")
    return {
        "run_id": run_id,
        "goal": goal,
        "iterations": len(scores),
        "versions": [[0, None], [2, 12]],
        "best_score": max(scores),
        "best_iter": int(np.argmax(scores)),
        "steered_iterations": sum(c > 0 for c in confidences),
        "stop_reason": "max_iters",
    }


def write_summary(folder: Path, runs: Sequence[dict[str, Any]], **changes: Any) -> None:
    summary = {
        "events": 9,
        "pairs": 7,
        "pairs_by_label_source": {"critic": 4, "outcome": 3},
        "snapshots": 2,
        "first_snapshot_s": 1.5,
        "wall_s": 65.0,
        "gate": "active",
        "gate_opened_at_pair": 5,
        "runs": list(runs),
        "weights": {"goal.task": 0.5, "flicker.quality": -0.1},
        "log_loss": 0.5,
        "log_loss_critics_mean": 0.6,
        "broker": "Kafka on loopback",
        "statement": "Made of 4 critic, 3 outcome labels: it steers.",
        "seed": 0,
        "tasks": 3,
        "parallel": 2,
        "iters": 3,
        "preference_weight": 0.25,
        "trainer_restarts": 0,
        "interrupted": False,
    }
    (folder / "summary.json").write_bytes(orjson.dumps(summary | changes))


def write_demo(folder: Path) -> None:
    runs = [
        write_run(folder, "run-a", [0.3, 0.5, 0.4], [0, 0, 0], "move the red cube"),
        write_run(folder, "run-b", [0.4, 0.3, 0.6], [0, 0, 1], HOSTILE_GOAL),
        write_run(folder, "run-c", [0.2, 0.7, 0.6], [0, 1, 1], "move the blue ball"),
    ]
    write_summary(folder, runs)
    pairs = [factories.pair({"goal.task": 0.9}, {"goal.task": 0.1})]
    (folder / "bt_reward.json").write_bytes(encode(train_on_pairs(pairs)))
    history = [
        {
            "gate": "shadow",
            "log_loss": None,
            "log_loss_critics_mean": None,
            "trusted_pairs": 0,
            "evidence": 1.0,
        },
        {
            "gate": "active",
            "log_loss": 0.5,
            "log_loss_critics_mean": 0.6,
            "trusted_pairs": 3,
            "evidence": 30.0,
        },
    ]
    (folder / "history.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in history))


def write_trace(folder: Path, event: TraceEvent) -> None:
    event = replace(event, meta=event.meta | {"best_iter": event.iter_idx})
    (folder / "runs" / event.run_id / "trace.jsonl").write_bytes(encode(event) + b"\n")
