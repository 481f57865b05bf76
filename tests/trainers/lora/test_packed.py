"""Texts in one row, by quick operations: equal, but for rounding, to texts of their own and to PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trainers.lora.kernels as kernels
from streams.errors import BadInput
from tests.trainers.lora.by_definition import candidate_mean
from tests.trainers.lora.tiny import CONFIGS, good_over_bad, prepared_of, tiny_base
from trainers.lora.architectures import targets_of
from trainers.lora.low_rank import with_peft
from trainers.lora.model import Built, build, padded_rewards
from trainers.lora.packed import goals_once
from trainers.lora.scoring import packs, rewards, score
from trainers.lora.settings import LoraSettings, Pooling
from trainers.lora.tokens import Encoded

PACKED = ("bert", "distilbert", "roberta", "qwen2", "llama")
Gradients = dict[str, Tensor]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("base")
    return {name: tiny_base(folder / name, name) for name in CONFIGS}


def made(base: Path, pooling: Pooling) -> tuple[Any, Built, list[Encoded]]:
    """A model whose adapters do something, and texts of different lengths, two or three to a goal."""
    prepared = prepared_of(base, pairs=good_over_bad(8))
    built = build(prepared.base, pooling, seed=0)
    model = with_peft(built, rank=2, alpha=4, targets=targets_of(prepared.base.model_type), layers=[1])
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.2)
    whole = [*prepared.encoded_train.chosen, *prepared.encoded_train.rejected]
    return model, built, [shortened(one, at % 5, at // 3 % 3) for at, one in enumerate(whole)]


def shortened(one: Encoded, less: int, goal: int) -> Encoded:
    """With fewer tokens at the end of the candidate and at the beginning of the goal."""
    end = max(len(one.ids) - less, one.goal_tokens + 1)
    return Encoded(one.ids[goal:end], one.type_ids[goal:end], False, False, one.goal_tokens - goal)


def gradients(model: Any, rewards_N: Tensor) -> Gradients:
    found = {name: p for name, p in model.named_parameters() if p.requires_grad}
    weights_N = torch.linspace(-1.0, 2.0, len(rewards_N))
    given = torch.autograd.grad((rewards_N * weights_N).sum(), list(found.values()))
    return dict(zip(found, given, strict=True))


def assert_like(model: Any, first: Tensor, of_first: Gradients, second: Tensor) -> None:
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
    for name, expected in gradients(model, second).items():
        torch.testing.assert_close(of_first[name], expected, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("model_type", PACKED)
def test_candidates_that_share_a_goal_get_what_each_gets_by_the_definition(
    model_type: str, bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, built, encoded = made(bases[model_type], "candidate")
    assert 1 < len({one.goal for one in encoded}) < len(encoded) / 2
    fast = rewards(model, built, encoded)
    found = gradients(model, fast)
    monkeypatch.setattr("trainers.lora.low_rank.is_plain", lambda x: False)
    mean_reward = model.get_base_model()
    means = [candidate_mean(mean_reward, one, takes_type_ids=built.takes_type_ids) for one in encoded]
    assert_like(model, fast, found, mean_reward.score(torch.stack(means)).squeeze(-1))


@pytest.mark.parametrize("model_type", CONFIGS)
def test_the_mean_over_all_tokens_is_that_of_padded_texts_and_of_peft(
    model_type: str, bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, built, encoded = made(bases[model_type], "mean")
    assert packs(built, "cpu") == (model_type in PACKED)
    fast = rewards(model, built, encoded)
    found = gradients(model, fast)
    monkeypatch.setattr("trainers.lora.low_rank.is_plain", lambda x: False)
    assert_like(model, fast, found, padded_rewards(model, built, encoded))


@pytest.mark.parametrize("model_type", PACKED)
@pytest.mark.parametrize("pooling", ["candidate", "mean"])
def test_a_text_does_not_see_its_neighbours(
    model_type: str, pooling: Pooling, bases: dict[str, Path]
) -> None:
    model, built, encoded = made(bases[model_type], pooling)
    alone = torch.cat([rewards(model, built, [one]) for one in encoded])
    torch.testing.assert_close(rewards(model, built, encoded), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model_type", PACKED)
@pytest.mark.parametrize("pooling", ["candidate", "mean"])
def test_without_the_quick_attention_pytorchs_own_does(
    model_type: str, pooling: Pooling, bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, built, encoded = made(bases[model_type], pooling)
    fast = rewards(model, built, encoded)
    found = gradients(model, fast)
    monkeypatch.setattr(kernels, "_FORWARD", None)
    assert_like(model, fast, found, rewards(model, built, encoded))


def test_looks_are_merged_up_to_so_many_tokens_and_none_sees_more(monkeypatch: pytest.MonkeyPatch) -> None:
    row = goals_once([text((5, 6), (7,)), text((8,), (9,)), text((5, 6), (7, 7))], causal=False)
    (whole,) = kernels.merged(row.looks, "cpu")
    assert (whole.queries, whole.keys) == (slice(0, 7), slice(0, 7))
    assert whole.mask_QK is not None
    rows = ["".join("x" if sees else "." for sees in seen) for seen in whole.mask_QK.tolist()]
    assert rows == ["xx.....", "xx.....", "xxx....", "xx.xx..", "xx.xx..", ".....x.", ".....xx"]
    monkeypatch.setattr(kernels, "_BLOCK", 5)
    assert [one.keys for one in kernels.merged(row.looks, "cpu")] == [slice(0, 5), slice(5, 7)]


def test_the_quick_attention_is_there() -> None:
    assert kernels._FORWARD is not None


def text(goal: tuple[int, ...], candidate: tuple[int, ...]) -> Encoded:
    types = (0,) * len(goal) + (1,) * len(candidate)
    return Encoded(goal + candidate, types, False, False, len(goal))


def test_a_goal_stands_once_before_its_candidates_and_each_keeps_its_positions() -> None:
    row = goals_once([text((5, 6), (7,)), text((8,), (9,)), text((5, 6), (7, 7))], causal=False)
    assert row.ids == [5, 6, 7, 7, 7, 8, 9]
    assert row.positions == [0, 1, 2, 2, 3, 0, 1]
    assert row.type_ids == [0, 0, 1, 1, 1, 0, 1]
    assert row.averaged == [(None, 2), (0, 1), (2, 2), (None, 1), (1, 1)]
    assert row.groups == [(2, 3), (1, 1)]


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "roberta"])
def test_the_last_layer_makes_nothing_of_the_goals_tokens(model_type: str, bases: dict[str, Path]) -> None:
    model, built, encoded = made(bases[model_type], "candidate")
    seen: list[int] = []
    for name, module in model.named_modules():
        if name.endswith((f".{built.layers_name}.0", f".{built.layers_name}.1")):
            module.register_forward_hook(lambda m, given, out: seen.append(given[0].shape[1]))
    rewards(model, built, encoded)
    assert seen == [len(goals_once(encoded, causal=False).ids), sum(one.candidate_tokens for one in encoded)]


def test_a_goal_with_very_many_candidates_is_read_again() -> None:
    row = goals_once([text((5,), (7,) * 300) for _ in range(7)], causal=False)
    assert row.ids.count(5) == 3
    assert max(look.keys.stop - look.keys.start for look in row.looks) <= 1024


def test_many_batches_give_what_one_text_gives_in_the_order_given(bases: dict[str, Path]) -> None:
    model, built, encoded = made(bases["bert"], "candidate")
    many = encoded * 20
    assert sum(one.candidate_tokens for one in many) > 2 * 1536 / 3
    found = score(model, built, many)
    alone = [score(model, built, [one])[0] for one in encoded]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(alone * 20), rtol=1e-4, atol=1e-5)


def test_windows_and_an_attention_of_its_own_kind_see_everything(bases: dict[str, Path]) -> None:
    assert {name: prepared_of(base).settings.pooling for name, base in bases.items()} == {
        name: "candidate" if name in PACKED else "mean" for name in CONFIGS
    }
    windows = {"model_type": "qwen2", "layer_types": ["full_attention", "sliding_attention"]}
    assert LoraSettings().for_base(windows).pooling == "mean"
    with pytest.raises(BadInput, match=r"--pooling candidate: a 'modernbert' .* give mean or native"):
        prepared_of(bases["modernbert"], LoraSettings(pooling="candidate"))


def test_a_head_of_the_architecture_is_padded(bases: dict[str, Path]) -> None:
    model, built, encoded = made(bases["bert"], "native")
    assert not packs(built, "cpu")
    assert torch.isfinite(rewards(model, built, encoded)).all()
