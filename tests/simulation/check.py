"""What must be true when a cluster has come to rest, whatever happened before."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from streams.messages.codec import decode_pair, decode_snapshot, encode
from streams.messages.contracts import (
    PairMessage,
    PreferencePair,
    Rollback,
    RunEnd,
    RunRevision,
    TraceEvent,
    snapshot_key,
)
from streams.messages.stored import StoredMessage
from tests.simulation.cluster import Cluster
from tests.simulation.kafka import DEAD, PAIRS, SNAPSHOTS, SimKafka
from tests.simulation.votes import VotesOnTopic, check_votes
from trainers.online.learner import OnlineLearner
from trainers.pairs.former import PairFormer
from trainers.pairs.pairing import PairingRules
from trainers.pairs.withdrawn import is_withdrawal


def check(cluster: Cluster) -> None:
    """Nothing is lost, nothing is learnt twice, and models have the bytes of those that nothing disturbed."""
    kafka = cluster.kafka
    whole, given_up = undisturbed(cluster.published, cluster.rules)
    accepted, undone, missing = to_be_learnt(kafka.log.get((PAIRS, 0), []), whole)
    assert not missing, f"lost of the pairs topic: {missing}"
    letters = {message.value for message in kafka.all_of(DEAD)}
    assert set(cluster.bad) <= letters, "a bad message is no dead letter"
    assert {encode(message) for message in given_up} <= letters, (
        "a run without its beginning is no dead letter"
    )
    check_votes(kafka, cluster.rules)
    of_model: dict[str, list[PairMessage]] = {}
    for message in accepted:
        of_model.setdefault(message.model, []).append(message)
    for model, messages in of_model.items():
        if cluster.rules.learns(model):
            _check_model(kafka, model, messages, undone)
        else:
            assert kafka.newest(snapshot_key(model).encode()) is None, f"{model} is another trainer's"


def _check_model(
    kafka: SimKafka, model: str, accepted: Sequence[PairMessage], undone: Container[str]
) -> None:
    reference = OnlineLearner(model)
    has_learnt = reference.on_messages(accepted) > 0
    newest = kafka.newest(snapshot_key(model).encode())
    if newest is None:
        # The end of a revision without pairs, for one, teaches nothing.
        assert not has_learnt, f"nothing of {model} was published"
        return
    snapshot = decode_snapshot(newest.value, newest.source)
    if not any(isinstance(message, Rollback) for message in accepted):
        # One that is undone counts no more.
        pairs = sum(
            isinstance(m, PreferencePair) and m.pair_id not in undone and not is_withdrawal(m)
            for m in accepted
        )
        assert snapshot.n_pairs == pairs, f"pairs of {model} were doubled, or not learnt"
    assert encode(reference.snapshot(snapshot.consumed, snapshot.topic_ids)) == newest.value, model
    _check_versions_grow(kafka, model)


def undisturbed(
    published: Sequence[TraceEvent | RunEnd],
    rules: PairingRules,
) -> tuple[dict[RunRevision, list[bytes]], list[TraceEvent | RunEnd]]:
    """Run to what a former that has all of it in order makes of it; and what no former can use.

    Runs that came without their end are ended with what has come, as their silence does.
    """
    former = PairFormer(rules)
    whole: dict[RunRevision, list[bytes]] = {}
    given_up: list[TraceEvent | RunEnd] = []
    for run, messages in _by_run(published).items():
        events: dict[int, TraceEvent] = {m.iter_idx: m for m in messages if isinstance(m, TraceEvent)}
        first = min((min(m.iterations) for m in messages if isinstance(m, RunEnd)), default=0)
        if first not in events:
            given_up += messages
            continue
        values: list[bytes] = []
        whole[run] = values
        in_order: list[TraceEvent | RunEnd] = [events[i] for i in sorted(events)]
        end = RunEnd(run_id=run[0], iterations=tuple(events), meta={"revision": run[1]})
        for message in [*in_order, end]:
            values += map(encode, former.on_event(message).messages)
    return whole, given_up


def to_be_learnt(
    pairs: Sequence[StoredMessage], whole: dict[RunRevision, list[bytes]]
) -> tuple[list[PairMessage], set[str], dict[RunRevision, int]]:
    """What a learner may learn of the topic, each once; ids of pairs that it learns and undoes; and how much
    of which run never came."""
    to_come = {run: iter(values) for run, values in whole.items()}
    following = {run: next(values) for run, values in to_come.items()}
    labels: set[bytes] = set()
    votes = VotesOnTopic()
    accepted: list[PairMessage] = []
    for stored, message in _decoded(pairs):
        if isinstance(message, Rollback):
            accepted.append(message)
            continue
        if stored.vote is not None and isinstance(message, PreferencePair):
            if votes.takes(stored, message):
                accepted.append(message)
            continue
        run = message.run
        if not message.run_id and isinstance(message, PreferencePair):
            if (label := encode(message)) not in labels:
                labels.add(label)
                accepted.append(message)
        elif encode(message) == following.get(run):
            accepted.append(message)
            if (value := next(to_come[run], None)) is None:
                del following[run]
            else:
                following[run] = value
    return accepted, votes.undone, {run: len(whole[run]) for run in following}


def _by_run(published: Sequence[TraceEvent | RunEnd]) -> dict[RunRevision, list[TraceEvent | RunEnd]]:
    runs: dict[RunRevision, list[TraceEvent | RunEnd]] = {}
    for message in published:
        runs.setdefault(message.run, []).append(message)
    return runs


def _decoded(pairs: Sequence[StoredMessage]) -> Iterator[tuple[StoredMessage, PairMessage]]:
    for message in pairs:
        if not message.value.startswith(b"bad"):
            yield message, decode_pair(message.value, message.source)


def _check_versions_grow(kafka: SimKafka, model: str) -> None:
    """A snapshot that is older than one before it would be the one that compaction keeps."""
    key = snapshot_key(model).encode()
    of_model = [m for m in kafka.log[SNAPSHOTS, 0] if m.key == key]
    versions = [decode_snapshot(message.value, message.source).version for message in of_model]
    assert versions == sorted(set(versions)), f"versions went back: {versions}"
