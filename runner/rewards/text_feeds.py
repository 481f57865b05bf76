"""Rewards of texts for running loops: hashed n-grams, from a file or as they are published."""

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
        # Not at the top: numba takes half a second, and most runs have no reward of texts.
        from trainers.text.reward import NgramReward

        self._reward = NgramReward(snapshot)

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
    version of TriBrain cannot read. The one in use stays. ``errors`` counts what nobody expects, which is
    tried again, and with ``silent_s`` it tells whether ``latest`` can be out of date.
    """

    name: ClassVar[str] = NAME

    def __init__(
        self, settings: Settings, model: str = "default", *, try_again_s: float = _TRY_AGAIN_S
    ) -> None:
        # Not at the top: most runs follow nothing, and Kafka's client takes a third of a second.
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
        """As ``FeedOf.errors``, and those of making models ready."""
        return dict(self._errors.counts + Counter(self._feed.errors))

    @property
    def silent_s(self) -> float:
        """Seconds since the broker was last heard; some while it is there."""
        return self._feed.silent_s

    def latest(self) -> RewardOfTexts | None:
        """The newest model so far; None where there is none yet."""
        return self._ready

    def close(self) -> None:
        """Stop following; what ``latest`` gives stays. May be called twice."""
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
