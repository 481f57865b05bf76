"""LoRA text rewards for running loops: the newest adapter of a model, swapped in without a pause.

Slow work (the broker, the store, loading the base model, reading and checking tensors) happens in the feed's
threads. ``latest`` only returns the newest adapter that is ready.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from runner.interfaces import Matrix, Vector
from runner.rewards.feed_errors import FeedErrors
from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.messages.contracts import AdapterSnapshot, GateState
from streams.snapshots.artifacts import ArtifactError, StoreAway, fetch
from trainers.extras import require_extra

if TYPE_CHECKING:
    # PyTorch is an extra, imported only if an adapter is used.
    from trainers.lora.adapter import Adapter
    from trainers.lora.scorer import AdapterScorer

log = logging.getLogger(__name__)

NAME = "lora_rm"
_TRY_AGAIN_S = 30.0


@dataclass(slots=True)
class AdapterReward:
    """One adapter on the shared base model. Its scores never change, whatever adapters come later."""

    version: int
    gate: GateState
    _scorer: AdapterScorer
    _adapter: Adapter

    def rewards(self, goal: str, prompts: Sequence[str]) -> tuple[Vector, Matrix]:
        """Means (N,) and covariance (N, N) of the prompts' rewards, in nats; only differences matter.

        The covariance is that of the differences from the bare goal's reward. It comes from the head's
        posterior if the adapter has one (see ``trainers.lora.uncertainty``), else it is a constant derived
        from the adapter's held-out log loss. Thread-safe.
        """
        return self._scorer.rewards_of(self._adapter, goal, prompts)


class LocalAdapter:
    """The adapter in a folder, for the whole run. Its user chose it, so it is active."""

    def __init__(self, folder: Path, *, base: str | None = None) -> None:
        """Loads the base model. Raises BadInput if the folder or the base cannot be used."""
        require_extra("lora")
        from trainers.lora.adapter import read_adapter
        from trainers.lora.scorer import AdapterScorer

        self.name = NAME
        adapter = read_adapter(folder)
        self._reward = AdapterReward(
            adapter.reward.version, "active", AdapterScorer(adapter, base=base), adapter
        )

    def latest(self) -> AdapterReward:
        return self._reward


class AdapterFeed:
    """Follows the adapters of a model on the snapshots topic.

    An active adapter stays in use when a shadow arrives; a shadow is used only if there is no active one.
    ``base`` is the base model's path, if the adapter's own is not to be used. ``cache`` holds fetched
    adapters by the hash of their files. ``refused`` counts what was not taken, by reason: for snapshots as in
    ``FeedOf``, for adapters ``damaged``, ``missing``, ``store away`` (retried) and ``unfit`` (for another
    base or shape, or the extra's packages are missing). The one in use stays. ``errors`` counts unexpected
    errors, which are retried too; with ``silent_s`` it shows whether ``latest`` may be out of date.
    """

    def __init__(
        self,
        settings: Settings,
        model: str = "default",
        *,
        cache: Path,
        base: str | None = None,
        try_again_s: float = _TRY_AGAIN_S,
    ) -> None:
        # Imported late: an adapter from a folder needs no Kafka client.
        from streams.snapshots.feed import FeedOf

        self.name = NAME
        self._cache, self._base, self._try_again_s = cache, base, try_again_s
        self._refused: Counter[str] = Counter()
        self._errors = FeedErrors("the adapter", try_again_s)
        self._scorer: AdapterScorer | None = None
        self._ready: AdapterReward | None = None
        self._wanted: AdapterSnapshot | None = None
        self._changed = threading.Condition()
        self._closing = False
        self._feed = FeedOf(AdapterSnapshot, settings, model, on_snapshot=self._want)
        self._thread = threading.Thread(target=self._work, name="adapters", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def refused(self) -> dict[str, int]:
        return dict(self._refused + Counter(self._feed.refused))

    @property
    def errors(self) -> dict[str, int]:
        """Errors as in ``FeedOf.errors``, plus those while preparing adapters."""
        return dict(self._errors.counts + Counter(self._feed.errors))

    @property
    def silent_s(self) -> float:
        """Seconds since the broker last answered; a few are normal."""
        return self._feed.silent_s

    def latest(self) -> AdapterReward | None:
        """The newest adapter that is ready, or None. Never waits."""
        return self._ready

    def close(self, timeout_s: float = 2.0) -> None:
        """Stop following; ``latest`` keeps its value. May be called twice."""
        self._feed.close()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _want(self, snapshot: AdapterSnapshot) -> None:
        """Runs in the snapshots' thread: only the newest snapshot counts."""
        with self._changed:
            self._wanted = snapshot
            self._changed.notify_all()

    def _work(self) -> None:
        done: AdapterSnapshot | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda done=done: self._closing or self._wanted is not done)  # type: ignore[misc]
                if self._closing:
                    return
                snapshot = self._wanted
            assert snapshot is not None
            pause_s = self._take(snapshot)
            if pause_s is None:
                done = snapshot
            else:
                with self._changed:
                    self._changed.wait_for(
                        lambda tried=snapshot: self._closing or self._wanted is not tried,  # type: ignore[misc]
                        pause_s,
                    )

    def _take(self, snapshot: AdapterSnapshot) -> float | None:
        """Seconds until another try is worthwhile; None if it is not."""
        try:
            self._use(snapshot)
        except StoreAway as error:
            self._refuse(error.reason, snapshot, error)
            return self._try_again_s
        except ArtifactError as error:
            self._refuse(error.reason, snapshot, error)
        except BadInput as error:
            self._refuse("unfit", snapshot, error)
        except Exception as error:  # a foreign adapter or base can raise anything
            return self._errors.count(error, snapshot.version)
        self._errors.over()
        return None

    def _refuse(self, reason: str, snapshot: AdapterSnapshot, error: BadInput) -> None:
        self._refused[reason] += 1
        log.warning("adapter of snapshot %d refused (%s): %s", snapshot.version, reason, error)

    def _use(self, snapshot: AdapterSnapshot) -> None:
        require_extra("lora")
        from trainers.lora.adapter import read_adapter
        from trainers.lora.scorer import AdapterScorer

        version, uri, files, gate = _chosen(snapshot)
        ready = self._ready
        if ready is not None and (ready.version, ready.gate) == (version, gate):
            return
        try:
            adapter = read_adapter(fetch(uri, files, self._cache))
        except ArtifactError:
            raise
        except BadInput as error:
            raise ArtifactError(str(error)) from None
        if self._scorer is None:
            self._scorer = AdapterScorer(adapter, base=self._base)
        self._scorer.check(adapter)
        self._ready = AdapterReward(version, gate, self._scorer, adapter)


def _chosen(snapshot: AdapterSnapshot) -> tuple[int, str, dict[str, dict[str, Any]], GateState]:
    """Version, URI, files and gate of the adapter that the snapshot selects."""
    stated = snapshot.in_force
    if snapshot.gate == "active" or not stated:
        return snapshot.version, snapshot.uri, snapshot.files, snapshot.gate
    try:
        return int(stated["version"]), str(stated["uri"]), dict(stated["files"]), "active"
    except (KeyError, TypeError, ValueError):
        raise ArtifactError("the adapter in force is not described; train the model again") from None
