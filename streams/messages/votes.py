"""People's judgements of two videos: the contract of the votes topic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from streams.messages.fields import Contract, Count, Id, Iteration, Name, RunId

Answer = Literal["left", "right", "tie", "both_bad", "cannot_tell"]
"""``both_bad`` means that neither is better, like a tie; ``cannot_tell`` makes no statement."""
RANDOM_RULE = "random"
"""The rule that draws pairs regardless of the model's beliefs."""
Seconds = Annotated[float, Meta(ge=0.0, le=1e9)]


class Vote(Contract, frozen=True, kw_only=True):
    """A person's answer to which of two videos of one task is better.

    Identity, and key on Kafka: ``vote_id``. The videos may belong to different runs. A vote may arrive long
    before or after the events that it refers to; it waits until they have arrived.
    """

    SCHEMA: ClassVar[str] = "tribrain.vote/1"

    schema: str = SCHEMA
    vote_id: RunId
    """A vote that is sent again keeps its id and counts once."""
    left_run_id: RunId
    """The video shown on the left: an iteration of a run."""
    left_iter_idx: Iteration
    right_run_id: RunId
    right_iter_idx: Iteration
    answer: Answer | None
    """Null if the vote only retracts another."""
    takes_back: Id = ""
    """The ``vote_id`` of an earlier vote of the same annotator that this one retracts; the answer, if there
    is one, replaces it."""
    dimension: Name = ""
    """What was asked: ``physics``, ``smoothness``, …; empty for overall."""
    annotator: Name = ""
    """Who voted; empty if unknown."""
    voted_at: Id = ""
    """When, by the clock of the program that took the vote (ISO 8601, UTC)."""
    response_time_s: Seconds | None = None
    """Time from showing the pair to the answer."""
    plays_left: Count | None = None
    """How often the left video was played to its end."""
    plays_right: Count | None = None
    rule: Name = ""
    """The rule that chose the pair: ``RANDOM_RULE``, the name of an active-learning rule, or empty if the
    pair was chosen elsewhere, without the model."""
    probability: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    """Probability with which the rule chose the pair among all possible ones."""
    page: Name = ""
    """The page and its version, or the importer of the vote."""
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def gives_a_pair(self) -> bool:
        """Whether the answer makes a statement about the two videos."""
        return self.answer is not None and self.answer != "cannot_tell"

    @property
    def left(self) -> tuple[str, int]:
        """Run id and iteration of the left video."""
        return self.left_run_id, self.left_iter_idx

    @property
    def right(self) -> tuple[str, int]:
        """Run id and iteration of the right video."""
        return self.right_run_id, self.right_iter_idx


def standing(votes: Iterable[Vote]) -> list[Vote]:
    """Votes with an answer that their annotator has not retracted, in the order given.

    Of several with one id the first counts.
    """
    first: dict[str, Vote] = {}
    for vote in votes:
        first.setdefault(vote.vote_id, vote)
    gone = {(vote.takes_back, vote.annotator) for vote in first.values() if vote.takes_back}
    return [
        vote
        for vote in first.values()
        if vote.answer is not None and (vote.vote_id, vote.annotator) not in gone
    ]
