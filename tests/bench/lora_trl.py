"""TRL's RewardTrainer on the same tokens with the same recipe, to measure ours against."""

from __future__ import annotations

import logging
import tempfile
import time
from typing import Any

import datasets
import numpy as np
import torch
import trl
from numpy.typing import NDArray
from peft import LoraConfig
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback

from trainers.lora.architectures import targets_of
from trainers.lora.prepare import Prepared
from trainers.lora.tokens import Encoded

_SCORING_BATCH = 64


class _Clock(TrainerCallback):  # type: ignore[misc]
    """CPU seconds from the first step to the last, the optimiser's included."""

    cpu_seconds = 0.0

    def on_train_begin(self, *_: object, **__: object) -> None:
        self._began = time.process_time()

    def on_train_end(self, *_: object, **__: object) -> None:
        self.cpu_seconds = time.process_time() - self._began


def train_with_trl(prepared: Prepared, *, grouped: bool) -> tuple[Any, float]:
    """The trained model and the CPU seconds of the training, in fp32 on this process's threads.

    What TRL does slowly by default is off: gradient checkpointing, dropout and logging. Its tokenizer and
    its cut are left out, so that both learn the same tokens.
    """
    datasets.disable_progress_bars()
    logging.disable(logging.WARNING)
    try:
        return _trained(prepared, grouped=grouped)
    finally:
        logging.disable(logging.NOTSET)


def _trained(prepared: Prepared, *, grouped: bool) -> tuple[Any, float]:
    base, train, settings = prepared.base, prepared.encoded_train, prepared.settings
    model = AutoModelForSequenceClassification.from_pretrained(
        base.folder, num_labels=1, dtype=torch.float32, local_files_only=True
    )
    tokenizer = AutoTokenizer.from_pretrained(base.folder, local_files_only=True)
    n_layers = int(base.config["num_hidden_layers"])
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.rank * settings.scale,
        lora_dropout=0.0,
        target_modules=list(targets_of(base.model_type)),
        layers_to_transform=settings.layer_numbers(n_layers),
        layers_pattern="layer",
        modules_to_save=["classifier"],
        task_type="SEQ_CLS",
    )
    rows = {
        "chosen_ids": [list(one.ids) for one in train.chosen],
        "rejected_ids": [list(one.ids) for one in train.rejected],
    }
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = trl.RewardTrainer(
            model=model,
            processing_class=tokenizer,
            train_dataset=datasets.Dataset.from_dict(rows),
            peft_config=lora,
            callbacks=[clock],
            args=trl.RewardConfig(
                output_dir=folder,
                use_cpu=True,
                seed=settings.seed,
                bf16=False,
                fp16=False,
                gradient_checkpointing=False,
                disable_dropout=True,
                max_length=settings.length,
                per_device_train_batch_size=settings.batch,
                num_train_epochs=settings.epochs,
                learning_rate=settings.lr,
                weight_decay=settings.weight_decay,
                warmup_steps=settings.warm_up,
                max_grad_norm=settings.clip,
                lr_scheduler_type="linear",
                train_sampling_strategy="group_by_length" if grouped else "random",
                remove_unused_columns=not grouped,
                report_to=[],
                logging_strategy="no",
                save_strategy="no",
                disable_tqdm=True,
            ),
        )
        if grouped:
            # The sampler wants this column, which the trainer's own preparation does not make.
            lengths = [max(len(c), len(r)) for c, r in zip(*rows.values(), strict=True)]
            trainer.train_dataset = trainer.train_dataset.add_column("length", lengths)
        trainer.train()
    return trainer.model, clock.cpu_seconds


def rewards_of(model: Any, encoded: list[Encoded]) -> NDArray[np.float64]:
    """``rewards_N`` of TRL's model."""
    order = np.argsort([-len(one.ids) for one in encoded], kind="stable")
    found = np.zeros(len(encoded))
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), _SCORING_BATCH):
            rows = order[start : start + _SCORING_BATCH]
            ids = [torch.tensor(encoded[row].ids) for row in rows]
            padded = torch.nn.utils.rnn.pad_sequence(
                ids, batch_first=True, padding_value=model.config.pad_token_id
            )
            masks = [torch.ones_like(one) for one in ids]
            mask = torch.nn.utils.rnn.pad_sequence(masks, batch_first=True)
            found[rows] = model(input_ids=padded, attention_mask=mask).logits.squeeze(-1).numpy()
    return found
