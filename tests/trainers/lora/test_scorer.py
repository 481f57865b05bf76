"""A trained adapter: what is refused, and what changes when another one is put in its place."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save
from transformers.utils import import_utils

from streams.errors import BadInput
from tests.trainers.lora.tiny import SETTINGS, good_over_bad, job_of, prepared_of, tiny_base
from trainers.lora.adapter import REWARD, WEIGHTS, read_adapter
from trainers.lora.lean_import import lean
from trainers.lora.low_rank import adapter_tensors
from trainers.lora.model import build
from trainers.lora.scorer import AdapterScorer, open_reward
from trainers.lora.scoring import score
from trainers.lora.tokens import Tokens, load_tokenizer

TEXTS = [(one.goal_instruction, one.chosen_prompt) for one in good_over_bad(12)]


@pytest.fixture(scope="module")
def other_folder(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained from another seed, and so with other rewards."""
    out = tmp_path_factory.mktemp("other") / "lora_rm"
    job_of(bert, out, replace(SETTINGS, seed=1))
    return out


@pytest.fixture
def copy(adapter_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapter_folder, tmp_path / "copy"))


def edit(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    reward = orjson.loads((folder / REWARD).read_bytes())
    change(reward)
    (folder / REWARD).write_bytes(orjson.dumps(reward))


def test_peft_reads_the_adapter_and_gives_the_same_but_for_rounding(bert: Path, adapter_folder: Path) -> None:
    base = prepared_of(bert).base
    built = build(base, "candidate", seed=7)
    model = PeftModel.from_pretrained(built.model, adapter_folder).eval()
    encoded = Tokens(load_tokenizer(base), 32).encode(TEXTS)
    expected = score(model, built, encoded)
    np.testing.assert_allclose(open_reward(adapter_folder).rewards(TEXTS), expected, rtol=1e-5)
    assert adapter_tensors(model).keys() == load_file(adapter_folder / WEIGHTS).keys()


def test_the_probability_is_sigma_of_the_difference_and_antisymmetric(adapter_folder: Path) -> None:
    reward = open_reward(adapter_folder)
    first, second = reward.rewards([("g", "good cube"), ("g", "bad bowl")])
    p = reward.prob_prefer(["g"], ["good cube"], ["bad bowl"])[0]
    assert p == pytest.approx(1 / (1 + np.exp(second - first)))
    assert reward.prob_prefer(["g"], ["bad bowl"], ["good cube"])[0] == pytest.approx(1 - p)


def test_the_goal_counts(adapter_folder: Path) -> None:
    reward = open_reward(adapter_folder)
    assert reward.rewards([("red cube", "good")])[0] != reward.rewards([("bowl", "good")])[0]


def test_a_swap_gives_the_bits_of_the_other_adapter_and_back(
    adapter_folder: Path, other_folder: Path
) -> None:
    one, other = (open_reward(folder).rewards(TEXTS) for folder in (adapter_folder, other_folder))
    reward = open_reward(adapter_folder)
    reward.swap(read_adapter(other_folder))
    assert np.array_equal(reward.rewards(TEXTS), other)
    reward.swap(read_adapter(adapter_folder))
    assert np.array_equal(reward.rewards(TEXTS), one)
    assert not np.array_equal(one, other)


def test_no_score_is_of_two_adapters(adapter_folder: Path, other_folder: Path) -> None:
    adapters = [read_adapter(folder) for folder in (adapter_folder, other_folder)]
    reward = open_reward(adapter_folder)
    whole = {open_reward(folder).rewards(TEXTS).tobytes() for folder in (adapter_folder, other_folder)}
    seen, done = set(), threading.Event()

    def swap() -> None:
        while not done.is_set():
            for adapter in adapters:
                reward.swap(adapter)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(200):
            seen.add(reward.rewards(TEXTS).tobytes())
    finally:
        done.set()
        thread.join()
    assert seen <= whole


def test_an_adapter_of_another_rank_is_refused_and_the_one_in_use_stays(
    bert: Path, adapter_folder: Path, tmp_path: Path
) -> None:
    job_of(bert, tmp_path / "wider", replace(SETTINGS, rank=4, alpha=8))
    reward = open_reward(adapter_folder)
    before = reward.rewards(TEXTS)
    with pytest.raises(BadInput, match="has another shape than the adapter in use"):
        reward.swap(read_adapter(tmp_path / "wider"))
    assert np.array_equal(reward.rewards(TEXTS), before)


def test_another_base_model_is_refused(adapter_folder: Path, tmp_path: Path) -> None:
    other = tiny_base(tmp_path / "other", "bert")
    weights = {name: tensor + 1.0 for name, tensor in load_file(other / "model.safetensors").items()}
    (other / "model.safetensors").write_bytes(save(weights, {"format": "pt"}))
    with pytest.raises(BadInput, match=r"is not the base model of .*; give the base that the adapter was"):
        AdapterScorer(read_adapter(adapter_folder), base=str(other))


def test_a_file_that_was_cut_short_is_refused(copy: Path) -> None:
    content = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(content[:-1])
    with pytest.raises(
        BadInput, match=rf"has {len(content) - 1} bytes, and reward\.json says {len(content)}"
    ):
        read_adapter(copy)


def test_a_file_with_one_other_bit_is_refused(copy: Path) -> None:
    content = bytearray((copy / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (copy / WEIGHTS).write_bytes(content)
    with pytest.raises(BadInput, match=r"the SHA-256 is not the one in reward\.json"):
        read_adapter(copy)


def test_a_reward_of_a_later_version_is_refused(copy: Path) -> None:
    edit(copy, lambda reward: reward.update(schema="tribrain.text_reward/2"))
    with pytest.raises(BadInput, match=r"schema is 'tribrain\.text_reward/2'; this version reads"):
        read_adapter(copy)


@pytest.mark.parametrize("content", [b"{", b"{}", b"[]", b"\xff"])
def test_a_damaged_reward_is_refused(copy: Path, content: bytes) -> None:
    (copy / REWARD).write_bytes(content)
    with pytest.raises(BadInput, match=r"reward\.json: the file is damaged: .*; train the model again"):
        read_adapter(copy)


def test_an_adapter_without_its_head_is_refused(copy: Path) -> None:
    tensors = {key: t for key, t in load_file(copy / WEIGHTS).items() if "score" not in key}
    adapter = replace(read_adapter(copy), tensors=tensors)
    with pytest.raises(BadInput, match="lacks the head 'score'; train it again"):
        AdapterScorer(adapter)


def test_an_adapter_with_tensors_of_another_shape_is_refused(copy: Path) -> None:
    tensors = {key: torch.cat([t, t], dim=1) for key, t in load_file(copy / WEIGHTS).items()}
    with pytest.raises(BadInput, match="is for another base model, as"):
        AdapterScorer(replace(read_adapter(copy), tensors=tensors))


def test_scoring_loads_nothing_that_it_does_not_need(adapter_folder: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom trainers.lora.scorer import open_reward\n"
        "open_reward(Path(sys.argv[1])).rewards([('goal', 'good')])\nprint(*sys.modules)\n"
        "import torch._dynamo\ntorch._dynamo.optimize"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(adapter_folder)], capture_output=True, text=True, check=True
    )
    assert {"torch", "transformers"} <= set(done.stdout.split())
    unneeded = {"peft", "accelerate", "sklearn", "scipy", "sympy", "torch._dynamo", "matplotlib"}
    assert unneeded.isdisjoint(done.stdout.split())


def test_a_transformers_that_needs_what_is_left_out_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "transformers.modeling_utils")
    calls = []

    def load() -> bool:
        calls.append(import_utils.is_sklearn_available())
        if not calls[-1]:
            raise NameError("roc_curve")
        return True

    assert lean(load)
    assert calls == [False, True]
