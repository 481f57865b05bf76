"""A ``native`` adapter in TRL, where that is installed (the ``bench`` extra)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transformers
from peft import AutoPeftModelForSequenceClassification

from tests.trainers.lora.tiny import SETTINGS, job_of, tiny_base, tokenizer_of

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")


def tokenizer(*, pairs: bool) -> Any:
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "eos_token": "[SEP]", "sep_token": "[SEP]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer_of(pairs=pairs), **special)


def test_it_is_the_reward_model_of_a_policy_that_trl_trains(bert: Path, tmp_path: Path) -> None:
    job_of(bert, tmp_path / "rm", replace(SETTINGS, pooling="native"))
    reward = AutoPeftModelForSequenceClassification.from_pretrained(tmp_path / "rm", num_labels=1)
    given: list[float] = []
    reward.register_forward_hook(lambda model, args, out: given.extend(out.logits.flatten().tolist()))
    config = transformers.AutoConfig.from_pretrained(tiny_base(tmp_path / "qwen2", "qwen2"))
    trainer = trl.GRPOTrainer(
        model=transformers.AutoModelForCausalLM.from_config(config),
        reward_funcs=reward,
        args=trl.GRPOConfig(
            output_dir=str(tmp_path / "grpo"), max_steps=1, per_device_train_batch_size=4, num_generations=4,
            max_completion_length=6, use_cpu=True, bf16=False, gradient_checkpointing=False,
            logging_steps=1, report_to="none", disable_tqdm=True,
        ),
        train_dataset=datasets.Dataset.from_dict({"prompt": ["move the red cube"] * 4}),
        processing_class=tokenizer(pairs=False),
        reward_processing_classes=tokenizer(pairs=True),
    )  # fmt: skip
    trainer.train()
    (mean,) = (v for k, v in trainer.state.log_history[0].items() if k.startswith("rewards/") and "mean" in k)
    assert len(given) == 4
    assert mean == pytest.approx(sum(given) / 4)
