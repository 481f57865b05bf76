"""Training: the loss, what it moves, and that the same seed gives the same bytes, whatever kills it."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from safetensors.torch import load_file

from streams.errors import BadInput
from tests.interrupts import interrupts_heard
from tests.trainers.lora.tiny import SETTINGS, good_over_bad, job_of, pair, prepared_of
from trainers.lora.adapter import WEIGHTS
from trainers.lora.checkpoint import TrainingCheckpoint
from trainers.lora.low_rank import with_peft
from trainers.lora.model import build, pairwise_loss
from trainers.lora.scoring import rewards
from trainers.lora.settings import LoraSettings
from trainers.lora.tokens import Encoded
from trainers.lora.training import EncodedPairs, TrainingStep

TARGETS = ("dense", "key", "query", "value")
BETTER = replace(SETTINGS, rank=4, lr=0.02, epochs=6)
KILLED = """
import json, os, signal, sys, traceback
from pathlib import Path
import peft, transformers.models.bert.modeling_bert
from tests.trainers.lora.tiny import SETTINGS, job_of
import trainers.lora.checkpoint as checkpoint

base, out = Path(sys.argv[1]), Path(sys.argv[2])
die = lambda: os.kill(os.getpid(), signal.SIGKILL)

def train(when, at):
    real_write, writes = checkpoint.write_atomically, []

    def write(path, content):
        if when == "write" and path.name == "state.safetensors":
            writes.append(path)
            if len(writes) == at:
                path.with_name(".state.safetensors.tmp").write_bytes(content[: len(content) // 2])
                die()
        if when == "publish" and path.name == "adapter_config.json":
            die()
        real_write(path, content)

    def on_step(step):
        if when == "step" and step.step == at:
            die()

    checkpoint.write_atomically = write
    job_of(base, out, SETTINGS, on_step=on_step)

for when, at in (("step", 1), ("write", 2), ("publish", 0)):
    pid = os.fork()
    if pid == 0:
        try:
            train(when, at)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), out.exists()]), flush=True)
"""
"""Forks, as PyTorch is imported once then."""


def test_the_loss_is_the_weighted_sum_of_the_pairs_losses() -> None:
    rewards_2B = torch.tensor([1.0, 0.5, 0.0, 2.0], requires_grad=True)
    weights_B = torch.tensor([1.0, 0.25])
    loss = pairwise_loss(rewards_2B, weights_B)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1.0)) + 0.25 * math.log1p(math.exp(1.5)))
    loss.backward()
    gradients = [1 / (1 + math.exp(1.0)), 0.25 / (1 + math.exp(-1.5))]
    assert rewards_2B.grad is not None
    assert rewards_2B.grad.tolist() == pytest.approx([-gradients[0], -gradients[1], *gradients])


def test_the_learning_rate_rises_in_a_line_and_falls_in_a_line_to_nothing() -> None:
    settings = LoraSettings(lr=1.0, warm_up=0.1)
    rates = [settings.learning_rate(step, 100) for step in range(100)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert max(rates) == rates[9] == 1.0
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.02


def test_what_can_be_learnt_is_learnt(bert: Path, tmp_path: Path) -> None:
    reward = job_of(bert, tmp_path / "out", BETTER, good_over_bad(160))
    assert reward["metrics"]["models"]["LoRA"]["accuracy"] == 1.0
    assert reward["history"]["loss"][-1][1] < 0.5 * reward["history"]["loss"][0][1]


def test_a_batch_in_parts_moves_the_weights_as_a_whole_one(
    bert: Path, adapter_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.lora.batches.PART_TOKENS", 1)
    job_of(bert, tmp_path / "parts")
    whole, parts = (load_file(folder / WEIGHTS) for folder in (adapter_folder, tmp_path / "parts"))
    assert all(torch.allclose(whole[key], parts[key], atol=1e-5) for key in whole)


def test_a_shared_goal_costs_once_and_padding_costs() -> None:
    long, short, other = (
        Encoded(ids, (0,) * len(ids), False, False, 2) for ids in ((5, 6, 7, 8), (5, 6, 7), (5, 9, 7))
    )
    pairs = EncodedPairs([long, long], [short, other], np.ones(2))
    assert pairs.tokens("candidate") == [5, 7]
    assert pairs.tokens("mean") == pairs.tokens("native") == [8, 8]


def test_a_pair_without_weight_teaches_nothing(bert: Path, tmp_path: Path) -> None:
    pairs = good_over_bad(160)
    wrong = [pair(one.task_id, one.rejected_prompt, one.chosen_prompt, weight=0.0) for one in pairs]
    loss = job_of(bert, tmp_path / "out", BETTER, [*pairs, *wrong])["history"]["loss"]
    # With a weight, they would undo what the others teach.
    assert loss[-1][1] < 0.5 * loss[0][1]


def test_frozen_layers_run_without_gradient_and_there_is_no_dropout(bert: Path) -> None:
    prepared = prepared_of(bert)
    built = build(prepared.base, "mean", seed=0)
    model = with_peft(built, rank=2, alpha=4, targets=TARGETS, layers=[1])
    seen = {}
    for name, module in model.named_modules():
        if name.endswith(("layer.0", "layer.1")):
            module.register_forward_hook(lambda m, i, out, name=name: seen.update({name[-7:]: out}))
    rewards(model, built, prepared.encoded_train.chosen[:2])
    grads = {name: (out[0] if isinstance(out, tuple) else out).requires_grad for name, out in seen.items()}
    assert grads == {"layer.0": False, "layer.1": True}
    assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}
    trainable = {
        name.split(".default")[0].split(".")[-1] for name, p in model.named_parameters() if p.requires_grad
    }
    assert trainable == {"lora_A", "lora_B", "modules_to_save"}


@pytest.mark.parametrize(
    ("layers", "numbers"), [("top-half", [3, 4, 5]), ("all", [0, 1, 2, 3, 4, 5]), ("1", [5])]
)
def test_layers_are_counted_from_the_top(layers: str, numbers: list[int]) -> None:
    assert LoraSettings(layers=layers).layer_numbers(6) == numbers


@pytest.mark.parametrize("layers", ["0", "7", "few"])
def test_layers_that_are_not_there_are_bad_input(layers: str) -> None:
    with pytest.raises(BadInput, match=f"--layers {layers}: expected top-half, all, or a number from 1 to 6"):
        LoraSettings(layers=layers).layer_numbers(6)


def test_weights_that_do_not_move_are_an_error(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"trainable weights have not moved.*give a larger --lr"):
        job_of(bert, tmp_path / "out", replace(SETTINGS, lr=1e-30))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("chosen", "rejected"), [("good  now", "good now"), ("now " * 40, "now " * 41)])
def test_texts_that_the_model_reads_alike_are_named_and_not_the_learning_rate(
    bert: Path, chosen: str, rejected: str
) -> None:
    """Other spaces, and another word behind the 32 tokens that are read."""
    alike = [pair(f"task-{at}", chosen, rejected) for at in range(8)]
    with pytest.raises(BadInput, match=r"each of 6 pairs has two texts with the same tokens.*32 tokens"):
        prepared_of(bert, SETTINGS, alike)
    assert prepared_of(bert, SETTINGS, [*alike, *good_over_bad(64)]).train


def test_a_training_that_diverges_says_so(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no longer finite at step \d+; give a smaller --lr than 1e\+30"):
        job_of(bert, tmp_path / "out", replace(SETTINGS, lr=1e30))


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(
    bert: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    job_of(bert, tmp_path / "again")
    job_of(bert, tmp_path / "other", replace(SETTINGS, seed=1))
    for name in (WEIGHTS, "adapter_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (adapter_folder / name).read_bytes()
    assert (tmp_path / "other" / WEIGHTS).read_bytes() != (adapter_folder / WEIGHTS).read_bytes()


def test_a_training_that_is_killed_again_and_again_gives_the_same_bytes(
    bert: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(bert), str(out)], capture_output=True, text=True, check=True
    )
    killed = [-signal.SIGKILL.value, False]
    assert [orjson.loads(line) for line in done.stdout.splitlines()] == [killed] * 3, done.stderr
    job_of(bert, out)
    assert (out / WEIGHTS).read_bytes() == (adapter_folder / WEIGHTS).read_bytes()
    assert not TrainingCheckpoint(out).path.exists()


@pytest.mark.parametrize("patience", [None, 1])
def test_a_training_goes_on_from_every_step(bert: Path, tmp_path: Path, patience: int | None) -> None:
    settings = replace(SETTINGS, epochs=2, evaluations=4, patience=patience)
    whole: list[int] = []
    job_of(bert, tmp_path / "whole", settings, on_step=lambda step: whole.append(step.step))
    steps: list[int] = []

    class Ended(Exception):
        pass

    def end(step: TrainingStep) -> None:
        steps.append(step.step)
        raise Ended

    out = tmp_path / "out"
    for _ in whole:
        with pytest.raises(Ended):
            job_of(bert, out, settings, on_step=end)
    job_of(bert, out, settings, on_step=end)
    assert steps == whole
    assert (out / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


def test_nothing_is_pickled(bert: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: set[str] = set()

    def look(step: TrainingStep) -> None:
        seen.update(path.suffix for path in TrainingCheckpoint(out).path.iterdir())

    job_of(bert, out, on_step=look)
    assert seen == {".json", ".safetensors"}
    assert {path.suffix for path in out.iterdir()} == {".json", ".safetensors", ".md", ".png"}


def test_early_stopping_keeps_the_best_and_says_that_it_flatters(bert: Path, tmp_path: Path) -> None:
    # Held out, the labels are the other way round, so that every step is a step too far.
    pairs = good_over_bad(64)
    kept_apart = {one.task for one in prepared_of(bert, pairs=pairs).held_out}
    turned = [
        pair(one.task_id, one.rejected_prompt, one.chosen_prompt) if one.task_id in kept_apart else one
        for one in pairs
    ]
    settings = replace(BETTER, patience=2, evaluations=36)
    reward = job_of(bert, tmp_path / "out", settings, turned)
    training, history = reward["training"], reward["history"]["held_out"]
    best = min(history, key=lambda one: one["log_loss"])
    assert training["steps"] < training["steps_planned"]
    assert training["best_step"] == best["step"]
    assert reward["metrics"]["models"]["LoRA"]["log_loss"] == pytest.approx(best["log_loss"])
    assert "LoRA's figures are slightly optimistic" in (tmp_path / "out" / "README.md").read_text()


def test_bf16_is_recorded_and_weights_stay_fp32(bert: Path, tmp_path: Path) -> None:
    reward = job_of(bert, tmp_path / "out", replace(SETTINGS, precision="bf16"))
    assert reward["training"]["precision"] == "bf16"
    assert {t.dtype for t in load_file(tmp_path / "out" / WEIGHTS).values()} == {torch.float32}


def test_what_is_needed_to_repeat_it_is_written_down(bert: Path, adapter_folder: Path) -> None:
    reward = orjson.loads((adapter_folder / "reward.json").read_bytes())
    prepared = prepared_of(bert)
    assert reward["base_model"]["sha256"] == prepared.base.sha256()
    assert reward["pairs"]["sha256"] == prepared.plan(1, "cpu")["pairs' SHA-256"]
    assert (reward["training"]["seed"], reward["training"]["threads"]) == (0, 1)
    assert set(reward["versions"]) >= {"torch", "transformers", "peft", "tribrain"}
    assert reward["adapter"]["bytes"] == (adapter_folder / WEIGHTS).stat().st_size


def test_a_checkpoint_of_another_plan_is_refused(bert: Path, tmp_path: Path) -> None:
    def end(step: TrainingStep) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job_of(bert, tmp_path / "out", on_step=end)
    with pytest.raises(
        BadInput, match=r"holds a training with seed 0 rather than 1, .*; give the same options"
    ):
        job_of(bert, tmp_path / "out", replace(SETTINGS, seed=1))


def test_a_damaged_checkpoint_is_refused(bert: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with interrupts_heard(), pytest.raises(KeyboardInterrupt):
        job_of(bert, out, on_step=lambda step: signal.raise_signal(signal.SIGINT))
    (TrainingCheckpoint(out).path / "state.safetensors").write_bytes(b"half")
    with pytest.raises(BadInput, match=r"state\.safetensors: is damaged; delete .* to start over"):
        job_of(bert, out)
