"""Every architecture trains, is saved, and gives the same bits in a new process."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import orjson
import pytest
import torch
from peft import AutoPeftModelForSequenceClassification
from safetensors.torch import load_file

from streams.errors import BadInput
from tests.trainers.lora.tiny import CONFIGS, SETTINGS, good_over_bad, job_of, prepared_of, tiny_base
from trainers.lora.adapter import WEIGHTS
from trainers.lora.architectures import is_plain_attention
from trainers.lora.scorer import open_reward
from trainers.lora.settings import Pooling
from trainers.lora.tokens import Tokens, load_tokenizer, padded

TEXTS = [(one.goal_instruction, one.chosen_prompt) for one in good_over_bad(9)]
ALL: list[tuple[str, Pooling]] = [
    (name, pooling)
    for name in CONFIGS
    for pooling in get_args(Pooling)
    if pooling != "candidate" or is_plain_attention({"model_type": name})
]
each = pytest.mark.parametrize(("model_type", "pooling"), ALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("architectures")


@pytest.fixture(scope="module")
def trained(folder: Path) -> dict[tuple[str, str], Path]:
    found: dict[tuple[str, str], Path] = {}
    for model_type, pooling in ALL:
        base = folder / "base" / model_type
        if not base.exists():
            tiny_base(base, model_type)
        out = folder / f"{model_type}-{pooling}"
        job_of(base, out, replace(SETTINGS, pooling=pooling))
        found[model_type, pooling] = out
    return found


@pytest.fixture(scope="module")
def in_a_new_process(trained: dict[tuple[str, str], Path]) -> dict[str, list[float]]:
    script = (
        "import json, sys\nfrom pathlib import Path\nfrom trainers.lora.scorer import open_reward\n"
        "given = json.load(sys.stdin)\n"
        "print(json.dumps({f: open_reward(Path(f)).rewards([tuple(t) for t in given['texts']]).tolist()"
        " for f in given['folders']}))"
    )
    given = orjson.dumps({"texts": TEXTS, "folders": [str(path) for path in trained.values()]})
    done = subprocess.run([sys.executable, "-c", script], input=given, capture_output=True, check=True)
    found: dict[str, list[float]] = orjson.loads(done.stdout)
    return found


@each
def test_a_new_process_gives_the_same_rewards_to_the_bit(
    model_type: str,
    pooling: str,
    trained: dict[tuple[str, str], Path],
    in_a_new_process: dict[str, list[float]],
) -> None:
    out = trained[model_type, pooling]
    rewards = open_reward(out).rewards(TEXTS)
    assert in_a_new_process[str(out)] == rewards.tolist()
    assert len(set(rewards.tolist())) == len({candidate for _, candidate in TEXTS})


@each
def test_what_was_measured_in_training_is_what_the_saved_adapter_gives(
    model_type: str, pooling: str, trained: dict[tuple[str, str], Path]
) -> None:
    out = trained[model_type, pooling]
    held_out = prepared_of(out.parent / "base" / model_type).held_out
    p = open_reward(out).prob_prefer(
        [one.goal for one in held_out], [one.chosen for one in held_out], [one.rejected for one in held_out]
    )
    said = orjson.loads((out / "reward.json").read_bytes())["history"]["held_out"][-1]
    assert said["log_loss"] == float(np.mean(-np.log(p)))


@pytest.mark.parametrize("model_type", CONFIGS)
def test_native_pooling_loads_with_peft_alone(model_type: str, trained: dict[tuple[str, str], Path]) -> None:
    out = trained[model_type, "native"]
    model = AutoPeftModelForSequenceClassification.from_pretrained(out, num_labels=1).eval()
    pad = model.config.pad_token_id if model.config.pad_token_id is not None else 3
    model.config.pad_token_id = pad
    reward = open_reward(out)
    for text in TEXTS:
        encoded = Tokens(load_tokenizer(prepared_of(out.parent / "base" / model_type).base), 32).encode(
            [text]
        )
        ids, mask, types = (torch.from_numpy(array) for array in padded(encoded, pad))
        given = {"input_ids": ids, "attention_mask": mask}
        if model_type == "bert":
            given["token_type_ids"] = types
        with torch.inference_mode():
            assert model(**given).logits.item() == reward.rewards([text])[0]


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "deberta-v2", "modernbert"])
def test_a_bias_that_cancels_stays_where_it_was(
    model_type: str, trained: dict[tuple[str, str], Path]
) -> None:
    assert (
        load_file(trained[model_type, "native"] / WEIGHTS)["base_model.model.classifier.bias"].item() == 0.0
    )


def test_an_unknown_architecture_says_what_to_pass(folder: Path) -> None:
    base = tiny_base(folder / "base" / "electra", "electra", CONFIGS["bert"])
    with pytest.raises(
        BadInput, match=r"is a 'electra', whose linear layers are not known.*--targets q_proj"
    ):
        prepared_of(base)


def test_an_unknown_architecture_trains_with_given_targets(folder: Path) -> None:
    base = tiny_base(folder / "base" / "electra2", "electra", CONFIGS["bert"])
    out = folder / "electra"
    job_of(base, out, replace(SETTINGS, targets=("query", "value")))
    assert len(set(open_reward(out).rewards(TEXTS).tolist())) > 1


def test_a_target_that_the_model_lacks_is_bad_input(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match="no linear layer of the base model is called 'q_proj'; it has dense, key"
    ):
        job_of(bert, tmp_path / "out", replace(SETTINGS, targets=("q_proj",)))
