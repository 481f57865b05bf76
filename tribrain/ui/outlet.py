"""Votes on their way to Kafka: on this computer's disk first, so that none is lost while a broker is away."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, Self

from streams.kafka.settings import Settings
from streams.messages.votes import Vote
from streams.spool.publisher import TracePublisher
from streams.spool.queue import SpoolError, SpoolStatus

_ANSWER_S = 1.0
Place = Literal["kafka", "spool"]


class VoteOutlet:
    """Publishes votes through a spool of this broker and these topics in ``folder``."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        where = f"{settings.bootstrap_servers}\0{settings.topic_prefix}"
        name = hashlib.sha256(where.encode()).hexdigest()[:12]
        self._publisher = TracePublisher(settings, folder / f"votes-{name}.sqlite")
        self.taken: dict[Place, int] = {"kafka": 0, "spool": 0}
        """Votes since the start, by where they were when that was answered."""
        self.refused = 0
        """Votes that the spool did not take."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.close(timeout_s=2.0)

    def send(self, vote: Vote) -> Place:
        """Return once the vote is durable, and where: all of Kafka's replicas have it, or the spool has.

        Raises ContractError, and SpoolError where it is neither.
        """
        try:
            self._publisher.push_vote(vote)
        except SpoolError:
            self.refused += 1
            raise
        # While nothing gets through, nobody is kept waiting for it.
        left = self._publisher.flush(0.0 if self.problem else _ANSWER_S)
        place: Place = "spool" if left else "kafka"
        self.taken[place] += 1
        return place

    @property
    def status(self) -> SpoolStatus:
        """What is in the spool."""
        return self._publisher.status

    @property
    def waiting(self) -> int:
        """Votes that are not on Kafka yet."""
        return self._publisher.flush(0.0)

    @property
    def problem(self) -> str | None:
        """Why none gets through just now; None while all is well."""
        return self._publisher.problem
