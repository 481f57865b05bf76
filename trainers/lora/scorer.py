"""Scores texts with a trained adapter: the base is loaded once, and adapters are swapped in place."""

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
from trainers.lora.adapter import LORA, Adapter, RewardFile, read_adapter
from trainers.lora.base_model import find_base
from trainers.lora.lean_import import lean
from trainers.lora.low_rank import attach
from trainers.lora.model import build
from trainers.lora.scoring import score, score_with_features
from trainers.lora.tokens import Tokens, load_tokenizer, tokenizer_sha256
from trainers.lora.uncertainty import covariance, deviation_of_log_loss

Array = NDArray[np.float64]


class AdapterScorer:
    """A base model with one adapter at a time. Thread-safe.

    It scores on one thread, whatever the process's setting: with more, sums are added in another order, and a
    recorded score could not be reproduced.
    """

    def __init__(self, adapter: Adapter, *, base: str | None = None, device: str = "cpu") -> None:
        """``base``: the base model's path, if the adapter's own is not to be used. Raises BadInput."""
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
        self._built = lean(lambda: build(found, adapter.reward.pooling, seed=0))
        self._slots = attach(self._built, adapter.tensors, adapter.reward.scale, str(adapter.folder))
        self._built.model.to(device)
        self._adapter = adapter

    @property
    def reward(self) -> RewardFile:
        """Description of the adapter in use."""
        return self._adapter.reward

    def swap(self, adapter: Adapter) -> None:
        """Use another adapter of the same base and shape from the next scoring on.

        If it does not fit, raises BadInput and keeps the one in use.
        """
        self.check(adapter)
        with self._lock:
            self._put(adapter)

    def rewards(self, texts: Sequence[tuple[str, str]]) -> Array:
        """``rewards_N`` of (goal, candidate), higher is better; one call uses one adapter.

        The same texts in one call give the same bits. Alone, a text's last bits may differ.
        """
        encoded = self._tokens.encode(texts)
        with self._lock, _one_thread():
            return score(self._built.model, self._built, encoded, self._device)

    def rewards_of(self, adapter: Adapter, goal: str, candidates: Sequence[str]) -> tuple[Array, Array]:
        """Means (N,) and covariance (N, N) of the candidates' rewards by an adapter that passed ``check``.

        In nats. The covariance is that of the differences from the bare goal's reward. Swaps the adapter
        first if another one is in use.
        """
        encoded = self._tokens.encode([(goal, text) for text in (goal, *candidates)])
        with self._lock, _one_thread():
            if adapter is not self._adapter:
                self._put(adapter)
            if adapter.variances_H is None:
                means_N = score(self._built.model, self._built, encoded, self._device)[1:]
                of_lora = adapter.reward.metrics.models.get(LORA)
                known = deviation_of_log_loss(of_lora.log_loss if of_lora else None)
                return means_N, known**2 * np.eye(len(means_N))
            means_N, features_NH = score_with_features(self._built.model, self._built, encoded, self._device)
        return means_N[1:], covariance(features_NH[1:], features_NH[0], adapter.variances_H)

    def prob_prefer(self, goals: Sequence[str], chosen: Sequence[str], rejected: Sequence[str]) -> Array:
        """P(chosen ≻ rejected) (n,), as σ of the difference of the rewards."""
        texts = [*zip(goals, chosen, strict=True), *zip(goals, rejected, strict=True)]
        first, second = np.split(self.rewards(texts), 2)
        return np.asarray(np.exp(-np.logaddexp(0.0, second - first)))

    def check(self, adapter: Adapter) -> None:
        """Raises BadInput if its base or shape differs from that of the adapter in use."""
        now, new = self.reward, adapter.reward
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
                    f"{adapter.folder}: has another {what} than the adapter in use; start again to use it"
                )
        variances_H = adapter.variances_H
        if variances_H is not None and variances_H.shape != (self._built.model.config.hidden_size,):
            raise BadInput(f"{adapter.folder}: its variances have another shape; train the model again")

    def _put(self, adapter: Adapter) -> None:
        """Call with the lock held."""
        with torch.no_grad():
            for key, slot in self._slots.items():
                slot.copy_(adapter.tensors[key])
        self._adapter = adapter


def open_reward(folder: Path, *, base: str | None = None, device: str = "cpu") -> AdapterScorer:
    """The scorer of a folder that ``train-lora-rm`` wrote. Raises BadInput."""
    return AdapterScorer(read_adapter(folder), base=base, device=device)


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
