"""A learner's state as bytes: what is read is what was written, and what cannot be is one clear error."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import zstandard
from msgspec.structs import replace

from streams.messages import checkpoints
from streams.messages.checkpoints import (
    carried_by,
    decode_checkpoint,
    encode_checkpoint,
    rollback_to,
)
from streams.messages.codec import ContractError, NotFinite, decode_snapshot, encode, sealed
from streams.messages.contracts import Checkpoint, Rollback, snapshot_key
from tests.runner.fakes import snapshot

STATE = {"means": np.array([0.1, 1e-300, -0.0]), "open": {"run-a": [1, None]}, "version": 3}
CHECKPOINT = Checkpoint(model="m", version=3, snapshot="s", consumed={"pairs": {"0": 7}}, state=STATE)


def test_a_checkpoint_is_read_as_it_was_written_and_gives_the_same_bytes_again() -> None:
    raw = encode_checkpoint(CHECKPOINT)
    read = decode_checkpoint(raw, "test")
    assert read.state == {"means": [0.1, 1e-300, -0.0], "open": {"run-a": [1, None]}, "version": 3}
    assert encode(read) == encode(sealed(CHECKPOINT))
    assert encode_checkpoint(read) == raw


def test_a_checkpoint_that_is_not_packed_reads_alike() -> None:
    assert decode_checkpoint(encode(sealed(CHECKPOINT)), "test") == decode_checkpoint(
        encode_checkpoint(CHECKPOINT), "test"
    )


def test_a_state_is_packed_small() -> None:
    state = {"closed": [f"{n:016x}" for n in range(10_000)]}
    checkpoint = replace(CHECKPOINT, state=state)
    assert len(encode_checkpoint(checkpoint)) < len(encode(checkpoint)) / 3


def test_a_state_that_is_not_finite_is_not_written() -> None:
    with pytest.raises(NotFinite):
        encode_checkpoint(replace(CHECKPOINT, state={"mean": [float("nan"), None]}))


FRAME = encode_checkpoint(CHECKPOINT)
UNSIZED = zstandard.ZstdCompressor(write_content_size=False).compress(encode(sealed(CHECKPOINT)))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (FRAME[:-3], "is not a readable zstd frame"),
        (FRAME[:5], "is not a readable zstd frame"),
        (UNSIZED, "stated size of at most"),
        (zstandard.compress(b"{"), "not JSON"),
        (zstandard.compress(encode(snapshot())), "holds a tribrain.reward_snapshot/1"),
        (encode(replace(sealed(CHECKPOINT), version=4)), "the checksum does not match"),
        (b"", "not JSON"),
    ],
)
def test_what_is_no_checkpoint_is_refused(raw: bytes, says: str) -> None:
    with pytest.raises(ContractError, match=says) as refused:
        decode_checkpoint(raw, "snapshots[0]@7")
    assert str(refused.value).startswith("snapshots[0]@7: ")


def test_a_frame_that_would_fill_the_memory_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MAX_STATE_BYTES", 1_000)
    with pytest.raises(ContractError, match=r"1000000 bytes unpacked; .* at most 1000"):
        decode_checkpoint(zstandard.compress(b" " * 1_000_000), "test")


def test_a_rollback_carries_its_checkpoint() -> None:
    assert carried_by(rollback_to(CHECKPOINT, "why")) == decode_checkpoint(FRAME, "test")


@pytest.mark.parametrize(
    ("rollback", "says"),
    [
        (Rollback(model="m", checkpoint="not base64"), "expected a checkpoint in base64"),
        (Rollback(model="m", checkpoint="größer"), "expected a checkpoint in base64"),
        (Rollback(model="m", checkpoint=""), "not JSON"),
        (replace(rollback_to(CHECKPOINT, ""), model="other"), "cannot be rolled back to a checkpoint of"),
        (Rollback(model="m", checkpoint=base64.b64encode(FRAME[:-3]).decode()), "is not a readable zstd"),
    ],
)
def test_a_rollback_without_a_checkpoint_of_its_model_is_refused(rollback: Rollback, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        carried_by(rollback)


def test_no_two_models_or_kinds_share_a_key() -> None:
    names = ["a", "a:text", "text:a", "bt:a", "", ":"]
    keys = {snapshot_key(name, kind) for name in names for kind in ("bt", "text", "lora", "checkpoint")}
    assert len(keys) == 4 * len(names)


def test_a_snapshot_that_is_written_over_several_lines_reads_alike() -> None:
    import json

    indented = json.dumps(json.loads(encode(snapshot())), indent=2).encode()
    assert decode_snapshot(indented, "test") == snapshot()
