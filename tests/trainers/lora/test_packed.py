"""A training step without padding and without PEFT's detours: equal but for rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trainers.lora.kernels as kernels
from tests.trainers.lora.tiny import CONFIGS, good_over_bad, prepared_of, tiny_base
from trainers.lora.architectures import targets_of
from trainers.lora.low_rank import with_peft
from trainers.lora.model import Built, MeanReward, Pooling, build, rewards
from trainers.lora.packed import packs, step_rewards
from trainers.lora.tokens import Encoded

PACKED = {"bert", "distilbert", "roberta", "qwen2", "llama"}


@pytest.fixture(scope="module", params=CONFIGS)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / request.param
    return tiny_base(folder, request.param, CONFIGS[request.param])


def made(base: Path, pooling: Pooling = "mean") -> tuple[Any, Built, list[Encoded]]:
    """A model whose adapters do something, and texts of different lengths."""
    prepared = prepared_of(base, pairs=good_over_bad(8))
    built = build(prepared.base, pooling, seed=0)
    targets = targets_of(prepared.base.model_type)
    model = with_peft(built, rank=2, alpha=4, targets=targets, layers=[1])
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.2)
    encoded = [*prepared.encoded_train.chosen, *prepared.encoded_train.rejected]
    cut = [
        Encoded(e.ids[: 3 + at % 5], e.type_ids[: 3 + at % 5], False, False) for at, e in enumerate(encoded)
    ]
    return model, built, cut


def slopes(model: Any, rewards_N: Tensor) -> dict[str, Tensor]:
    found = {name: p for name, p in model.named_parameters() if p.requires_grad}
    weights_N = torch.linspace(-1.0, 2.0, len(rewards_N))
    given = torch.autograd.grad((rewards_N * weights_N).sum(), list(found.values()))
    return dict(zip(found, given, strict=True))


def test_rewards_and_slopes_are_those_of_padded_texts_and_of_peft(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, built, encoded = made(base)
    assert packs(model.get_base_model()) == (model.get_base_model().config.model_type in PACKED)
    fast = step_rewards(model, built, encoded)
    found = slopes(model, fast)
    monkeypatch.setattr("trainers.lora.low_rank.is_plain", lambda x: False)
    plain = rewards(model, built, encoded)
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)
    for name, expected in slopes(model, plain).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-3, atol=1e-4, msg=name)


def test_a_text_does_not_see_its_neighbours(base: Path) -> None:
    model, built, encoded = made(base)
    alone = torch.cat([step_rewards(model, built, [one]) for one in encoded])
    torch.testing.assert_close(step_rewards(model, built, encoded), alone, rtol=1e-4, atol=1e-5)


def test_without_the_quick_operations_pytorchs_own_do(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, built, encoded = made(base)
    fast = step_rewards(model, built, encoded)
    found = slopes(model, fast)
    monkeypatch.setattr(kernels, "_LINEAR", None)
    monkeypatch.setattr(kernels, "_FORWARD", None)
    slow = step_rewards(model, built, encoded)
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)
    for name, expected in slopes(model, slow).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-3, atol=1e-4, msg=name)


def test_the_quick_operations_are_there() -> None:
    assert kernels._LINEAR is not None
    assert kernels._FORWARD is not None


def test_a_head_of_the_architecture_and_windows_are_not_packed(base: Path) -> None:
    model, built, encoded = made(base, "native")
    assert not packs(model.get_base_model())
    assert torch.isfinite(step_rewards(model, built, encoded)).all()
    wrapped = made(base)[0].get_base_model()
    assert isinstance(wrapped, MeanReward)
    wrapped.config.layer_types = ["sliding_attention"]
    assert not packs(wrapped)
