"""Rewards of texts as runs use them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from runner.rewards.text_feeds import NAME, RewardOfTexts, TextFileFeed
from streams.errors import BadInput
from streams.messages.codec import encode, sealed
from streams.messages.contracts import TextSnapshot
from tests.runner.fakes import snapshot
from tests.trainers.text.factories import polite_pairs
from trainers.text.train import train_on_texts


@pytest.fixture(scope="module")
def polite() -> TextSnapshot:
    """People prefer the texts that say please."""
    return train_on_texts(polite_pairs(80))


def test_a_file_is_a_reward_that_its_user_gave(polite: TextSnapshot, tmp_path: Path) -> None:
    path = tmp_path / "text_reward.json"
    path.write_bytes(encode(polite))
    feed = TextFileFeed(path)
    reward = feed.latest()
    assert (feed.name, reward.version, reward.gate) == (NAME, polite.version, polite.gate)
    (kind, curt), _ = reward.rewards("g", ("please move it", "move it now"))
    assert kind > curt


def test_prompts_that_differ_by_little_are_unsure_together(polite: TextSnapshot) -> None:
    _, covariance = RewardOfTexts(polite).rewards("g", ("stack the cups, please", "stack the cups, now"))
    of_the_difference = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert of_the_difference < covariance[0, 0] + covariance[1, 1]
    assert np.array_equal(covariance, covariance.T)


def test_a_file_of_another_kind_of_reward_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "bt_reward.json"
    path.write_bytes(encode(snapshot()))
    with pytest.raises(
        BadInput, match="is not a reward of texts; expected a file that tribrain reward train-text wrote"
    ):
        TextFileFeed(path)


def test_a_reward_whose_texts_were_counted_in_another_way_is_refused(polite: TextSnapshot) -> None:
    other = sealed(replace(polite, scheme={**polite.scheme, "buckets": 7}))
    with pytest.raises(BadInput, match=r"scheme\.buckets is 7"):
        RewardOfTexts(other)
