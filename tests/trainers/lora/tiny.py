"""Random models of a few thousand weights with a tokenizer of words, and pairs that can be learnt."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from streams.messages.contracts import LabelSource, PreferencePair
from trainers.lora.architectures import ARCHITECTURES
from trainers.lora.checkpoint import TrainingCheckpoint
from trainers.lora.job import train
from trainers.lora.prepare import Prepared, prepare
from trainers.lora.processes import join_processes
from trainers.lora.settings import LoraSettings
from trainers.lora.training import TrainingStep

WORDS = ("move", "the", "red", "cube", "to", "bowl", "slowly", "good", "bad", "now", "please", "a")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
SETTINGS = LoraSettings(rank=2, length=32, batch=8, held_out=0.25, evaluations=2, checkpoint_every=1)

_ENCODER = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 48, "pad_token_id": 0,
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": _ENCODER,
    "distilbert": {
        "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 48,
    },
    "roberta": _ENCODER,
    "deberta-v2": _ENCODER | {
        "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0,
    },
    "modernbert": _ENCODER | {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
    "qwen2": _ENCODER | {"num_key_value_heads": 1, "pad_token_id": None, "eos_token_id": 3},
    "llama": _ENCODER | {"num_key_value_heads": 1, "pad_token_id": None, "eos_token_id": 3},
}  # fmt: skip


def tiny_base(
    folder: Path,
    model_type: str,
    config: dict[str, Any] | None = None,
    vocabulary: int = len(SPECIAL) + len(WORDS),
) -> Path:
    """A folder as ``save_pretrained`` leaves it; decoders have no template for two texts."""
    tokenizer = tokenizer_of(pairs=model_type not in ("qwen2", "llama"))
    made = transformers.AutoConfig.for_model(
        model_type,
        vocab_size=vocabulary,
        **(CONFIGS[model_type] if config is None else config),
    )
    torch.manual_seed(1)
    model = transformers.AutoModel.from_config(made)
    with torch.no_grad():
        for parameter in model.parameters():
            # Transformers begins with so little that all texts would be alike.
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    assert model_type not in ARCHITECTURES or (folder / "model.safetensors").is_file()
    return folder


def tokenizer_of(*, pairs: bool = True) -> Tokenizer:
    vocabulary = {word: at for at, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if pairs:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
    return tokenizer


def good_over_bad(n: int, *, source: LabelSource = "human", per_task: int = 2) -> list[PreferencePair]:
    """Pairs whose chosen text says "good" where the rejected one says "bad"."""
    rng = random.Random(5)
    pairs = []
    for at in range(n):
        first, last = ([rng.choice(WORDS[:7]) for _ in range(rng.randint(1, 6))] for _ in range(2))
        chosen, rejected = (" ".join([*first, word, *last]) for word in ("good", "bad"))
        pairs.append(pair(f"task-{at // per_task}", chosen, rejected, source=source))
    return pairs


def pair(
    task: str,
    chosen: str,
    rejected: str,
    *,
    goal: str = "move the red cube",
    source: LabelSource = "human",
    weight: float = 1.0,
) -> PreferencePair:
    return PreferencePair(
        task_id=task,
        label_source=source,
        goal_instruction=goal,
        chosen_prompt=chosen,
        rejected_prompt=rejected,
        chosen_critics={},
        rejected_critics={},
        weight=weight,
    )


def job_of(
    base: Path,
    out: Path,
    settings: LoraSettings = SETTINGS,
    pairs: list[PreferencePair] | None = None,
    on_step: Callable[[TrainingStep], None] = lambda step: None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train on this process and write ``out``; gives what its ``reward.json`` says."""
    prepared = prepared_of(base, settings, pairs)
    accelerator = join_processes(device, (), out)
    checkpoint = TrainingCheckpoint(out)
    checkpoint.check(prepared.plan(1, device), resume=True)
    return train(prepared, "default", checkpoint, accelerator, on_step, lambda reward: b"a picture")


def prepared_of(
    base: Path, settings: LoraSettings = SETTINGS, pairs: list[PreferencePair] | None = None
) -> Prepared:
    return prepare(good_over_bad(64) if pairs is None else pairs, str(base), settings)
