"""The base model: what a folder or a name has to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save

from streams.errors import BadInput
from tests.trainers.lora.tiny import SETTINGS, prepared_of, tiny_base
from trainers.lora.base_model import find_base
from trainers.lora.model import build


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_base(tmp_path / "base", "bert")


def test_a_name_that_cannot_be_fetched_says_to_give_a_folder() -> None:
    with pytest.raises(
        BadInput, match=r"'no/such-model' is not a folder, and cannot be fetched .*; give --base-model a"
    ):
        find_base("no/such-model")


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"has no config\.json; expected the folder of a pretrained model"):
        find_base(str(tmp_path))


def test_pickled_weights_are_not_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(BadInput, match=r"has no model\.safetensors; pickled weights are not read"):
        find_base(str(folder))


@pytest.mark.parametrize("content", [b"{", b"{}", b"[]"])
def test_a_damaged_configuration_is_refused(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(BadInput, match=r"config\.json: .*; expected a model's configuration"):
        find_base(str(folder))


def test_weights_that_lack_a_layer_are_refused(folder: Path) -> None:
    weights = {k: t for k, t in load_file(folder / "model.safetensors").items() if "layer.1.output" not in k}
    (folder / "model.safetensors").write_bytes(save(weights, {"format": "pt"}))
    with pytest.raises(
        BadInput, match=r"the weights lack encoder\.layer\.1\.output.*; expected those of a complete"
    ):
        build(find_base(str(folder)), "mean", seed=0)


def test_damaged_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"half")
    with pytest.raises(BadInput, match=r"cannot be loaded as a bert \(.*; expected the folder"):
        build(find_base(str(folder)), "mean", seed=0)


def test_a_damaged_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(b"{")
    with pytest.raises(BadInput, match=r"tokenizer\.json: cannot be read: .*; expected a tokenizer"):
        prepared_of(folder)


def test_more_tokens_than_the_base_can_read_are_refused(folder: Path) -> None:
    with pytest.raises(BadInput, match="--length 64: the base model reads at most 48 tokens; give less"):
        prepared_of(folder, replace(SETTINGS, length=64))
