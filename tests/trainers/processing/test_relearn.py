"""Recovery from a checkpoint, going back to one, and both computed again from the log."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pytest
import zstandard
from msgspec.structs import replace

from streams.errors import BadInput
from streams.messages.checkpoints import Recovery, decode_checkpoint, encode_checkpoint, rollback_to
from streams.messages.codec import decode_snapshot, encode, sealed
from streams.messages.contracts import Checkpoint, Message, PreferencePair, RewardSnapshot, Rollback
from streams.messages.stored import Outgoing, StoredMessage
from tests.factories import pair
from tests.states import held
from trainers.bradley_terry.estimators import Recipe
from trainers.processing.pair_processor import PairProcessor
from trainers.processing.relearn import base_of, in_order, learn_up_to, one_log, relearn


def stored(messages: Sequence[Message], start: int = 0) -> list[StoredMessage]:
    return [
        StoredMessage(
            topic="pairs", partition=0, offset=start + n, timestamp_ms=0, key=None, value=encode(message)
        )
        for n, message in enumerate(messages)
    ]


def pairs(n: int, start: int = 0) -> list[PreferencePair]:
    """Votes in several contexts, so that every part of the state changes."""
    return [
        replace(
            pair({"a.b": 0.9}, {"a.b": 0.2 + i / 200}, pair_id=f"p{i}", task_id=f"t{i}"),
            context={f"world{i % 20}": f"w{i % 7}"},
            chosen_context={"arm": f"a{i % 3}"},
        )
        for i in range(start, start + n)
    ]


LOG = stored(pairs(30))


def learner_of(messages: Sequence[StoredMessage] = (), topic_id: str = "first") -> PairProcessor:
    learner = PairProcessor(
        "default", snapshots_topic="snapshots", dead_letters_topic="dead", topic_ids={"pairs": topic_id}
    )
    feed(learner, messages)
    return learner


def feed(learner: PairProcessor, messages: Sequence[StoredMessage]) -> list[Outgoing]:
    return [letter for message in messages for letter in learner.on_message(message)]


def as_read(checkpoint: Checkpoint) -> Checkpoint:
    return decode_checkpoint(encode_checkpoint(checkpoint), "test")


def snapshot_of(messages: Sequence[StoredMessage]) -> RewardSnapshot:
    return decode_snapshot(learner_of(messages).snapshot(), "test")


def test_who_goes_on_from_a_checkpoint_learns_the_rest_to_the_bit() -> None:
    for cut in (1, 12, 29):
        again = learner_of()
        again.restore(as_read(learner_of(LOG[:cut]).checkpoint()))
        feed(again, LOG)
        whole = learner_of(LOG)
        assert again.snapshot() == whole.snapshot()
        assert encode(sealed(again.checkpoint())) == encode(sealed(whole.checkpoint()))


def test_who_recovers_publishes_nothing_that_is_published_already() -> None:
    """Compaction keeps the last message of a key, so an older one behind it would take its place."""
    again = learner_of()
    again.restore(as_read(learner_of(LOG[:12]).checkpoint()), published=20)
    for version, message in enumerate(LOG[12:25], start=13):
        feed(again, [message])
        published = again.take_snapshot()
        assert (published is not None) is (version > 20)
        if published is not None:
            assert published.value == learner_of(LOG[:version]).snapshot()


def test_a_checkpoint_is_not_changed_by_what_is_learnt_after_it() -> None:
    learner = learner_of(LOG[:12])
    taken = learner.checkpoint()
    before = encode_checkpoint(taken)
    feed(learner, LOG[12:])
    assert encode_checkpoint(taken) == before


def test_a_checkpoint_names_the_snapshot_of_its_state() -> None:
    learner = learner_of(LOG)
    assert learner.checkpoint().snapshot == decode_snapshot(learner.snapshot(), "test").checksum


def test_the_log_gives_published_snapshots_and_checkpoints_again() -> None:
    published = [snapshot_of(LOG[:n]) for n in (3, 20, 28)]
    states = [as_read(learner_of(LOG[:n]).checkpoint()) for n in (3, 25)]
    log = one_log(held(*published, *states))
    verdicts = list(relearn(LOG, in_order([*log.snapshots, *log.checkpoints()], "pairs"), "pairs", log))
    assert len(verdicts) == 5
    assert all(verdict.identical for verdict in verdicts)


def test_a_checkpoint_that_the_log_does_not_give_is_found() -> None:
    true = learner_of(LOG[:20]).checkpoint()
    forged = as_read(replace(true, state=true.state | {"labels": {"human": 21}}))
    log = one_log(held(snapshot_of(LOG), forged))
    (verdict,) = relearn(LOG, log.checkpoints(), "pairs", log)
    assert not verdict.identical


def test_an_earlier_version_is_learnt_again_from_the_log() -> None:
    log = one_log(held(snapshot_of(LOG)))
    again = learn_up_to(LOG, 17, log)
    assert again is not None
    assert encode(again) == encode(sealed(learner_of(LOG[:17]).checkpoint()))
    assert learn_up_to(LOG, 31, log) is None


OTHER = as_read(learner_of(LOG[:5]).checkpoint())


def packed(raw: bytes) -> Rollback:
    return Rollback(model="default", checkpoint=base64.b64encode(raw).decode())


@pytest.mark.parametrize(
    "rollback",
    {
        "no base64": Rollback(model="default", checkpoint="?"),
        "nothing": packed(b""),
        "cut": packed(encode_checkpoint(OTHER)[:-9]),
        "no checkpoint": packed(zstandard.compress(encode(snapshot_of(LOG[:5])))),
        "of another model": packed(encode_checkpoint(replace(OTHER, model="other"))),
        "of another version": rollback_to(replace(OTHER, state={"n": {}}), ""),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_rollback_to_what_cannot_be_continued_is_a_dead_letter_and_changes_nothing(
    rollback: tuple[str, Rollback],
) -> None:
    learner = learner_of(LOG[:12])
    before = state_of(learner)
    (message,) = stored([rollback[1]], start=12)
    (letter,) = feed(learner, [message])
    assert (letter.topic, letter.value) == ("dead", message.value)
    assert state_of(learner) == before
    feed(learner, stored(pairs(8, start=12), start=13))
    assert state_of(learner) == state_of(learner_of(LOG[:20]))


@pytest.mark.parametrize("value", [None, [1], "text", {"key": [None]}, -1], ids=repr)
@pytest.mark.parametrize("part", OTHER.state)
def test_whatever_a_rollback_holds_the_learner_is_as_before_or_goes_on(part: str, value: object) -> None:
    """A forger can seal anything, and no field of the state is worth a check of its own."""
    learner = learner_of(LOG[:12])
    before = state_of(learner)
    forged = rollback_to(replace(OTHER, state=OTHER.state | {part: value}), "")
    if feed(learner, stored([forged], start=12)):
        assert state_of(learner) == before


def leaves(state: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all numbers in it; the first and the last of a list stand for the others."""
    if isinstance(state, dict):
        for key, value in state.items():
            yield from leaves(value, (*path, key))
    elif isinstance(state, list) and state:
        for at in {0, len(state) - 1}:
            yield from leaves(state[at], (*path, at))
    elif isinstance(state, int | float):
        yield path


def with_number(path: tuple[Any, ...], number: float) -> dict[str, Any]:
    state: dict[str, Any] = orjson.loads(orjson.dumps(OTHER.state))
    place: Any = state
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = number
    return state


@pytest.mark.filterwarnings("ignore:.*divide:RuntimeWarning")
@pytest.mark.parametrize("number", [2**53, 1e308, -1e308, 1e150, 0, -1], ids=repr)
def test_from_a_state_with_any_odd_number_a_model_goes_on_to_what_can_be_read(number: float) -> None:
    for path in leaves(OTHER.state):
        learner = learner_of(LOG[:12])
        if feed(
            learner, stored([rollback_to(replace(OTHER, state=with_number(path, number)), "")], start=12)
        ):
            continue
        assert not feed(learner, stored(pairs(8, start=12), start=13)), path
        assert decode_snapshot(learner.snapshot(), "test").version == learner.version, path
        learner_of().restore(as_read(learner.checkpoint()))


def test_a_rollback_to_another_learner_s_model_is_a_dead_letter() -> None:
    other = PairProcessor(
        "default", snapshots_topic="s", dead_letters_topic="dead", recipe=Recipe(learner="river-logistic")
    )
    feed(other, LOG[:5])
    learner = learner_of(LOG[:12])
    before = state_of(learner)
    assert len(feed(learner, stored([rollback_to(as_read(other.checkpoint()), "")], start=12))) == 1
    assert state_of(learner) == before


def state_of(learner: PairProcessor) -> bytes:
    """All but how far it has read."""
    return encode_checkpoint(replace(learner.checkpoint(), snapshot="", consumed={}))


def test_a_rollback_is_obeyed_by_the_log_as_it_was_live() -> None:
    back = stored([rollback_to(learner_of(LOG[:7]).checkpoint(), "it got worse")], start=20)
    messages = [*LOG[:20], *back, *stored(pairs(5, start=40), start=21)]
    live = learner_of(messages)
    published = decode_snapshot(live.snapshot(), "test")
    assert published.labels == {"human": 12}
    log = one_log(held(published))
    (verdict,) = relearn(messages, [published], "pairs", log)
    assert verdict.identical


def go_on_with_another_topic(recovery: Recovery) -> tuple[Checkpoint, RewardSnapshot]:
    """The base, and what is published after five pairs of the new topic."""
    base = base_of(recovery, "default", None)
    learner = learner_of(topic_id="second")
    learner.restore(as_read(base), recovery.published)
    feed(learner, NEW)
    published = learner.take_snapshot()
    assert published is not None
    return base, decode_snapshot(published.value, "test")


NEW = stored(pairs(5, start=100))


@pytest.mark.parametrize("checkpoint_at", [20, 12, None])
def test_a_topic_made_again_is_learnt_on_top_of_the_newest_checkpoint(checkpoint_at: int | None) -> None:
    """Behind it is what was learnt of a topic that is gone; the versions go on all the same."""
    kept = None if checkpoint_at is None else as_read(learner_of(LOG[:checkpoint_at]).checkpoint())
    recovery = Recovery(kept, published=20)
    base, published = go_on_with_another_topic(recovery)
    assert (published.version, published.base) == (25, base.checksum)
    assert published.labels == {"human": (checkpoint_at or 0) + 5}
    (verdict,) = relearn(NEW, [published], "pairs", one_log(held(published, bases=[base])))
    assert verdict.identical


def test_what_is_from_before_a_topic_was_made_again_is_not_compared_with_it() -> None:
    recovery = Recovery(as_read(learner_of(LOG[:12]).checkpoint()), published=20)
    base, published = go_on_with_another_topic(recovery)
    log = one_log(held(snapshot_of(LOG[:20]), base, published, bases=[base]))
    assert (log.snapshots, log.earlier_log, list(log.checkpoints())) == ((published,), 1, [])


def test_a_base_that_is_not_held_any_more_is_bad_input() -> None:
    _, published = go_on_with_another_topic(Recovery(None, published=20))
    with pytest.raises(BadInput, match="which the snapshots topic does not hold"):
        one_log(held(published))


def test_the_base_of_a_base_is_itself() -> None:
    base = base_of(Recovery(as_read(learner_of(LOG[:12]).checkpoint()), 20), "default", None)
    assert base_of(Recovery(as_read(base), 20), "default", None).checksum == base.checksum
