"""Texts as tokens: the candidate is kept, and excess tokens are cut from the beginning of the goal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from streams.errors import BadInput
from trainers.lora.base_model import BaseModel

Ints = NDArray[np.int64]

_SEPARATOR = "\n\n"
"""Separator between goal and candidate if the tokenizer has no template for two texts."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One goal with one candidate."""

    ids: tuple[int, ...]
    type_ids: tuple[int, ...]
    goal_cut: bool
    candidate_cut: bool
    """The candidate was too long by itself, so its end is missing."""
    goal_tokens: int
    """Number of tokens before the candidate's, separators included; less than the total."""

    @property
    def candidate_tokens(self) -> int:
        return len(self.ids) - self.goal_tokens

    @property
    def goal(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tokens and types before the candidate."""
        return self.ids[: self.goal_tokens], self.type_ids[: self.goal_tokens]


class Tokens:
    """Turns (goal, candidate) into at most ``length`` tokens."""

    def __init__(self, tokenizer: Tokenizer, length: int) -> None:
        """Raises BadInput if ``length`` leaves no room for a text."""
        # Some files set their own truncation and padding.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        special = tokenizer.num_special_tokens_to_add(True)
        has_template = special > tokenizer.num_special_tokens_to_add(False)
        self._separator = "" if has_template else _SEPARATOR
        between = tokenizer.encode(self._separator, add_special_tokens=False)
        self._room = length - special - len(between)
        if self._room < 2:
            raise BadInput(f"--length {length} leaves no room for a text; give 16 or more")

    def encode(self, texts: Sequence[tuple[str, str]]) -> list[Encoded]:
        """The encoded texts, in order. Raises BadInput if goal and candidate together have no token."""
        goals = self._tokenizer.encode_batch([goal for goal, _ in texts], add_special_tokens=False)
        candidates = self._tokenizer.encode_batch([text for _, text in texts], add_special_tokens=False)
        done = []
        for goal, candidate in zip(goals, candidates, strict=True):
            candidate_cut = len(candidate) > self._room
            if candidate_cut:
                candidate.truncate(self._room)
            left = self._room - len(candidate)
            goal_cut = len(goal) > left
            if goal_cut:
                goal.truncate(left, direction="left")
            if self._separator:
                between = self._tokenizer.encode(self._separator, add_special_tokens=False)
                goal = type(goal).merge([goal, between], growing_offsets=False)
            whole = self._tokenizer.post_process(goal, candidate, add_special_tokens=True)
            if not whole.ids:
                raise BadInput("a goal and its candidate are both empty; leave out what has no text")
            of_candidate = [at for at, number in enumerate(whole.sequence_ids) if number == 1]
            goal_tokens = min([*of_candidate, len(whole.ids) - 1])
            done.append(
                Encoded(tuple(whole.ids), tuple(whole.type_ids), goal_cut, candidate_cut, goal_tokens)
            )
        return done


def load_tokenizer(base: BaseModel) -> Tokenizer:
    """The base model's tokenizer. Raises BadInput."""
    file = base.folder / "tokenizer.json"
    if not file.is_file():
        return _converted(base.folder)
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the Rust library raises nothing narrower
        raise BadInput(f"{file}: cannot be read: {error}; expected a tokenizer of Transformers") from None


def tokenizer_sha256(tokenizer: Tokenizer) -> str:
    """SHA-256 (hex) of the tokenizer without truncation and padding, which its file may set."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()


def padded(encoded: Sequence[Encoded], pad_id: int) -> tuple[Ints, Ints, Ints]:
    """``input_ids_NT``, ``attention_mask_NT`` and ``type_ids_NT``, padded on the right."""
    longest = max(len(one.ids) for one in encoded)
    ids = np.full((len(encoded), longest), pad_id, dtype=np.int64)
    mask, types = np.zeros_like(ids), np.zeros_like(ids)
    for row, one in enumerate(encoded):
        ids[row, : len(one.ids)] = one.ids
        mask[row, : len(one.ids)] = 1
        types[row, : len(one.ids)] = one.type_ids
    return ids, mask, types


def _converted(folder: Path) -> Tokenizer:
    from transformers import AutoTokenizer

    try:
        found: Tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        ).backend_tokenizer
        return found
    except Exception as error:  # missing files and converters raise many kinds
        raise BadInput(
            f"{folder}: has no tokenizer.json, and none can be made ({type(error).__name__}); "
            "save the tokenizer with Transformers' save_pretrained"
        ) from None
