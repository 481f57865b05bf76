"""What must be true after every fault: each pair is on Kafka and was learnt once, and the bytes are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kafka import TopicPartition
from kafka.admin import OffsetSpec

from streams.kafka.settings import Settings
from streams.kafka.topics import connect_admin
from streams.messages.codec import encode
from streams.messages.contracts import PairsEnd, PreferencePair, RewardSnapshot, RunEnd, TraceEvent
from tests.kafka.test_trainer import expected_pairs, pairs_on_kafka, relearnt, wait_until_learnt
from trainers.pairs.former import PairFormer
from trainers.pairs.pairing import PairingRules
from trainers.processing.verify import StateReport
from tribrain.log.verify_state import state_of

_ADMIN_S = 10.0


@dataclass(frozen=True)
class Recovery:
    """What is on Kafka once everything that these runs gave has been learnt."""

    state: StateReport
    """What ``tribrain log verify`` says."""
    runs: Sequence[Sequence[TraceEvent | RunEnd]]
    on_kafka: list[PreferencePair | PairsEnd]
    last: RewardSnapshot


def recovery(settings: Settings, runs: Sequence[Sequence[TraceEvent | RunEnd]]) -> Recovery:
    """Wait until a running worker has learnt it all; AssertionError where it never does."""
    last = wait_until_learnt(settings, len(runs))
    (state,) = state_of(settings, PairingRules())
    return Recovery(state, runs, pairs_on_kafka(settings), last)


def check(after: Recovery) -> None:
    """The pairs, and the model to its bytes, are those of an uninterrupted run over the same events."""
    assert after.state.settled, after.state
    assert after.state.open_runs == 0
    assert after.state.identical
    distinct = without_repetitions(after.on_kafka)
    pairs = [message for message in distinct if isinstance(message, PreferencePair)]
    assert expected_pairs(after.runs) <= {pair.pair_id for pair in pairs}
    assert {encode(message) for message in distinct} == uninterrupted(after.runs)
    assert sum(after.last.labels.values()) == len(pairs)
    assert encode(relearnt(distinct).snapshot(after.last.consumed, after.last.topic_ids)) == encode(
        after.last
    )


def uninterrupted(runs: Sequence[Sequence[TraceEvent | RunEnd]]) -> set[bytes]:
    """What a pair former that nothing disturbs makes of the runs."""
    former = PairFormer(PairingRules())
    return {encode(made) for messages in runs for one in messages for made in former.on_event(one).messages}


def without_repetitions(
    messages: Sequence[PreferencePair | PairsEnd],
) -> list[PreferencePair | PairsEnd]:
    """What an uninterrupted worker would have written: each message where it first came."""
    return list({encode(message): message for message in messages}.values())


def lag(settings: Settings) -> int:
    """Messages on the trace and pairs topics that the workers have not acknowledged."""
    partitions = [TopicPartition(settings.pairs_topic, 0)]
    partitions += [
        TopicPartition(settings.trace_topic, number) for number in range(settings.trace_partitions)
    ]
    group = f"{settings.topic_prefix}-trainer-default"
    with connect_admin(settings, _ADMIN_S) as admin:
        committed = admin.list_group_offsets({group: partitions})[group]
        ends = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
    return sum(ends[each].offset - max(0, committed[each].offset) for each in partitions)
