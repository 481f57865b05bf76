"""One round: a thousand mutated messages among real ones, from the trace topic to a model and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random

from streams.messages.checkpoints import decode_checkpoint, encode_checkpoint, rollback_to
from streams.messages.codec import ContractError, decode_pair, decode_snapshot, decode_trace, encode, sealed
from streams.messages.contracts import Checkpoint, Message
from streams.messages.stored import StoredMessage
from tests.fuzz.mutations import Mutator
from tests.fuzz.originals import trace, votes
from tests.fuzz.pipeline import PAIRS, TRACE, Learnt, form, on_topic

MUTATED = 1_000
"""Messages that are mutated in a round."""
_REAL_EVENTS = 60
_OF_TRACE, _OF_PAIRS, _ROLLBACKS = 550, 330, 20


def run_round(seed: int) -> None:
    """Raises AssertionError, or whatever a message made the code raise."""
    random = Random(seed)
    events = trace(seed % 50, _REAL_EVENTS)
    raws = [encode(event) for event in events]
    traced = on_topic(_mixed(random, raws, Mutator(random, raws), _OF_TRACE), TRACE)
    formed = form(traced)
    again = form([message for message in traced if message.offset not in formed.refused])
    assert not again.refused
    assert again.pairs == formed.pairs, "a refused event left something behind"
    for pair in formed.pairs:
        assert encode(decode_pair(pair.value, "formed")) == pair.value, "formed out of bounds"

    real = [outgoing.value for outgoing in formed.pairs] + votes(events, seed)
    mutator = Mutator(random, real)
    stored = on_topic(_mixed(random, real, mutator, _OF_PAIRS), PAIRS)
    learnt = _learn(stored)
    _check_states(mutator, learnt)
    _check_rollbacks(random, mutator, learnt, stored)
    for message in (*traced, *stored):
        _check_stable(message.value)


def _learn(stored: Sequence[StoredMessage]) -> Learnt:
    """The model of the whole topic, which is that of a topic without what was refused."""
    learnt, without, restored = Learnt.anew(), Learnt.anew(), Learnt.anew()
    middle = len(stored) // 2
    learnt.learn(stored[:middle])
    checkpoint = decode_checkpoint(encode_checkpoint(learnt.processor.checkpoint()), "checkpoint")
    learnt.learn(stored[middle:])
    without.learn([message for message in stored if message.offset not in learnt.refused])
    assert not without.refused
    assert without.model() == learnt.model(), "a refused message left something behind"
    restored = Learnt.anew(checkpoint)
    restored.learn(stored)
    assert restored.model() == learnt.model(), "a restored learner goes on otherwise"
    return learnt


def _check_states(mutator: Mutator, learnt: Learnt) -> None:
    """Snapshots and checkpoints that were mutated are refused, or can be read."""
    snapshot, checkpoint = learnt.processor.snapshot(), learnt.processor.checkpoint()
    bare = encode(sealed(checkpoint))
    for _ in range(60):
        _refused_or_read(decode_snapshot, mutator.mutate(snapshot))
    packed = encode_checkpoint(checkpoint)
    for _ in range(20):
        _refused_or_read(decode_checkpoint, mutator.of_bytes(packed))
        _refused_or_read(decode_checkpoint, mutator.mutate(bare))


def _check_rollbacks(
    random: Random, mutator: Mutator, learnt: Learnt, stored: Sequence[StoredMessage]
) -> None:
    """To states that were mutated: refused, or the model goes on from them without an end."""
    state = learnt.processor.checkpoint().state
    for _ in range(_ROLLBACKS):
        changed = Checkpoint(model="default", version=1, snapshot="", state=mutator.mutate_state(state))
        try:
            rollback = on_topic([encode(rollback_to(changed, "fuzz"))], PAIRS)
        except ContractError:
            continue
        model = Learnt.anew()
        before = model.model()
        model.learn(rollback)
        assert not model.refused or model.model() == before, "a refused rollback left something behind"
        model.learn(on_topic([b"", *(message.value for message in random.sample(stored, 5))], PAIRS)[1:])
        model.model()


def _refused_or_read(decode: Callable[[bytes, str], object], raw: bytes) -> None:
    with suppress(ContractError):
        decode(raw, "fuzz")


def _check_stable(raw: bytes) -> None:
    """What can be read can be written, and is then read as the same."""
    for decode in (decode_trace, decode_pair):
        try:
            message: Message = decode(raw, "fuzz")
        except ContractError:
            continue
        written = encode(message)
        assert encode(decode(written, "fuzz")) == written
        assert decode(written, "fuzz") == message


def _mixed(random: Random, raws: Sequence[bytes], mutator: Mutator, n_mutated: int) -> list[bytes]:
    """The real messages in their order; mutated ones among them, each near the one that it was made of."""
    per_message, values = n_mutated / len(raws), []
    due = 0.0
    for raw in raws:
        due += per_message
        while due >= 1.0:
            values.append(mutator.mutate(raw))
            due -= 1.0
        values.append(raw)
        if random.random() < 0.05:
            values.append(raw)
    return values
