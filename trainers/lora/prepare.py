"""Preparation of a training: the pairs that count, their two parts, and their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from streams.errors import BadInput, counted
from streams.messages.contracts import PreferencePair
from trainers.lora.architectures import targets_of
from trainers.lora.base_model import BaseModel, find_base
from trainers.lora.settings import LoraSettings, Pooling
from trainers.lora.texts import Selected, TextChecks, TextPair, check, pairs_sha256, select, split_by_task
from trainers.lora.tokens import Encoded, Tokens, load_tokenizer, tokenizer_sha256
from trainers.lora.training import EncodedPairs

PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers", "tribrain")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is known before training."""

    base: BaseModel
    base_sha256: str
    tokenizer_sha256: str
    settings: LoraSettings
    selected: Selected
    train: Sequence[TextPair]
    held_out: Sequence[TextPair]
    checks: TextChecks
    encoded_train: EncodedPairs
    encoded_held_out: EncodedPairs

    @property
    def pooling(self) -> Pooling:
        """The base model's pooling. Raises RuntimeError if ``LoraSettings.for_base`` has not chosen it."""
        if self.settings.pooling == "auto":
            raise RuntimeError("the pooling was not chosen")
        return self.settings.pooling

    @property
    def cut_goals(self) -> int:
        """Pairs whose goal was cut at the beginning."""
        return self._any(lambda one: one.goal_cut)

    @property
    def cut_candidates(self) -> int:
        """Pairs with a candidate that is too long by itself, so its end was cut."""
        return self._any(lambda one: one.candidate_cut)

    def _any(self, is_so: Callable[[Encoded], bool]) -> int:
        parts = (self.encoded_train, self.encoded_held_out)
        return sum(is_so(c) or is_so(r) for p in parts for c, r in zip(p.chosen, p.rejected, strict=True))

    def notes(self) -> list[str]:
        """Lines to print before training: what is used, and what could make the figures optimistic."""
        s, c, length = self.selected, self.checks, self.settings.length
        n_tasks = len({pair.task for pair in self.held_out})
        return [
            f"pairs to learn from: {len(self.train)}; kept apart: {len(self.held_out)}, "
            f"other tasks: {n_tasks}",
            s.why_sources + (f"; pairs of others left out: {s.n_others}" if s.n_others else ""),
            f"dropped: pairs with an empty text: {s.n_empty}, pairs with two equal texts: {s.n_equal}, "
            f"ties: {s.n_ties}",
            f"pairs cut at the beginning of the goal to fit {length} tokens: {self.cut_goals}; with a "
            f"candidate that alone is longer and lost its end: {self.cut_candidates}",
            f"texts that come twice or more, always on the same side: {c.one_sided_texts} (training pairs: "
            f"{c.one_sided_pairs})",
            f"texts in both parts: {c.shared_texts} (held-out pairs: {c.shared_held_out_pairs})",
        ]

    def plan(self, processes: int, device: str) -> dict[str, Any]:
        """Everything that determines the adapter's bytes; a training resumes only with the same values."""
        versions = {f"{name} version": version(name) for name in PACKAGES[:4]}
        return {
            **asdict(self.settings),
            "base model's SHA-256": self.base_sha256,
            "tokenizer's SHA-256": self.tokenizer_sha256,
            "pairs' SHA-256": pairs_sha256(self.train, self.held_out),
            "processes": processes,
            "device": device,
            **versions,
        }


def prepare(
    pairs: Sequence[PreferencePair], base: str, settings: LoraSettings, sources: Sequence[str] = ()
) -> Prepared:
    """Choose, split, check and encode. Raises BadInput."""
    selected = select(pairs, sources)
    train, held_out = split_by_task(selected.pairs, settings.held_out, settings.seed)
    return prepare_parts(selected, train, held_out, base, settings)


def prepare_parts(
    selected: Selected,
    train: Sequence[TextPair],
    held_out: Sequence[TextPair],
    base: str,
    settings: LoraSettings,
) -> Prepared:
    """Like ``prepare``, but with known parts. Raises BadInput."""
    found = checked_base(base, settings)
    settings = settings.for_base(found.config)
    tokenizer = load_tokenizer(found)
    tokens = Tokens(tokenizer, settings.length)
    encoded_train = _encoded(train, tokens)
    _check_differences(encoded_train, settings.length)
    return Prepared(
        base=found,
        base_sha256=found.sha256(),
        tokenizer_sha256=tokenizer_sha256(tokenizer),
        settings=settings,
        selected=selected,
        train=train,
        held_out=held_out,
        checks=check(train, held_out),
        encoded_train=encoded_train,
        encoded_held_out=_encoded(held_out, tokens),
    )


def checked_base(name: str, settings: LoraSettings) -> BaseModel:
    """The base model, if it can be adapted this way and reads that many tokens. Raises BadInput."""
    found = find_base(name)
    targets_of(found.model_type, settings.targets)
    settings.for_base(found.config)
    _check_length(found, settings.length)
    return found


def _encoded(pairs: Sequence[TextPair], tokens: Tokens) -> EncodedPairs:
    return EncodedPairs(
        tokens.encode([(pair.goal, pair.chosen) for pair in pairs]),
        tokens.encode([(pair.goal, pair.rejected) for pair in pairs]),
        np.array([pair.weight for pair in pairs]),
    )


def _check_differences(train: EncodedPairs, length: int) -> None:
    """Raises BadInput if the model would read both texts of every pair alike, and so learn nothing."""
    sides = zip(train.chosen, train.rejected, train.weights, strict=True)
    if not any(chosen.ids != rejected.ids and weight > 0 for chosen, rejected, weight in sides):
        raise BadInput(
            f"nothing to learn from: found {counted(len(train.chosen), 'pair')}, each of two texts with the "
            "same tokens; they differ only in what the tokenizer leaves out (spaces, case) or behind "
            f"{counted(length, 'token')}: expected other texts, or another base model or --length"
        )


def _check_length(base: BaseModel, length: int) -> None:
    most = base.config.get("max_position_embeddings")
    if isinstance(most, int):
        # RoBERTa's positions start after that of the padding.
        most -= int(base.config.get("pad_token_id") or 0) + 1 if base.model_type == "roberta" else 0
        if length > most:
            raise BadInput(f"--length {length}: the base model reads at most {most} tokens; give less")
