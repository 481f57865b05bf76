"""What a rate of events needs, worked out from what one event was measured to cost.

Every step is one line here. A figure that goes in is measured (``tests.bench.scale.costs``), a default
of the program, or one of the assumptions below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil

from streams.worker.pair_side import Pace
from tests.bench.workload import EVENTS_PER_RUN, ITERATIONS

BUSY = 0.5
"""Of what was measured, the most that is planned with: the rest is for restarts and busy hours."""
VIDEO_S = 60.0
"""From one candidate of a run to its next: the generation of a video."""
REPLICAS = 3
LEAST_PARTITIONS = 4
PARTITIONS_PER_TRAINER = 2
"""So that trainers can be added before partitions have to be."""
TRAINER_MIB = 512
"""The limit of the trainer's container in compose/compose.yaml."""
LINE_BYTES_PER_S = 1e9 / 8
"""Of a broker: 1 Gbit/s."""
DISK_BYTES = 1e12
DISK_LASTS_S = 30 * 86_400.0
MIB = 2**20
_HIGHEST_PER_S = 1e7


@dataclass(frozen=True, slots=True)
class Flags:
    """How ``serve trainer`` was started, as far as it matters here."""

    pace: Pace
    run_timeout_s: float


DEFAULTS = Flags(Pace(), 21_600.0)
SPARING = Flags(Pace(snapshot_every_pairs=1_000_000, snapshot_every_s=10.0, checkpoint_every_s=300.0), 900.0)
SPARING_FLAGS = (
    f"--every-pairs {SPARING.pace.snapshot_every_pairs} "
    f"--every-s {SPARING.pace.snapshot_every_s:g} "
    f"--checkpoint-every-s {SPARING.pace.checkpoint_every_s:g} --run-timeout-s {SPARING.run_timeout_s:g}"
)


@dataclass(frozen=True)
class Need:
    """What ``per_s`` events a second need, all prefixes together unless it says otherwise."""

    per_s: float
    flags: Flags
    cost: Mapping[str, float]
    prefixes: int = 0
    """Topics of their own, each with its trainers; 0 for as many as the learners need."""
    trainers_of_each: int = 0
    """0 for as many as the prefix needs."""
    candidate_s: float = VIDEO_S

    @property
    def pairs_per_event(self) -> float:
        return self.cost["pairs"] / self.cost["events"]

    @property
    def pairs_per_s(self) -> float:
        return self.per_s * self.pairs_per_event

    @property
    def open_runs(self) -> float:
        """At any time: each sends its events, and its end, while it makes its candidates."""
        return self.per_s * ITERATIONS * self.candidate_s / EVENTS_PER_RUN

    @cached_property
    def shards(self) -> int:
        """Prefixes: the pairs of one have one partition, and so one learner."""
        return self.prefixes or max(1, ceil(self.pairs_per_s / (BUSY * self.cost["learner_per_s"])))

    @property
    def trainers(self) -> int:
        """Of each prefix."""
        return self.trainers_of_each or max(
            1, ceil(self.per_s / self.shards / (BUSY * self.cost["live_per_s"]))
        )

    @property
    def partitions(self) -> int:
        """Of the trace topic of each prefix."""
        return max(LEAST_PARTITIONS, PARTITIONS_PER_TRAINER * self.trainers)

    @property
    def per_trainer_s(self) -> float:
        """Events a second that one trainer forms pairs of."""
        return self.per_s / self.shards / self.trainers

    @property
    def cores(self) -> float:
        """That all trainers together keep busy, where events lie in large batches."""
        return self.per_s * self.cost["live_us"] / 1e6

    @property
    def cores_of_single_events(self) -> float:
        """The same where each event is a batch of its own, as it is from runs that take a while for one."""
        return self.per_s * self.cost["single_us"] / 1e6

    @property
    def trainer_bytes(self) -> float:
        """One trainer's memory, with a run in each of its partitions that is silent until it is ended."""
        open_runs = self.open_runs / self.shards / self.trainers
        behind = self.per_trainer_s * self.flags.run_timeout_s
        return (
            self.cost["resident_mib"] * MIB
            + open_runs * self.cost["open_run_bytes"]
            + behind * self.cost["pinned_bytes"]
        )

    @property
    def snapshots_per_s(self) -> float:
        """Of one prefix, at most: after so many pairs or so much time, where something was learnt."""
        pace, pairs_per_s = self.flags.pace, self.pairs_per_s / self.shards
        due = max(pairs_per_s / pace.snapshot_every_pairs, 1 / pace.snapshot_every_s)
        return min(pairs_per_s, due, 1 / pace.least_interval_s)

    @property
    def checkpoints_per_s(self) -> float:
        """The same of checkpoints."""
        pace, pairs_per_s = self.flags.pace, self.pairs_per_s / self.shards
        due = max(pairs_per_s / pace.checkpoint_every_pairs, 1 / pace.checkpoint_every_s)
        return min(pairs_per_s, due, 1 / pace.least_interval_s)

    @property
    def feed_bytes_per_s(self) -> float:
        """What everybody reads who follows the snapshots of one prefix; checkpoints lie between them."""
        return (
            self.snapshots_per_s * self.cost["snapshot_bytes"]
            + self.checkpoints_per_s * self.cost["checkpoint_bytes"]
        )

    @property
    def log_bytes_per_s(self) -> float:
        """What is kept for good, one copy: events, pairs, and a mark for each closed run."""
        return (
            self.per_s * self.cost["event_bytes"]
            + self.pairs_per_s * self.cost["pair_bytes"]
            + self.per_s / EVENTS_PER_RUN * self.cost["mark_bytes"]
        )

    @property
    def in_bytes_per_s(self) -> float:
        """Into the brokers, from runs and trainers."""
        return self.log_bytes_per_s + self.shards * self.feed_bytes_per_s

    @property
    def out_bytes_per_s(self) -> float:
        """Out of the brokers: to trainers, to the other replicas, and to every run's feed."""
        return (
            self.log_bytes_per_s
            + (REPLICAS - 1) * self.in_bytes_per_s
            + self.open_runs * self.feed_bytes_per_s
        )

    @property
    def disk_bytes_per_s(self) -> float:
        """On all brokers; snapshots are compacted, and no part of it."""
        return REPLICAS * self.log_bytes_per_s

    @property
    def replay_day_s(self) -> float:
        """To read a day's events of one prefix again, as verify-state does."""
        return 86_400 * self.per_s / self.shards / self.cost["replayed_per_s"]

    @property
    def restart_s(self) -> float:
        """What a trainer reads again: as far back as its oldest open run began."""
        return self.per_trainer_s * ITERATIONS * self.candidate_s / self.cost["live_per_s"]

    @property
    def restart_behind_silence_s(self) -> float:
        """The same where a run has been silent almost until it is ended."""
        return self.per_trainer_s * self.flags.run_timeout_s / self.cost["live_per_s"]


@dataclass(frozen=True, slots=True)
class Limit:
    """A resource of one prefix with one trainer, or of its broker, and how much of it there is."""

    resource: str
    used: Callable[[Need], float]
    there_is: Callable[[Mapping[str, float]], float]


LIMITS = (
    Limit("the learner, by itself", lambda n: n.pairs_per_s, lambda c: c["learner_per_s"]),
    Limit("one trainer that forms and learns", lambda n: n.per_s, lambda c: c["live_per_s"]),
    Limit(
        f"memory of one trainer, {TRAINER_MIB} MiB", lambda n: n.trainer_bytes, lambda _: TRAINER_MIB * MIB
    ),
    Limit("a broker's line, 1 Gbit/s out", lambda n: n.out_bytes_per_s, lambda _: LINE_BYTES_PER_S),
    Limit(
        "a broker's disk, 1 TB for 30 days",
        lambda n: n.log_bytes_per_s,
        lambda _: DISK_BYTES / DISK_LASTS_S,
    ),
    Limit("a replay of each day within a day", lambda n: n.replay_day_s, lambda _: 86_400.0),
)


def ceiling(limit: Limit, flags: Flags, cost: Mapping[str, float]) -> float:
    """Events a second at which one prefix has used it up, by bisection: what is used grows with the rate."""
    low, high = 0.0, _HIGHEST_PER_S
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        need = Need(middle, flags, cost, prefixes=1, trainers_of_each=1)
        low, high = (middle, high) if limit.used(need) <= limit.there_is(cost) else (low, middle)
    return low
