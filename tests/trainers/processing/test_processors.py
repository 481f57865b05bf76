"""Bytes of a topic in, messages out: partitions, time-outs, dead letters, several models, new topics."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from streams.kafka.partitions import partition_of
from streams.messages.checkpoints import Recovery
from streams.messages.codec import decode_pair, decode_snapshot, encode, sealed
from streams.messages.contracts import Checkpoint, Message, PairMessage, PairsEnd, PreferencePair, Rollback
from streams.messages.stored import Outgoing, StoredMessage, number_headers
from tests.factories import event, pair, run
from tests.states import held
from trainers.online.learner import OnlineLearner
from trainers.pairs.pairing import PairingRules
from trainers.processing.pair_processor import PairProcessor, PairProcessors
from trainers.processing.relearn import one_log, relearn
from trainers.processing.trace_processor import TraceProcessor

HOME = partition_of(b"run-a", 4)
ELSEWHERE = (HOME + 1) % 4


def trace_processor(partitions: int | None = 4) -> TraceProcessor:
    processor = TraceProcessor(
        PairingRules(), trace_topic="trace", pairs_topic="pairs", dead_letters_topic="dead"
    )
    processor.partitions = partitions
    return processor


def stored(
    messages: Sequence[Message], *, topic: str = "trace", partition: int = HOME, start: int = 0
) -> list[StoredMessage]:
    return [
        StoredMessage(
            topic=topic,
            partition=partition,
            offset=start + n,
            timestamp_ms=0,
            key=None,
            value=encode(message),
        )
        for n, message in enumerate(messages)
    ]


def fed(processor: TraceProcessor, messages: Sequence[StoredMessage]) -> list[Outgoing]:
    return [outgoing for message in messages for outgoing in processor.on_message(message).outgoing]


def test_an_event_in_another_partition_than_its_runs_goes_there_and_is_not_held() -> None:
    processor = trace_processor()
    messages = run([0.1, 0.9])
    forwarded = fed(processor, stored(messages, partition=ELSEWHERE))
    assert forwarded == [Outgoing("trace", b"run-a", encode(m), partition=HOME) for m in messages]


def test_the_pairs_of_a_run_are_the_same_when_some_of_it_was_forwarded_behind_its_end() -> None:
    first, second, third, end = run([0.1, 0.9, 0.5])
    whole = fed(trace_processor(), stored([first, second, third, end]))
    late = trace_processor()
    forwarded = fed(late, stored([first, second], partition=ELSEWHERE))
    again = [
        StoredMessage(
            topic="trace", partition=HOME, offset=9 + n, timestamp_ms=0, key=b"run-a", value=m.value
        )
        for n, m in enumerate(forwarded)
    ]
    assert fed(late, [*stored([third, end]), *again]) == whole


def test_who_reads_every_partition_forwards_nothing() -> None:
    first, second, end = run([0.1, 0.9])
    processor = trace_processor(partitions=None)
    made = fed(processor, [*stored([first], partition=0), *stored([second, end], partition=1)])
    assert [m.topic for m in made] == ["pairs", "pairs"]


def test_a_late_iteration_is_a_dead_letter_that_says_why() -> None:
    processor = trace_processor()
    fed(processor, stored(run([0.1, 0.9])))
    (letter,) = fed(processor, stored([event(2, 0.5)], start=8))
    assert letter.topic == "dead"
    assert dict(letter.headers)["reason"].startswith(b"trace[%d]@8: iteration 2 of run 'run-a'" % HOME)


def test_a_silent_run_is_ended_by_an_event_on_its_topic() -> None:
    processor = trace_processor()
    fed(processor, stored([event(0, 0.1), event(1, 0.9)]))
    processor.on_tick(60.0, 60.0)
    (end,), _ = processor.on_tick(60.0, 60.0)
    assert (end.topic, end.partition) == ("trace", HOME)
    again = StoredMessage(
        topic="trace", partition=HOME, offset=2, timestamp_ms=0, key=end.key, value=end.value
    )
    closing = decode_pair(fed(processor, [again])[0].value, "test")
    assert isinstance(closing, PairsEnd)
    assert closing.n_pairs == 1


def test_messages_of_a_run_whose_beginning_never_comes_are_dead_letters_with_their_bytes() -> None:
    processor = trace_processor()
    messages = stored([event(1, 0.1), event(2, 0.9)])
    fed(processor, messages)
    processor.on_tick(60.0, 60.0)
    _, (step,) = processor.on_tick(60.0, 60.0)
    assert (step.run, step.given_up) == (("run-a", 0), True)
    assert [(m.topic, m.value) for m in step.outgoing] == [("dead", m.value) for m in messages]


def numbered(n: int, model: str = "default", start: int = 0) -> list[PreferencePair]:
    return [
        pair({"a.b": 0.9}, {"a.b": 0.2}, pair_id=f"{model}-{start + i}", task_id=f"t{start + i}", model=model)
        for i in range(n)
    ]


def test_models_learn_side_by_side_as_each_would_alone() -> None:
    rules = PairingRules(model="m", model_by="task_family")
    both = PairProcessors(rules, snapshots_topic="snapshots", dead_letters_topic="dead", topic_ids={})
    mixed = stored(
        [m for two in zip(numbered(9, "m.push"), numbered(9, "m.stack"), strict=True) for m in two]
    )
    for model in ("m.push", "m.stack"):
        both.restore(model, Recovery(None, 0))
        read = [(message, both.read(message)) for message in mixed]
        both.learn(model, [(m, decoded) for m, decoded in read if isinstance(decoded, PreferencePair)])
    for model in ("m.push", "m.stack"):
        taken = both.take_snapshot(model)
        assert taken is not None
        snapshot = decode_snapshot(taken.value, "test")
        alone = PairProcessor(model, snapshots_topic="snapshots", dead_letters_topic="dead")
        for message in mixed:
            alone.on_message(message)
        assert alone.snapshot() == encode(snapshot)
        assert snapshot.labels == {"human": 9}


def test_the_pairs_of_another_trainers_model_are_passed_over() -> None:
    processors = PairProcessors(
        PairingRules(model="m"), snapshots_topic="snapshots", dead_letters_topic="dead", topic_ids={}
    )
    assert [processors.read(m) for m in stored(numbered(1, "m.stack") + numbered(1, "other"))] == [None, None]


def processor_with(topic_id: str, checkpoint: Checkpoint | None) -> PairProcessor:
    processor = PairProcessor(
        "default", snapshots_topic="snapshots", dead_letters_topic="dead", topic_ids={"pairs": topic_id}
    )
    processor.restore(checkpoint)
    return processor


@pytest.mark.parametrize("size", [1, 3, 40])
def test_a_pair_that_the_learner_fails_on_is_a_dead_letter_and_the_model_as_if_it_had_never_come(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = stored(numbered(40), topic="pairs")
    bad = {7, 8, 31}
    expected = processor_with("first", None)
    for message in messages:
        if message.offset not in bad:
            expected.on_message(message)
    on_messages = OnlineLearner.on_messages

    def failing(self: OnlineLearner, read: Sequence[PairMessage], known_new: Sequence[bool] = ()) -> int:
        good = [m for m in read if isinstance(m, PreferencePair) and int(m.task_id[1:]) not in bad]
        changed = on_messages(self, good)  # it has got somewhere before it fails
        if len(good) < len(read):
            raise ZeroDivisionError("of the learner")
        return changed

    monkeypatch.setattr(OnlineLearner, "on_messages", failing)
    processor = processor_with("first", None)
    letters = [
        letter
        for start in range(0, 40, size)
        for letter in processor.on_messages(messages[start : start + size])
    ]
    assert [letter.value for letter in letters] == [messages[n].value for n in sorted(bad)]
    assert dict(letters[0].headers)["reason"] == b"pairs[%d]@7: ZeroDivisionError: of the learner" % HOME
    assert processor.snapshot() == expected.snapshot()


def test_an_error_that_is_no_fault_of_a_message_stops_the_learner(monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(OnlineLearner, "on_messages", full_disk)
    with pytest.raises(OSError, match="No space left"):
        processor_with("first", None).on_messages(stored(numbered(1), topic="pairs"))


def test_a_numbered_pair_is_learnt_in_its_turn_and_once() -> None:
    pairs = [
        replace(message, headers=number_headers(n, b"rules"))
        for n, message in enumerate(stored([pair_of_run(n) for n in range(4)], topic="pairs"))
    ]
    processor = processor_with("first", None)
    # The second was not sent; then all of it comes again, from the beginning.
    order = [pairs[0], pairs[2], pairs[3], *pairs, *pairs]
    processor.on_messages([replace(message, offset=offset) for offset, message in enumerate(order)])
    assert decode_snapshot(processor.snapshot(), "test").labels == {"critic": 4}


def pair_of_run(n: int) -> PreferencePair:
    return pair(
        {"a.b": 0.9}, {"a.b": 0.1 * n}, run_id="run-a", pair_id=f"{n}", label_source="critic", task_id="t"
    )


def test_a_topic_made_again_is_read_from_its_beginning_on_top_of_what_was_learnt() -> None:
    before = processor_with("first", None)
    for message in stored(numbered(20), topic="pairs"):
        before.on_message(message)
    base = sealed(before.checkpoint())
    after = processor_with("second", base)
    new = stored(numbered(5, start=20), topic="pairs")
    for message in new:
        after.on_message(message)
    published = decode_snapshot(after.snapshot(), "test")
    assert (published.version, published.labels) == (25, {"human": 25})
    assert published.base == base.checksum
    (verdict,) = relearn(new, [published], "pairs", one_log(held(published, bases=[base])))
    assert verdict.identical


def test_a_topic_that_is_still_the_same_is_read_from_the_stamp() -> None:
    messages = stored(numbered(20), topic="pairs")
    before = processor_with("first", None)
    for message in messages[:12]:
        before.on_message(message)
    after = processor_with("first", sealed(before.checkpoint()))
    for message in messages:
        after.on_message(message)
    assert decode_snapshot(after.snapshot(), "test").labels == {"human": 20}


def test_a_former_says_with_the_first_pair_by_which_rules_it_forms() -> None:
    rules = PairingRules(top_k=2, min_gap=0.1)
    former = TraceProcessor(rules, trace_topic="trace", pairs_topic="pairs", dead_letters_topic="dead")
    first, *others = fed(former, stored(run([0.1, 0.9, 0.5])))
    assert first.headers == (("nth", b"0"), ("rules", b"best_vs_rest 0.1 2"))
    assert [other.headers for other in others] == [(("nth", b"%d" % n),) for n in (1, 2)]


def deep(depth: int = 1_000) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "value",
    [
        b'{"schema":' + deep() + b"}",
        b'{"schema":"tribrain.pair/1","weight":' + deep() + b"}",
        b'{"schema":"tribrain.pair/1","chosen_critics":' + deep() + b"}",
        b'{"schema":"tribrain.rollback/1","model":"default","checkpoint":' + deep() + b"}",
        deep(),
    ],
)
def test_what_is_nested_too_deep_to_be_shown_is_a_dead_letter(value: bytes) -> None:
    message = replace(stored([pair_of_run(0)], topic="pairs")[0], value=value)
    (letter,) = processor_with("first", None).on_messages([message])
    assert letter.value == value
    processors = PairProcessors(
        PairingRules(), snapshots_topic="snapshots", dead_letters_topic="dead", topic_ids={}
    )
    assert isinstance(processors.read(message), Outgoing)
    (letter,) = trace_processor(None).on_message(message).outgoing
    assert letter.topic == "dead"


def test_rollbacks_that_lead_nowhere_are_refused_without_learning_anything_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor = processor_with("first", None)
    processor.on_messages(stored([pair_of_run(n) for n in range(5)], topic="pairs"))
    before = processor.snapshot()
    monkeypatch.setattr(PairProcessor, "_go_back", None)
    nowhere = Rollback(model="default", checkpoint="AAAA")
    letters = processor.on_messages(stored([nowhere] * 20, topic="pairs", start=5))
    assert len(letters) == 20
    assert decode_snapshot(processor.snapshot(), "test").weights == decode_snapshot(before, "test").weights
