"""A life of a cluster drawn from a seed: runs publish, workers work and die, in the end all comes to rest."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from msgspec.structs import replace

from streams.messages.checkpoints import decode_checkpoint, rollback_to
from streams.messages.codec import encode
from streams.messages.contracts import PreferencePair, RunEnd, TraceEvent
from streams.messages.stored import Outgoing
from streams.messages.votes import Vote
from tests.factories import pair
from tests.simulation.kafka import CLOSED, PAIRS, SNAPSHOTS, TRACE, VOTES, SimKafka
from tests.simulation.runs import FAMILY, complete_runs, draw_revisions, draw_run
from tests.simulation.votes import draw_vote
from tests.simulation.worker import PATIENCE_S, Ended, SimWorker
from trainers.pairs.pairing import PairingRules

MODELS = ("default", "default", "default.a", "other")
"""Of labels; which of them are learnt, the rules say."""
_RESCORED = 0.3
"""Of all lives."""
_STEP_S = 0.05
_MOST_ROUNDS = 1_000
"""Of coming to rest. Who needs more never does."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a cluster is; of what is a tuple, each life draws one."""

    trace_partitions: tuple[int, ...] = (1, 2, 3)
    most_partitions: int = 6
    """So many there are once partitions were added."""
    runs: tuple[int, ...] = (1, 2, 4, 8, 16)
    first_workers: int = 1
    """At the start of a life."""
    most_workers: int = 3


SMALL = Size()
WIDE = Size(trace_partitions=(32,), most_partitions=40, runs=(32, 64), first_workers=8, most_workers=8)


Steps = dict[str, tuple[float, Callable[[], None]]]
"""By name: how often, beside the others, and what happens."""


class Cluster:
    """Everything that happens is one of some steps, drawn by weight; the same seed gives the same life."""

    def __init__(self, seed: int, size: Size = SMALL) -> None:
        rng = self.rng = random.Random(seed)
        self._size = size
        self.most_working = 0
        """The most workers that owned partitions of traces at a time."""
        self.kafka = SimKafka(trace_partitions=rng.choice(size.trace_partitions))
        self.rules = PairingRules(model_by=rng.choice((None, None, FAMILY)))
        self.published: list[TraceEvent | RunEnd] = []
        self.labels: list[PreferencePair] = []
        self.votes: list[Vote] = []
        self.bad: list[bytes] = []
        """Messages that nobody can use."""
        self._time_outs = rng.choice((0.0, 0.02, 0.2, 0.5))
        self._queues = [draw_run(rng, f"run-{n}") for n in range(rng.choice(size.runs))]
        # By numbers of their own, so that a life without revisions is the same as if there were none.
        of_revisions = random.Random(f"revisions of {seed}")
        if of_revisions.random() < _RESCORED:
            self._queues += [again for made in self._queues for again in draw_revisions(of_revisions, made)]
        self._workers: list[SimWorker] = []
        self._started = 0
        self._now_s = 0.0
        self._outage_steps = 0

    def live(self) -> None:
        """Until all is published, and some time beyond; then without faults until nothing moves any more."""
        steps = self._steps()
        for _ in range(self._size.first_workers):
            self._start_worker()
        self._take_steps(steps, lambda: any(self._queues))
        left = iter(range(self.rng.choice((0, 100, 300))))
        steps["silence"] = (1.0, self._silence)
        self._take_steps(steps, lambda: next(left, None) is not None)
        self._rest()

    def _steps(self) -> Steps:
        """Which faults there are, and how often, is drawn too: with all of them a life gets nowhere."""
        rng = self.rng
        stops = rng.choice((0.0, 0.0, 0.2, 1.0))

        def fault(often: float) -> float:
            return often * rng.choice((0.0, 0.0, 0.2, 1.0))

        return {
            "publish": (rng.choice((3.0, 20.0, 100.0)), self._publish),
            "publish again": (fault(1.0), self._publish_again),
            "publish what is bad": (fault(3.0), self._publish_bad),
            "label": (fault(2.0), self._label),
            "vote": (fault(3.0), self._vote),
            "vote again": (fault(1.0), self._vote_again),
            "roll back": (fault(0.3), self._roll_back),
            "read": (rng.choice((5.0, 30.0)), lambda: self._someone(lambda w: w.read(self._now_s))),
            "send": (rng.choice((10.0, 60.0)), lambda: self._someone(SimWorker.send_one)),
            "hear": (rng.choice((5.0, 30.0)), lambda: self._someone(SimWorker.hear)),
            "answer": (rng.choice((3.0, 20.0)), lambda: self._someone(lambda w: w.answer(self._now_s))),
            "commit": (rng.choice((3.0, 30.0)), lambda: self._someone(SimWorker.commit)),
            "tick": (3.0, lambda: self._someone(lambda w: w.tick(self._now_s))),
            "hear of a rebalance": (5.0, self._hear_of_rebalance),
            "rebalance": (fault(1.0), self._rebalance),
            "kill": (fault(1.0), self._kill),
            "stop": (stops, lambda: self._someone(SimWorker.stop)),
            "end on": (10.0 * stops, lambda: self._someone(SimWorker.end_on)),
            "start": (0.5, self._start_worker),
            "stall": (fault(1.0), lambda: self._someone(SimWorker.stall)),
            "wake": (1.0, self._wake),
            "fail": (fault(1.0), lambda: self._someone(SimWorker.fail_one)),
            "outage": (fault(0.3), self._begin_outage),
            "add a partition": (fault(0.1), self._add_partition),
        }

    def _take_steps(self, steps: Steps, goes_on: Callable[[], bool]) -> None:
        chosen = [do for _, do in steps.values()]
        weights = list(accumulate(weight for weight, _ in steps.values()))
        while goes_on():
            self._now_s += _STEP_S
            (do,) = self.rng.choices(chosen, cum_weights=weights)
            do()
            self._outage_steps = max(0, self._outage_steps - 1)

    def _someone(self, act: Callable[[SimWorker], object]) -> None:
        awake = [worker for worker in self._workers if not worker.is_stalled]
        if awake and not self._outage_steps:
            self._let(self.rng.choice(awake), act)

    def _let(self, worker: SimWorker, act: Callable[[SimWorker], object]) -> object:
        try:
            return act(worker)
        except Ended:
            self._remove(worker)
            return True

    def _publish(self) -> None:
        queues = [queue for queue in self._queues if queue]
        if queues and not self._outage_steps:
            self._append(self.rng.choice(queues).pop(0))

    def _publish_again(self) -> None:
        if self.published:
            self._append(self.rng.choice(self.published))

    def _append(self, message: TraceEvent | RunEnd) -> None:
        self.published.append(message)
        anywhere = self.rng.randrange(self.kafka.trace_partitions) if self.rng.random() < 0.02 else None
        self.kafka.append(Outgoing(TRACE, message.run_id.encode(), encode(message), partition=anywhere))

    def _publish_bad(self) -> None:
        topic = self.rng.choice((TRACE, PAIRS, CLOSED, VOTES))
        value = b"bad %d" % len(self.bad)
        if topic != CLOSED:  # what is no mark there is passed over
            self.bad.append(value)
        self.kafka.append(Outgoing(topic, b"default", value))

    def _vote(self) -> None:
        """On videos of runs, whether these have come or not."""
        runs = [f"run-{n}" for n in range(len(self._queues))]
        self.votes.append(draw_vote(self.rng, len(self.votes), runs, self.votes[-5:]))
        self._append_vote(self.votes[-1])

    def _vote_again(self) -> None:
        if self.votes:
            self._append_vote(self.rng.choice(self.votes))

    def _append_vote(self, vote: Vote) -> None:
        self.kafka.append(Outgoing(VOTES, vote.vote_id.encode(), encode(vote)))

    def _label(self) -> None:
        """A pair from elsewhere."""
        again = self.labels and self.rng.random() < 0.2
        vote = self.rng.choice(self.labels) if again else pair(
            {"goal.task": self.rng.random()}, {"goal.task": self.rng.random()},
            task_id=f"task-{self.rng.randrange(5)}", pair_id=f"label-{len(self.labels)}",
            model=self.rng.choice(MODELS),
        )  # fmt: skip
        if not again:
            self.labels.append(vote)
        if self.rng.random() < 0.3:  # of somebody else, or on one thing, or for neither
            vote = replace(
                vote,
                meta={"annotator": self.rng.choice(("ann", "bob"))},
                dimension=self.rng.choice(("", "physics")),
                tie=self.rng.random() < 0.3,
            )
        self.kafka.append(Outgoing(PAIRS, vote.model.encode(), encode(vote)))

    def _roll_back(self) -> None:
        """A model is to be one of those again that were saved."""
        saved = [
            m for m in self.kafka.log.get((SNAPSHOTS, 0), []) if m.key and m.key.startswith(b"checkpoint")
        ]
        if saved:
            message = self.rng.choice(saved)
            rollback = rollback_to(decode_checkpoint(message.value, message.source), "drawn")
            self.kafka.append(Outgoing(PAIRS, rollback.model.encode(), encode(rollback)))

    def _start_worker(self) -> None:
        if len(self._workers) < self._size.most_workers:
            self._started += 1
            self._workers.append(self._new_worker())
            self._rebalance()

    def _new_worker(self) -> SimWorker:
        return SimWorker(self.kafka, self._started, self.rng, self.rules, self._time_outs)

    def _kill(self) -> None:
        if self._workers:
            self._remove(self.rng.choice(self._workers))

    def _remove(self, worker: SimWorker) -> None:
        worker.kill()
        self._workers.remove(worker)
        self._rebalance()

    def _rebalance(self) -> None:
        numbers = [worker.number for worker in self._workers]
        owners = {place: self.rng.choice(numbers) for place in self.kafka.places() if numbers}
        self.kafka.rebalance(owners)
        self.most_working = max(
            self.most_working, len({n for (topic, _), n in owners.items() if topic == TRACE})
        )

    def _wake(self) -> None:
        for worker in self._workers:
            worker.wake()

    def _hear_of_rebalance(self) -> None:
        self._someone(SimWorker.hear_of_rebalance)

    def _begin_outage(self) -> None:
        self._outage_steps = self.rng.choice((20, 200))
        for worker in self._workers:
            if self.rng.random() < 0.3:
                worker.fail_one()

    def _add_partition(self) -> None:
        if self.kafka.trace_partitions < self._size.most_partitions:
            self.kafka.trace_partitions += 1
            self._rebalance()

    def _silence(self) -> None:
        """Much time without an event; it counts where nothing is left unread anywhere, nor on its way."""
        if self._all_traces_are_read():
            self._someone(SimWorker.end_silent_runs)

    def _all_traces_are_read(self) -> bool:
        return all(w.has_read_all_traces and not w.is_stalled for w in self._workers)

    def _rest(self) -> None:
        self._outage_steps = 0
        self._start_worker()
        for _ in range(_MOST_ROUNDS):
            self._wake()
            self._now_s += 1.0
            did = [self._let(worker, lambda w: w.do_all(self._now_s)) for worker in list(self._workers)]
            moved = any(did)
            if not self._workers:
                self._start_worker()
            elif not moved and not self._lag:
                return
            elif not moved and self._all_traces_are_read():
                self._check_holds()
                self._silence()
                self._now_s += PATIENCE_S
        raise AssertionError(f"the cluster never comes to rest: {self._lag} messages are not committed")

    def _check_holds(self) -> None:
        """What is held now waits for the silence of its run: none may be a run of which all is there."""
        held = {run for worker in self._workers for run in worker.trace.held_runs}
        over = held and held & complete_runs(self.published)
        assert not over, f"hold the commit though nothing of them is missing: {sorted(over)}"

    @property
    def _lag(self) -> int:
        return sum(self.kafka.end(p) - self.kafka.committed.get(p, 0) for p in self.kafka.places())
