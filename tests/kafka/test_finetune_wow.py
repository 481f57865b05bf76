"""``tribrain finetune --train wow-wan`` on a real broker and stand-ins for WoW's programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from runner.worlds.wow.train_wan import LORA
from streams.kafka.settings import Settings
from tests.kafka.test_finetune import publish, refine, run, told
from tests.runner.worlds.test_wow_world import running_in
from tests.runner.wow_doubles.checkout import FakeWow, fake_checkout


def words(settings: Settings, wow: FakeWow, folder: Path) -> list[str]:
    return [
        *("finetune", "--bootstrap-servers", settings.bootstrap_servers, "--runs", str(folder / "runs")),
        *("--work", str(folder / "work"), "--once", "--train", "wow-wan", "--wow-repo", str(wow.repo)),
        *("--wow-python", sys.executable, "--prompts", str(folder / "bench.jsonl"), "--frames", "41"),
    ]


def test_loras_are_trained_compared_promoted_and_continued(settings: Settings, tmp_path: Path) -> None:
    wow = fake_checkout(tmp_path / "WoW")
    lines = [
        {"index": n, "image": str(wow.image), "generated_description": f"task {n}"} for n in range(1, 11)
    ]
    (tmp_path / "bench.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    refine(tmp_path / "runs", [0, 1], iters=3)
    publish(settings, tmp_path / "runs", [0])
    first = run(settings, words(settings, wow, tmp_path))
    assert first.returncode == 0, first.stderr
    publish(settings, tmp_path / "runs", [1])
    second = run(settings, words(settings, wow, tmp_path))
    assert second.returncode == 0, second.stderr

    ends = [event for event in told(settings) if event.step in ("promoted", "kept")]
    assert [event.step for event in ends] == ["promoted", "kept"]  # it makes the same videos as the first
    assert ends[1].base == ends[0].checkpoint
    assert (tmp_path / "work" / "promoted").resolve() == Path(ends[0].checkpoint)
    loras = [json.loads((Path(event.checkpoint) / LORA).read_text()) for event in ends]
    assert [lora["blocks.0.lora_B.default.weight"] for lora in loras] == [1, 2]
    weights = [call["weights"]["blocks.0.weight"] for call in wow.calls("wan-14b")]
    assert weights == [7, 8, 8, 9]  # the one before and the new one
    assert {call["num_frames"] for call in wow.calls("wan video")} == {41}
    assert not (tmp_path / "work" / "0001" / "dataset-encoded").exists()
    assert running_in(wow.repo) == []
