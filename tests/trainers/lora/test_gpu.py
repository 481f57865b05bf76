"""On a GPU, where there is one: the same rewards but for rounding, and trainings that learn and go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from tests.trainers.lora.tiny import SETTINGS, good_over_bad, job_of, tiny_base
from trainers.lora.adapter import WEIGHTS, read_adapter
from trainers.lora.scorer import AdapterScorer
from trainers.lora.settings import Pooling, Precision
from trainers.lora.training import TrainingStep

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that PyTorch can use")
PAIRS = good_over_bad(160)
TEXTS = [("reach for it", one.chosen_prompt) for one in PAIRS[:7]] + [("push", PAIRS[0].rejected_prompt)]
BETTER = replace(SETTINGS, rank=4, lr=0.02, epochs=6)


@pytest.fixture(autouse=True)
def a_process_that_has_chosen_no_device() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize(
    ("model_type", "pooling"),
    [
        ("bert", "candidate"),
        ("distilbert", "candidate"),
        ("qwen2", "candidate"),
        ("modernbert", "mean"),
        ("bert", "mean"),
        ("bert", "native"),
    ],
)
def test_a_gpu_gives_a_processors_rewards_but_for_rounding(
    model_type: str, pooling: Pooling, tmp_path: Path
) -> None:
    base = tiny_base(tmp_path / "base", model_type)
    job_of(base, tmp_path / "out", replace(SETTINGS, pooling=pooling))
    adapter = read_adapter(tmp_path / "out")
    on_gpu, on_cpu = (AdapterScorer(adapter, device=device).rewards(TEXTS) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-3, atol=1e-4)
    assert len(set(on_gpu)) > 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_what_can_be_learnt_is_learnt_on_a_gpu_and_used_without_one(
    model_type: str, precision: Precision, tmp_path: Path
) -> None:
    base = tiny_base(tmp_path / "base", model_type)
    reward = job_of(base, tmp_path / "out", replace(BETTER, precision=precision), PAIRS, device="cuda")
    assert reward["training"]["device"] == "cuda"
    assert reward["metrics"]["models"]["LoRA"]["accuracy"] == 1.0
    goals, good, bad = zip(
        *((one.goal_instruction, one.chosen_prompt, one.rejected_prompt) for one in PAIRS), strict=True
    )
    p = AdapterScorer(read_adapter(tmp_path / "out")).prob_prefer(goals, good, bad)
    assert np.mean(p > 0.5) > 0.95


def test_a_training_on_a_gpu_that_was_ended_goes_on_where_it_was(bert: Path, tmp_path: Path) -> None:
    whole = job_of(bert, tmp_path / "whole", device="cuda")

    def end(step: TrainingStep) -> None:
        if step.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job_of(bert, tmp_path / "ended", on_step=end, device="cuda")
    steps: list[TrainingStep] = []
    reward = job_of(bert, tmp_path / "ended", on_step=steps.append, device="cuda")
    assert steps[0].step == 5
    assert reward["training"]["steps"] == whole["training"]["steps"]
    first, second = (load_file(tmp_path / name / WEIGHTS) for name in ("whole", "ended"))
    for key, tensor in first.items():
        torch.testing.assert_close(second[key], tensor, rtol=1e-3, atol=1e-4)
