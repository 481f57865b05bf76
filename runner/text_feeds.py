"""Rewards of texts for running loops: hashed n-grams, from a file or as they are published."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from runner.interfaces import Matrix, Vector
from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.messages.contracts import GateState, TextSnapshot
from streams.messages.files import read_reward

log = logging.getLogger(__name__)

NAME = "text_rm"


class RewardOfTexts:
    """One published model. Raises BadInput for a snapshot that this version cannot read."""

    def __init__(self, snapshot: TextSnapshot) -> None:
        self.version: int = snapshot.version
        self.gate: GateState = snapshot.gate
        # Not at the top: numba takes half a second, and most runs have no reward of texts.
        from trainers.text.reward import TextReward

        self._reward = TextReward(snapshot)

    def rewards(self, goal: str, prompts: Sequence[str]) -> tuple[Vector, Matrix]:
        """Means (N,) and covariance (N, N) of the prompts' rewards, in nats."""
        return self._reward.rewards([(goal, prompt) for prompt in prompts])


class TextFileFeed:
    """The model of a ``text_reward.json``, for as long as the run lasts. Raises BadInput."""

    name: ClassVar[str] = NAME

    def __init__(self, path: Path) -> None:
        snapshot = read_reward(path)
        if not isinstance(snapshot, TextSnapshot):
            raise BadInput(f"{path}: is no reward of texts; expected a file that train-text-rm wrote")
        self.snapshot = snapshot
        self._reward = RewardOfTexts(snapshot)

    def latest(self) -> RewardOfTexts:
        return self._reward


class TextSnapshotFeed:
    """Follows the text snapshots of a model; each is made ready in the feed's thread, so no run waits.

    ``refused`` counts by reason what was not taken, as ``FeedOf`` does; ``other version`` is one that this
    version of TriBrain cannot read. The one in use stays.
    """

    name: ClassVar[str] = NAME

    def __init__(self, settings: Settings, model: str = "default") -> None:
        # Not at the top: most runs follow nothing, and Kafka's client takes a third of a second.
        from streams.snapshots.feed import FeedOf

        self._ready: RewardOfTexts | None = None
        self._unreadable: Counter[str] = Counter()
        self._feed = FeedOf(TextSnapshot, settings, model, on_snapshot=self._take)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def refused(self) -> dict[str, int]:
        return dict(self._unreadable + Counter(self._feed.refused))

    def latest(self) -> RewardOfTexts | None:
        """The newest model so far; None where there is none yet."""
        return self._ready

    def close(self) -> None:
        """Stop following; what ``latest`` gives stays. May be called twice."""
        self._feed.close()

    def _take(self, snapshot: TextSnapshot) -> None:
        try:
            self._ready = RewardOfTexts(snapshot)
        except BadInput as error:
            self._unreadable["other version"] += 1
            log.warning("text snapshot refused: %s", error)
