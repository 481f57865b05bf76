"""Which snapshot is in use: damage, other features and older ones are refused, counted and change nothing."""

from __future__ import annotations

from contextlib import suppress

import pytest
from msgspec.structs import replace

from streams.messages.codec import ContractError, encode, feature_hash, sealed
from streams.messages.contracts import RewardSnapshot
from streams.snapshots.serving import ServingSnapshot
from tests.runner.fakes import snapshot

IN_USE = snapshot(version=5)


def serving() -> ServingSnapshot[RewardSnapshot]:
    model = ServingSnapshot(RewardSnapshot, "default", critics=["eye", "ear"])
    model.offer(encode(IN_USE), "test")
    return model


def refusal(raw: bytes) -> str:
    """Why it is refused; the one in use stays."""
    model = serving()
    with pytest.raises(ContractError) as refused:
        model.offer(raw, "test")
    assert model.snapshot == IN_USE
    assert model.refused == {refused.value.reason: 1}
    return refused.value.reason


def after_offer(raw: bytes) -> tuple[RewardSnapshot | None, dict[str, int]]:
    """The snapshot in use after ``raw`` was offered, and what was refused."""
    model = serving()
    with suppress(ContractError):
        model.offer(raw, "test")
    return model.snapshot, dict(model.refused)


def test_every_flipped_bit_is_refused_or_changes_nothing() -> None:
    """The last digit of a number may be written in more than one way, and so may a space."""
    whole = snapshot({"eye.quality": 0.15965220542060132}, version=6)
    raw = encode(whole)
    outcomes = []
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        outcomes.append(after_offer(bytes(flipped)))
    refused = [(IN_USE, {reason: 1}) for reason in ("damaged", "other model")]
    assert all(outcome in refused or outcome == (whole, {}) for outcome in outcomes)
    assert outcomes.count((whole, {})) < 10


def test_a_snapshot_cut_anywhere_is_damage() -> None:
    raw = encode(snapshot(version=6))
    assert {refusal(raw[:length]) for length in range(len(raw))} == {"damaged"}


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
def test_a_number_that_is_not_finite_is_named_as_such(number: bytes) -> None:
    assert refusal(encode(snapshot(version=6)).replace(b"2.0", number)) == "not finite"


@pytest.mark.parametrize(
    "other",
    [
        snapshot({"nose.quality": 2.0}, version=6),
        sealed(replace(snapshot(version=6), feature_hash=feature_hash(["eye.other"]))),
        sealed(replace(snapshot(version=6), scales={})),
        sealed(replace(snapshot(version=6), scales={"eye.quality": 0.0})),
        sealed(replace(snapshot(version=6), weights={})),
        sealed(replace(snapshot(version=6), weights={"eye.quality": 2.0, "eye.more": 1.0})),
    ],
    ids=["other critics", "another hash", "no scale", "a scale of 0", "no weight", "a weight too many"],
)
def test_a_snapshot_for_other_features_is_refused(other: RewardSnapshot) -> None:
    assert refusal(encode(other)) == "other features"


def test_a_snapshot_that_shares_one_critic_is_taken() -> None:
    both = snapshot({"nose.quality": 2.0, "ear.quality": 1.0}, version=6)
    assert serving().offer(encode(both), "test") == both


@pytest.mark.parametrize("version", [4, 5])
def test_a_snapshot_that_is_no_newer_is_refused(version: int) -> None:
    assert refusal(encode(snapshot({"eye.quality": 9.0}, version=version))) == "not newer"


def test_a_snapshot_of_another_model_is_refused() -> None:
    assert refusal(encode(snapshot(version=6, model="another"))) == "other model"


@pytest.mark.parametrize("feature", ["eye.v1.1", "eye.AP%40IoU=0.50", "eye.quality@world=a.b"])
def test_a_name_with_points_and_marks_is_that_of_its_critic(feature: str) -> None:
    model = serving()
    model.offer(encode(snapshot({feature: 2.0}, version=6)), "test")
    assert model.snapshot is not None
    assert model.snapshot.version == 6
