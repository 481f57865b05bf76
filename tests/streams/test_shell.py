"""How the shell carries out what the state machines ask for, where answers come late or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from streams.errors import NoBroker
from streams.kafka.settings import Settings
from streams.messages.candidates import Found
from streams.messages.checkpoints import Recovery
from streams.messages.codec import encode
from streams.messages.contracts import RunClosed, snapshot_key
from streams.messages.stored import Outgoing, StoredMessage
from streams.worker import shell as shell_module
from streams.worker.batches import Batch, Delivery
from streams.worker.effects import Lookup
from streams.worker.outbox import Outbox
from streams.worker.pair_side import Pace, PairSide
from streams.worker.shell import Shell
from streams.worker.trace_side import TraceSide
from streams.worker.vote_side import VoteSide
from tests.factories import event, pair
from trainers.pairs.pairing import PairingRules
from trainers.processing.pair_processor import PairProcessors
from trainers.processing.trace_processor import TraceProcessor
from trainers.processing.vote_processor import VoteProcessor

SETTINGS = Settings(bootstrap_servers="none:1")
TRACE, PAIRS = (SETTINGS.trace_topic, 0), (SETTINGS.pairs_topic, 0)


@dataclass
class HeldDelivery:
    """The assignment is what the test says."""

    assignment: int = 1
    committed: dict[tuple[str, int], int] = field(default_factory=dict)
    answer: Callable[[], Awaitable[None]] | None = None

    async def commit(self, assignment: int, offsets: Mapping[tuple[str, int], int]) -> None:
        if self.answer is not None:
            await self.answer()
        self.committed.update(offsets)


@dataclass
class HeldOutbox:
    """Keeps what it is given."""

    sent: list[Outgoing] = field(default_factory=list)
    unsent_bytes: int = 0

    def send(self, number: int, message: Outgoing) -> None:
        self.sent.append(message)

    async def know_partitions(self, topic: str, count: int) -> None:
        pass


class Writer:
    """Opens when the test lets it; ``opened`` is the order by which Kafka would fence."""

    def __init__(self, opened: list[Writer]) -> None:
        self.may_open = asyncio.Event()
        self.published: list[Outgoing] = []
        self.is_closed = False
        self._opened = opened

    async def open(self) -> Recovery:
        await self.may_open.wait()
        self._opened.append(self)
        return Recovery(None, 0)

    async def publish(self, *messages: Outgoing) -> None:
        self.published += messages

    async def close(self) -> None:
        self.is_closed = True


class Worker:
    """A shell around the real machines and the real core, with everything else in the test's hand."""

    def __init__(
        self, recall: Callable[[], Awaitable[tuple[int, Iterable[RunClosed]]]] | None = None
    ) -> None:
        rules = PairingRules()
        former = TraceProcessor(
            rules,
            trace_topic=SETTINGS.trace_topic,
            pairs_topic=SETTINGS.pairs_topic,
            dead_letters_topic=SETTINGS.dead_letters_topic,
            closed_runs_topic=SETTINGS.closed_runs_topic,
        )
        learner = PairProcessors(
            rules,
            snapshots_topic=SETTINGS.snapshots_topic,
            dead_letters_topic=SETTINGS.dead_letters_topic,
            topic_ids={},
        )
        self.delivery, self.outbox = HeldDelivery(), HeldOutbox()
        self.writers: list[Writer] = []
        self.opened: list[Writer] = []
        self.failures: list[BaseException] = []
        self.published: list[tuple[Sequence[Outgoing], float]] = []
        self.pairs = PairSide(learner, Pace(), cpu_s=lambda: 0.0)
        self.shell = Shell(
            SETTINGS,
            TraceSide(former),
            self.pairs,
            VoteSide(
                VoteProcessor(
                    rules,
                    pairs_topic=SETTINGS.pairs_topic,
                    dead_letters_topic=SETTINGS.dead_letters_topic,
                ),
                timeout_s=60.0,
            ),
            look_up=self._find_nothing,
            recall=recall or self._nothing_closed,
            writer_of=self._new_writer,
            on_failure=self.failures.append,
            on_published=lambda messages, took_s: self.published.append((messages, took_s)),
        )
        self.shell.connect(cast(Delivery, self.delivery), cast(Outbox, self.outbox))

    async def _find_nothing(self, _: Lookup) -> Found:
        return Found()

    def assign(self, assignment: int, *partitions: tuple[str, int]) -> None:
        self.shell.revoked()
        self.delivery.assignment = assignment
        self.shell.assigned(assignment, partitions)

    async def read_pairs(self, assignment: int, n: int, start: int = 0) -> None:
        values = [
            encode(pair({"a.b": 0.9}, {"a.b": 0.1}, pair_id=f"{offset}", task_id=f"{offset}"))
            for offset in range(start, start + n)
        ]
        await self.shell.read_pairs(Batch(assignment, on_topic(SETTINGS.pairs_topic, values, start)))

    def _new_writer(self, model: str) -> Writer:
        self.writers.append(Writer(self.opened))
        return self.writers[-1]

    @staticmethod
    async def _nothing_closed() -> tuple[int, Iterable[RunClosed]]:
        return 1, []


def on_topic(topic: str, values: Iterable[bytes], start: int = 0) -> list[StoredMessage]:
    return [
        StoredMessage(topic=topic, partition=0, offset=start + n, timestamp_ms=0, key=None, value=value)
        for n, value in enumerate(values)
    ]


async def settle() -> None:
    """Let everything happen that waits for nothing outside."""
    for _ in range(50):
        await asyncio.sleep(0)


def test_of_two_writers_of_a_model_the_later_assignments_is_the_last_to_be_opened() -> None:
    async def scenario() -> None:
        worker = Worker()
        worker.assign(1, PAIRS)
        await worker.read_pairs(1, 1)
        await settle()
        worker.assign(2, PAIRS)
        await worker.read_pairs(2, 1)
        await settle()
        for _ in range(2):  # the newest first, where there are two
            for writer in reversed(worker.writers):
                writer.may_open.set()
                await settle()
        assert worker.opened == worker.writers
        assert len(worker.writers) == 2
        await worker.shell.finish()
        assert worker.writers[0].published == []
        assert worker.writers[1].published
        assert worker.failures == []

    asyncio.run(scenario())


def test_a_broker_that_is_away_while_closed_runs_are_read_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shell_module, "_AGAIN_S", 0.0)
    answers: list[Any] = [NoBroker("away"), NoBroker("away"), (1, [])]

    async def recall() -> tuple[int, Iterable[RunClosed]]:
        answer = answers.pop(0)
        if isinstance(answer, NoBroker):
            raise answer
        return cast(tuple[int, Iterable[RunClosed]], answer)

    async def scenario() -> None:
        worker = Worker(recall)
        worker.assign(1, TRACE)
        values = [encode(event(0, 0.1)), encode(event(1, 0.9))]
        await worker.shell.read_traces(Batch(1, on_topic(SETTINGS.trace_topic, values)))
        await settle()
        assert worker.failures == []
        assert [message.topic for message in worker.outbox.sent] == [SETTINGS.pairs_topic]

    asyncio.run(scenario())


def test_a_worker_that_ends_saves_what_it_has_learnt_commits_it_and_reads_no_more() -> None:
    async def scenario() -> None:
        worker = Worker()
        worker.assign(1, PAIRS)
        await worker.read_pairs(1, 3)
        await settle()
        worker.writers[0].may_open.set()
        await settle()
        await worker.shell.finish()
        await worker.read_pairs(1, 3, start=3)
        assert worker.pairs.positions.next_offset(0) == 3
        keys = [message.key for message in worker.writers[0].published]
        assert snapshot_key("default", "checkpoint").encode() in keys
        assert worker.delivery.committed == {PAIRS: 3}
        assert worker.failures == []

    asyncio.run(scenario())


def test_after_a_failure_nothing_is_committed() -> None:
    async def scenario() -> None:
        worker = Worker()
        worker.assign(1, TRACE)
        await settle()
        values = [encode(event(0, 0.1)), encode(event(1, 0.9)), b"bad"]
        await worker.shell.read_traces(Batch(1, on_topic(SETTINGS.trace_topic, values)))
        worker.shell.failed([0], OSError("the disk is full"))
        await worker.shell.commit()
        assert [str(error) for error in worker.failures] == ["the disk is full"]
        assert worker.delivery.committed == {}

    asyncio.run(scenario())


def test_after_a_failure_no_silent_run_is_ended() -> None:
    """What could not be forwarded may be of this run."""

    async def scenario() -> None:
        worker = Worker()
        worker.assign(1, TRACE)
        await settle()
        await worker.shell.read_traces(
            Batch(1, on_topic(SETTINGS.trace_topic, [encode(event(0, 0.1)), b"bad"]))
        )
        worker.shell.failed([0], OSError("the broker refuses it"))
        sent = len(worker.outbox.sent)
        for _ in range(3):
            worker.shell.silence(10.0, 10.0)
        assert len(worker.outbox.sent) == sent

    asyncio.run(scenario())


async def a_dead_thread_raises() -> None:
    raise RuntimeError("Event loop is closed")


async def a_dead_thread_never_answers() -> None:
    await asyncio.Event().wait()


async def worker_that_has_learnt() -> Worker:
    worker = Worker()
    worker.assign(1, PAIRS)
    await worker.read_pairs(1, 3)
    await settle()
    worker.writers[0].may_open.set()
    await settle()
    return worker


def test_a_commit_that_fails_at_the_end_is_said_and_the_writers_are_closed_all_the_same() -> None:
    async def scenario() -> None:
        worker = await worker_that_has_learnt()
        worker.delivery.answer = a_dead_thread_raises
        await worker.shell.finish()
        assert [str(error) for error in worker.failures] == ["Event loop is closed"]
        assert worker.writers[0].is_closed

    asyncio.run(scenario())


def test_a_commit_that_is_never_answered_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_module, "_LONGEST_COMMIT_S", 0.0)

    async def scenario() -> None:
        worker = await worker_that_has_learnt()
        worker.delivery.answer = a_dead_thread_never_answers
        await worker.shell.finish()
        assert worker.failures == []
        assert worker.writers[0].is_closed

    asyncio.run(scenario())


def test_the_first_error_is_the_one_that_is_told() -> None:
    async def scenario() -> None:
        worker = await worker_that_has_learnt()
        worker.delivery.answer = a_dead_thread_raises
        with worker.shell.first_error.failing():
            raise OSError("the disk is full")
        worker.shell.first_error.fail(RuntimeError("a timer that ran into it"))
        await worker.shell.finish()
        assert [str(error) for error in worker.failures] == ["the disk is full"]

    asyncio.run(scenario())


def test_dead_letters_are_counted_by_their_kind() -> None:
    async def scenario() -> None:
        worker = Worker()
        worker.assign(1, TRACE, PAIRS)
        await settle()
        await worker.shell.read_traces(Batch(1, on_topic(SETTINGS.trace_topic, [b"{]", b'{"a": NaN}'])))
        await worker.shell.read_pairs(Batch(1, on_topic(SETTINGS.pairs_topic, [b"no pair"])))
        counted = {kind: n for kind, n in worker.shell.dead_letters.items() if n}
        assert counted == {"damaged": 2, "not finite": 1}
        assert len(worker.outbox.sent) == 3

    asyncio.run(scenario())


def test_it_says_what_has_come_to_be_on_the_snapshots_topic() -> None:
    async def scenario() -> None:
        worker = Worker()
        worker.assign(1, PAIRS)
        await worker.read_pairs(1, 3)
        await settle()
        worker.writers[0].may_open.set()
        await settle()
        assert worker.published == []
        await worker.shell.finish()
        ((messages, took_s),) = worker.published
        assert [message.key for message in messages] == [
            snapshot_key("default").encode(),
            snapshot_key("default", "checkpoint").encode(),
        ]
        assert took_s >= 0

    asyncio.run(scenario())


def test_it_knows_whether_it_has_been_given_its_share() -> None:
    worker = Worker()
    assert not worker.shell.is_assigned
    worker.shell.assigned(1, [])
    assert worker.shell.is_assigned
    worker.shell.revoked()
    assert not worker.shell.is_assigned
