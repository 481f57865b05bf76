"""Do the pairs topic, the newest snapshot and a replay of the trace topic agree?

After any fault and recovery they must: the replay forms the pairs that are on the topic, and the pairs on the
topic give the snapshot, bit for bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from streams.messages.candidates import Found, Search
from streams.messages.codec import ContractError, decode_pair, decode_trace, decode_vote
from streams.messages.contracts import (
    PairMessage,
    PairsEnd,
    PreferencePair,
    Rollback,
    RunEnd,
    RunRevision,
)
from streams.messages.held import Held
from streams.messages.limits import MAX_DIMENSIONS
from streams.messages.stored import StoredMessage
from trainers.pairs.judgements import dimension_of, fact_of, judgement_of
from trainers.pairs.pairing import LIVE_SOURCES, PairingRules
from trainers.pairs.seen import tell_apart
from trainers.pairs.votes import pair_id_of
from trainers.pairs.weights import task_of
from trainers.pairs.withdrawn import is_withdrawal
from trainers.processing.relearn import in_order, one_log, relearn
from trainers.processing.trace_processor import TraceProcessor
from trainers.processing.vote_processor import pairs_of_votes, search_for

_Decoded = tuple[StoredMessage, PairMessage]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateReport:
    """One reward model: what is recorded, what a replay forms, and what the newest snapshot has learnt."""

    model: str
    pairs: int
    """Distinct pairs on the pairs topic."""
    repeated: int
    """Repeated messages among them; delivery is at least once, so some are normal."""
    from_elsewhere: int
    """Pairs that no trace can give: from people and judges, or from runs whose beginning is gone."""
    missing: tuple[str, ...]
    """Pairs that the replay forms but the topic lacks, of runs closed on the pairs topic or of committed
    votes; and pairs of withdrawn votes that are still on the topic."""
    unexplained: tuple[str, ...]
    """Pairs on the topic that the replay does not form."""
    not_closed: tuple[str, ...]
    """Runs that only the replay closes: the pair former is behind."""
    votes_to_come: int
    """Votes not committed yet whose pair, or withdrawal, is not on the pairs topic."""
    open_runs: int
    closed_runs: int
    """Runs that are closed on the pairs topic."""
    version: int | None
    """Version of the newest snapshot; null if there is none."""
    learnt: int
    """Pairs that the newest snapshot reports as learnt."""
    recorded: int | None
    """Distinct pairs up to its stamp; null if they cannot be compared: after a rollback, or on a base."""
    identical: bool | None
    """Whether learning the recorded pairs again, up to their stamps, gives the newest snapshot and the newest
    checkpoint bit for bit."""
    not_learnt: int
    """Distinct pairs after the stamp: the learner is behind."""

    @property
    def known(self) -> bool:
        """Whether a trainer has written anything about the model."""
        return self.pairs > 0 or self.closed_runs > 0 or self.version is not None

    @property
    def consistent(self) -> bool:
        """Whether nothing is lost, duplicated or different, as far as former and learner have come."""
        counted = self.recorded is None or self.recorded == self.learnt
        return not self.missing and not self.unexplained and counted and self.identical is not False

    @property
    def settled(self) -> bool:
        """Whether the state is consistent, and nothing is behind."""
        return self.consistent and not (self.not_closed or self.votes_to_come) and self.not_learnt == 0


@dataclass(slots=True)
class _Pairs:
    """The pairs of one model, from any source."""

    by_id: dict[str, PreferencePair] = field(default_factory=dict)
    repeated: int = 0
    closed: dict[RunRevision, None] = field(default_factory=dict)
    dimensions: dict[str, None] = field(default_factory=dict)
    withdrawn: set[str] = field(default_factory=set)
    """Ids of withdrawn pairs."""

    @property
    def standing(self) -> int:
        """Number of pairs without a later withdrawal."""
        return sum(pair.pair_id not in self.withdrawn for pair in self.by_id.values())

    def may_have(self, pair: PreferencePair) -> bool:
        """Whether a learner would learn it: only the first few dimensions are learnt."""
        dimension = dimension_of(pair)
        return not dimension or dimension in self.dimensions or len(self.dimensions) < MAX_DIMENSIONS

    def add(self, message: PairMessage, name: str) -> None:
        if isinstance(message, PairsEnd):
            self.closed[message.run] = None
        elif isinstance(message, PreferencePair) and is_withdrawal(message):
            self.withdrawn.add(message.pair_id)
        elif isinstance(message, PreferencePair):
            if name not in self.by_id and message.pair_id in self.withdrawn:
                return  # too late for a learner
            dimension = dimension_of(message)
            if dimension and not tell_apart(self.dimensions, dimension, MAX_DIMENSIONS):
                return  # beyond a learner's limit
            self.repeated += name in self.by_id
            self.by_id.setdefault(name, message)


@dataclass(slots=True)
class _Votes:
    """What the votes topic gives for one model."""

    standing: dict[str, int] = field(default_factory=dict)
    """A pair's name to the offset of its vote."""
    ever: dict[str, PreferencePair] = field(default_factory=dict)
    """A pair's name to the pair, including pairs that were withdrawn."""
    taken_back: dict[str, int] = field(default_factory=dict)
    """A pair's id to the offset of the vote that withdraws it."""


@dataclass(slots=True)
class _Traces:
    """What the trace topic gives: pairs by model, and the runs whose beginning is on it."""

    by_model: dict[str, _Pairs] = field(default_factory=dict)
    first: dict[RunRevision, int] = field(default_factory=dict)
    named_first: dict[RunRevision, int] = field(default_factory=dict)

    def is_whole(self, run: RunRevision) -> bool:
        """Whether the run's beginning is there, rather than removed by the topic's retention or deletion."""
        return run in self.first and self.first[run] <= self.named_first.get(run, 0)


def verify_state(
    trace: Iterable[StoredMessage],
    pairs: Sequence[StoredMessage],
    held: Mapping[str, Held],
    rules: PairingRules,
    *,
    pairs_topic: str,
    votes: Sequence[StoredMessage] = (),
    votes_committed: int = 0,
) -> list[StateReport]:
    """A report for every model of ``rules`` that has pairs or snapshots, in order of appearance.

    ``held`` maps models to their messages on the snapshots topic. Trainers have committed ``votes`` before
    the offset ``votes_committed``. Raises BadInput if a snapshot cannot be recomputed because its base is not
    held.
    """
    decoded = list(_decoded(pairs))
    recorded: dict[str, _Pairs] = {}
    for stored, message in decoded:
        if rules.learns(message.model):
            recorded.setdefault(message.model, _Pairs()).add(message, _name(message, stored))
    search = search_for(votes)
    replayed = _replayed(trace, rules, pairs_topic, search if votes else None)
    of_votes = _of_votes(votes, search.found(), rules, pairs_topic)
    models = list(dict.fromkeys([*recorded, *replayed.by_model, *of_votes, *held])) or [rules.model]
    return [
        _report(
            model,
            recorded.get(model, _Pairs()),
            replayed,
            [(stored, message) for stored, message in decoded if message.model == model],
            pairs,
            held.get(model, Held()),
            pairs_topic,
            of_votes.get(model, _Votes()),
            votes_committed,
        )
        for model in models
    ]


def _replayed(
    trace: Iterable[StoredMessage], rules: PairingRules, pairs_topic: str, search: Search | None
) -> _Traces:
    former = TraceProcessor(
        rules, trace_topic="", pairs_topic=pairs_topic, dead_letters_topic="", most_waiting_bytes=None
    )
    traces = _Traces()
    for stored in trace:
        try:
            event = decode_trace(stored.value, stored.source)
        except ContractError:
            continue
        if search is not None:
            search.add_event(stored, event)
        if isinstance(event, RunEnd):
            traces.named_first[event.run] = min(event.iterations, default=0)
        else:
            known = traces.first.get(event.run, event.iter_idx)
            traces.first[event.run] = min(known, event.iter_idx)
        for outgoing in former.on_message(stored, event).outgoing:
            if outgoing.topic == pairs_topic:
                message = decode_pair(outgoing.value, "replay")
                traces.by_model.setdefault(message.model, _Pairs()).add(message, _name(message, stored))
    return traces


def _of_votes(
    votes: Sequence[StoredMessage], found: Found, rules: PairingRules, pairs_topic: str
) -> dict[str, _Votes]:
    by_model: dict[str, _Votes] = {}
    for stored, pair in _formed_of(votes, found, rules, pairs_topic):
        by_model.setdefault(pair.model, _Votes()).standing[_name(pair, stored)] = stored.offset
    for stored, pair in _formed_of(votes, replace(found, taken_back={}), rules, pairs_topic):
        by_model.setdefault(pair.model, _Votes()).ever[_name(pair, stored)] = pair
    for stored in votes:
        with suppress(ContractError):
            vote = decode_vote(stored.value, stored)
            earlier = found.votes.get(vote.takes_back)
            if earlier is not None and earlier.annotator == vote.annotator:
                for of_model in by_model.values():
                    of_model.taken_back.setdefault(pair_id_of(earlier.vote_id), stored.offset)
    return by_model


def _formed_of(
    votes: Sequence[StoredMessage], found: Found, rules: PairingRules, pairs_topic: str
) -> Iterator[tuple[StoredMessage, PreferencePair]]:
    for stored, outgoing in pairs_of_votes(votes, found, rules, pairs_topic):
        pair = decode_pair(outgoing.value, "replay")
        if isinstance(pair, PreferencePair):
            yield stored, pair


def _report(
    model: str,
    recorded: _Pairs,
    traces: _Traces,
    decoded: Sequence[_Decoded],
    pairs: Sequence[StoredMessage],
    held: Held,
    pairs_topic: str,
    votes: _Votes,
    votes_committed: int,
) -> StateReport:
    replayed = traces.by_model.get(model, _Pairs())
    comparable = {
        name
        for name, pair in recorded.by_id.items()
        if pair.label_source in LIVE_SOURCES and traces.is_whole(pair.run)
    }
    known_votes = {pair.pair_id for pair in votes.ever.values()}
    of_votes = {name for name, pair in recorded.by_id.items() if pair.pair_id in known_votes}
    there = {pair.pair_id for pair in recorded.by_id.values()}
    due = {
        name: at
        for name, at in votes.standing.items()
        if name not in recorded.by_id and recorded.may_have(votes.ever[name])
    }
    due |= {
        f"withdrawal of {pair_id}": at
        for pair_id, at in votes.taken_back.items()
        if pair_id in there and pair_id not in recorded.withdrawn
    }
    begun = {pair.run for pair in replayed.by_id.values()}
    newest = held.snapshots[-1][1] if held.snapshots else None
    stamp = newest.consumed.get(pairs_topic, {}) if newest else {}
    before = _Pairs()
    rolled_back = False
    for stored, message in decoded:
        if stored.offset < stamp.get(str(stored.partition), 0):
            before.add(message, _name(message, stored))
            rolled_back |= isinstance(message, Rollback)
    return StateReport(
        model=model,
        pairs=len(recorded.by_id),
        repeated=recorded.repeated,
        from_elsewhere=len(recorded.by_id) - len(comparable) - len(of_votes),
        missing=tuple(
            name
            for name, pair in replayed.by_id.items()
            if pair.run in recorded.closed and name not in recorded.by_id
        )
        + tuple(name for name, at in due.items() if at < votes_committed),
        unexplained=tuple(
            name
            for name in recorded.by_id
            if (name in comparable and name not in replayed.by_id)
            or (name in of_votes and name not in votes.ever)
        ),
        not_closed=tuple(_in_words(run) for run in replayed.closed if run not in recorded.closed),
        votes_to_come=sum(at >= votes_committed for at in due.values()),
        open_runs=len(begun - replayed.closed.keys()),
        closed_runs=len(recorded.closed),
        version=newest.version if newest else None,
        learnt=newest.n_pairs if newest else 0,
        recorded=before.standing if newest and not rolled_back and not newest.base else None,
        identical=_is_identical(pairs, held, pairs_topic) if newest else None,
        not_learnt=len(recorded.by_id.keys() - before.by_id.keys()),
    )


def _is_identical(pairs: Sequence[StoredMessage], held: Held, pairs_topic: str) -> bool:
    log = one_log(held)
    newest = in_order([log.newest, *deque(log.checkpoints(), maxlen=1)], pairs_topic)
    return all(verdict.identical for verdict in relearn(pairs, newest, pairs_topic, log))


def _decoded(pairs: Iterable[StoredMessage]) -> Iterator[_Decoded]:
    """The decoded messages, without unreadable ones, which are dead letters rather than pairs."""
    for stored in pairs:
        try:
            yield stored, decode_pair(stored.value, stored.source)
        except ContractError:
            continue


def _in_words(run: RunRevision) -> str:
    run_id, revision = run
    return f"{run_id} (revision {revision})" if revision else run_id


def _name(message: PairMessage, stored: StoredMessage) -> str:
    """Identifies pairs as the learner does: each person's or judge's statement about one is a separate fact.

    Pairs from elsewhere may have no id, and then every message counts.
    """
    if not isinstance(message, PreferencePair) or not message.pair_id:
        return stored.source
    judgement = judgement_of(message)
    fact = fact_of(message, judgement)
    if judgement is not None:
        fact = f"{task_of(message)}\0{fact}"
    return f"{fact}\0{dimension}" if (dimension := dimension_of(message)) else fact
