"""Publishes votes to Kafka by way of this computer's disk, so that none is lost while a broker is down."""

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
    """Publishes votes through a spool in ``folder``; each broker and topic prefix has its own spool."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        where = f"{settings.bootstrap_servers}\0{settings.topic_prefix}"
        name = hashlib.sha256(where.encode()).hexdigest()[:12]
        self._publisher = TracePublisher(settings, folder / f"votes-{name}.sqlite")
        self.taken: dict[Place, int] = {"kafka": 0, "spool": 0}
        """Votes since the start, by where they were stored when ``send`` returned."""
        self.refused = 0
        """Votes that the spool refused."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.close(timeout_s=2.0)

    def send(self, vote: Vote) -> Place:
        """Store a vote durably; returns where: on all of Kafka's replicas, or in the spool.

        Raises ContractError, and SpoolError if it could be stored in neither.
        """
        try:
            self._publisher.push_vote(vote)
        except SpoolError:
            self.refused += 1
            raise
        # While Kafka is unreachable, do not keep the voter waiting.
        left = self._publisher.flush(0.0 if self.problem else _ANSWER_S)
        place: Place = "spool" if left else "kafka"
        self.taken[place] += 1
        return place

    @property
    def status(self) -> SpoolStatus:
        """What the spool holds."""
        return self._publisher.status

    @property
    def waiting(self) -> int:
        """Votes that are not on Kafka yet."""
        return self._publisher.flush(0.0)

    @property
    def problem(self) -> str | None:
        """Why no vote is being sent now; None if all is well."""
        return self._publisher.problem
