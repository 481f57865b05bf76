"""Scoring texts with a trained adapter: the base is loaded once, adapters are exchanged in place."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streams.errors import BadInput
from trainers.lora.adapter import Adapter, Reward, read_adapter
from trainers.lora.base_model import find_base
from trainers.lora.lean_import import lean
from trainers.lora.low_rank import attach
from trainers.lora.model import Pooling, build, score
from trainers.lora.tokens import Tokens, load_tokenizer, tokenizer_sha256

Array = NDArray[np.float64]


class TextReward:
    """A base model with one adapter at a time. Safe to use from several threads.

    It scores on one thread, whatever the process is set to: on more, sums come out in another order, and a
    recorded score could not be computed again.
    """

    def __init__(self, adapter: Adapter, *, base: str | None = None, device: str = "cpu") -> None:
        """``base``: where the base model is, if not where the adapter says. Raises BadInput."""
        found = find_base(base or adapter.reward.base_model.name)
        sha256 = found.sha256()
        if sha256 != adapter.reward.base_model.sha256:
            raise BadInput(
                f"{found.folder}: is not the base model of {adapter.folder}: its weights have SHA-256 "
                f"{sha256[:12]}… rather than {adapter.reward.base_model.sha256[:12]}…; give the base that "
                "the adapter was trained on"
            )
        tokenizer = load_tokenizer(found)
        if tokenizer_sha256(tokenizer) != adapter.reward.base_model.tokenizer_sha256:
            raise BadInput(
                f"{found.folder}: its tokenizer is not that of {adapter.folder}; give the base that the "
                "adapter was trained on"
            )
        self._device, self._lock = device, threading.Lock()
        self._tokens = Tokens(tokenizer, adapter.reward.length)
        pooling: Pooling = "native" if adapter.reward.pooling == "native" else "mean"
        self._built = lean(lambda: build(found, pooling, seed=0))
        self._slots = attach(self._built, adapter.tensors, adapter.reward.scale, str(adapter.folder))
        self._built.model.to(device)
        self._reward = adapter.reward

    @property
    def reward(self) -> Reward:
        """Of the adapter that is in use."""
        return self._reward

    def swap(self, adapter: Adapter) -> None:
        """Use another adapter of the same base and shape from the next scoring on.

        Raises BadInput, with the one in use unchanged, where it does not fit.
        """
        self._check(adapter)
        with self._lock, torch.no_grad():
            for key, slot in self._slots.items():
                slot.copy_(adapter.tensors[key])
            self._reward = adapter.reward

    def rewards(self, texts: Sequence[tuple[str, str]]) -> Array:
        """``rewards_N`` of (goal, candidate), higher is better; all of one call are of one adapter.

        The same texts in one call give the same bits. Alone, a text may differ in the last ones.
        """
        encoded = self._tokens.encode(texts)
        with self._lock, _one_thread():
            return score(self._built.model, self._built, encoded, self._device)

    def prob_prefer(self, goals: Sequence[str], chosen: Sequence[str], rejected: Sequence[str]) -> Array:
        """P(chosen ≻ rejected) (n,), as σ of the difference of the rewards."""
        texts = [*zip(goals, chosen, strict=True), *zip(goals, rejected, strict=True)]
        first, second = np.split(self.rewards(texts), 2)
        return np.asarray(np.exp(-np.logaddexp(0.0, second - first)))

    def _check(self, adapter: Adapter) -> None:
        now, new = self._reward, adapter.reward
        for what, is_, was in (
            ("base model", new.base_model.sha256, now.base_model.sha256),
            ("tokenizer", new.base_model.tokenizer_sha256, now.base_model.tokenizer_sha256),
            ("pooling", new.pooling, now.pooling),
            ("length", new.length, now.length),
            ("scale", new.scale, now.scale),
            ("shape", _shapes(adapter.tensors), _shapes(self._slots)),
        ):
            if is_ != was:
                raise BadInput(
                    f"{adapter.folder}: is of another {what} than the adapter in use; start again to use it"
                )


def open_reward(folder: Path, *, base: str | None = None, device: str = "cpu") -> TextReward:
    """The scorer of a folder that ``train-lora-rm`` wrote. Raises BadInput."""
    return TextReward(read_adapter(folder), base=base, device=device)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}
