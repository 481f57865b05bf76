"""What people say of two videos: the contract of the votes topic."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from streams.messages.fields import Contract, Count, Id, Iteration, Name, RunId

Answer = Literal["left", "right", "tie", "both_bad", "cannot_tell"]
"""``both_bad`` says that neither is better, as a tie does; ``cannot_tell`` says nothing of the two."""
RANDOM_RULE = "random"
"""The rule that draws a pair whatever the model believes of it."""
Seconds = Annotated[float, Meta(ge=0.0, le=1e9)]


class Vote(Contract, frozen=True, kw_only=True):
    """A person's answer to which of two videos of one task is better.

    Identity, and key on Kafka: ``vote_id``. The two may be of different runs. A vote may come before the
    events that it is about, and long after them; until they have come it waits.
    """

    SCHEMA: ClassVar[str] = "tribrain.vote/1"

    schema: str = SCHEMA
    vote_id: RunId
    """The same vote, sent again, has the same id, and counts once."""
    left_run_id: RunId
    """The video that was shown on the left: an iteration of a run."""
    left_iter_idx: Iteration
    right_run_id: RunId
    right_iter_idx: Iteration
    answer: Answer | None
    """Null where the vote only takes back another."""
    takes_back: Id = ""
    """The ``vote_id`` of an earlier vote of the same annotator, which counts no more; the answer, where there
    is one, stands in its place."""
    dimension: Name = ""
    """What was asked for: ``physics``, ``smoothness``, …; empty for the whole."""
    annotator: Name = ""
    """Who voted; empty where it is not known."""
    voted_at: Id = ""
    """When, by the clock of who took the vote (ISO 8601, UTC)."""
    response_time_s: Seconds | None = None
    """From the pair's being shown to the answer."""
    plays_left: Count | None = None
    """How often the left video was played to its end."""
    plays_right: Count | None = None
    rule: Name = ""
    """What chose the pair: ``RANDOM_RULE``, the name of a rule that asks what teaches most, or empty where
    the pair was chosen elsewhere, without the model."""
    probability: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    """With which the pair was chosen among all that could have been."""
    page: Name = ""
    """The page and its version, or what imported the vote."""
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def gives_a_pair(self) -> bool:
        """Whether the answer says something of the two."""
        return self.answer is not None and self.answer != "cannot_tell"

    @property
    def left(self) -> tuple[str, int]:
        """Run and iteration."""
        return self.left_run_id, self.left_iter_idx

    @property
    def right(self) -> tuple[str, int]:
        """Run and iteration."""
        return self.right_run_id, self.right_iter_idx
