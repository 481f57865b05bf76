"""Rewards of texts for running loops: hashed n-gram models, from a file or as they are published."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from runner.interfaces import Matrix, Vector
from runner.rewards.feed_errors import FeedErrors
from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.messages.contracts import GateState, TextSnapshot
from streams.messages.files import read_reward

log = logging.getLogger(__name__)

NAME = "text_rm"
_TRY_AGAIN_S = 30.0


class RewardOfTexts:
    """One published model. Raises BadInput for a snapshot that this version cannot read."""

    def __init__(self, snapshot: TextSnapshot) -> None:
        self.version: int = snapshot.version
        self.gate: GateState = snapshot.gate
        # Imported late: numba takes half a second, and most runs have no reward of texts.
        from trainers.text.reward import NgramReward

        self._reward = NgramReward(snapshot)

    def rewards(self, goal: str, prompts: Sequence[str]) -> tuple[Vector, Matrix]:
        """Means (N,) and covariance (N, N) of the prompts' rewards, in nats."""
        return self._reward.rewards([(goal, prompt) for prompt in prompts])


class TextFileFeed:
    """The model in a ``text_reward.json``, for the whole run. Raises BadInput."""

    name: ClassVar[str] = NAME

    def __init__(self, path: Path) -> None:
        snapshot = read_reward(path)
        if not isinstance(snapshot, TextSnapshot):
            raise BadInput(
                f"{path}: is not a reward of texts; expected a file that tribrain reward train-text wrote"
            )
        self.snapshot = snapshot
        self._reward = RewardOfTexts(snapshot)

    def latest(self) -> RewardOfTexts:
        return self._reward


class TextSnapshotFeed:
    """Follows a model's text snapshots; prepares each one in the feed's thread, so no run waits.

    ``refused`` counts what was not taken, by reason, as in ``FeedOf``; ``other version`` is one that this
    version of TriBrain cannot read. The one in use stays. ``errors`` counts unexpected errors, which are
    retried; with ``silent_s`` it shows whether ``latest`` may be out of date.
    """

    name: ClassVar[str] = NAME

    def __init__(
        self, settings: Settings, model: str = "default", *, try_again_s: float = _TRY_AGAIN_S
    ) -> None:
        # Imported late: most runs follow nothing, and Kafka's client takes a third of a second.
        from streams.snapshots.feed import FeedOf

        self._ready: RewardOfTexts | None = None
        self._newest = 0
        self._is_closed = False
        self._one_at_a_time = threading.Lock()
        self._again: threading.Timer | None = None
        self._unreadable: Counter[str] = Counter()
        self._errors = FeedErrors("the reward of texts", try_again_s)
        self._feed = FeedOf(TextSnapshot, settings, model, on_snapshot=self._want)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def refused(self) -> dict[str, int]:
        return dict(self._unreadable + Counter(self._feed.refused))

    @property
    def errors(self) -> dict[str, int]:
        """Errors as in ``FeedOf.errors``, plus those while preparing models."""
        return dict(self._errors.counts + Counter(self._feed.errors))

    @property
    def silent_s(self) -> float:
        """Seconds since the broker last answered; a few are normal."""
        return self._feed.silent_s

    def latest(self) -> RewardOfTexts | None:
        """The newest model so far, or None."""
        return self._ready

    def close(self) -> None:
        """Stop following; ``latest`` keeps its value. May be called twice."""
        self._feed.close()
        with self._one_at_a_time:
            self._is_closed = True
            if self._again is not None:
                self._again.cancel()

    def _want(self, snapshot: TextSnapshot) -> None:
        with self._one_at_a_time:
            self._newest = snapshot.version
            self._take(snapshot)

    def _try_again(self, snapshot: TextSnapshot) -> None:
        with self._one_at_a_time:
            if snapshot.version == self._newest and not self._is_closed:
                self._take(snapshot)

    def _take(self, snapshot: TextSnapshot) -> None:
        try:
            self._ready = RewardOfTexts(snapshot)
        except BadInput as error:
            self._unreadable["other version"] += 1
            log.warning("text snapshot refused: %s", error)
        except Exception as error:
            pause_s = self._errors.count(error, snapshot.version)
            self._again = threading.Timer(pause_s, self._try_again, (snapshot,))
            self._again.daemon = True
            self._again.start()
            return
        self._errors.over()
