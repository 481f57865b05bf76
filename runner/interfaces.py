"""The interfaces of the loop's parts: any object that implements one can take part."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from streams.messages.contracts import CriticResult, GateState, RewardSnapshot, RunEnd, TraceEvent

Frames = NDArray[np.uint8]
"""Decoded RGB frames, shape (T, H, W, 3)."""
Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


class GenerationFailed(Exception):
    """The world model made no usable video; the message says why. The run continues without the candidate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One generated video, and what is known about it without opening it."""

    video: Path
    """The file that was written, in the folder that ``generate`` was given."""
    outcome: dict[str, Any] | None = None
    """A judgement ``{"score": in [0, 1], "source": text}`` by a validator or a person, if there is one."""
    meta: dict[str, Any] = field(default_factory=dict)
    """JSON values, which the trace keeps as ``meta["generation"]``."""
    context: dict[str, Any] = field(default_factory=dict)
    """Possible features that distinguish it from the run's other videos: texts, and numbers like ``cost``."""


class WorldModel(Protocol):
    """Prompt and seed in, video out."""

    name: str
    """Its name in the trace."""

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        """Write one video of the ``prompt`` into the folder ``out_dir``, which exists.

        ``seed`` is a whole number of at least 0: the same prompt and seed should give the same video. Raises
        GenerationFailed where there is no usable video.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """The arguments of ``WorldModel.generate`` for one video."""

    prompt: str
    seed: int
    out_dir: Path


@runtime_checkable
class BatchWorldModel(WorldModel, Protocol):
    """A world model that makes several videos at once: in parallel, or with a single loading of the model."""

    def generate_all(
        self, requests: Sequence[GenerationRequest], *, failures: FailuresInARow | None = None
    ) -> list[Generation | GenerationFailed]:
        """One result per request, in order; a failed request does not affect the others.

        After too many ``failures`` in a row, what has not begun yet is not tried; by default, all is.
        """
        ...


class FailuresInARow:
    """Counts a step's failed generations in a row, at most ``most``; None for any number.

    ``before`` is how many candidates failed in a row before the step; one is tried in any case. Threads that
    each make a part of the step may share it; "in a row" is then as they end.
    """

    def __init__(self, most: int | None = None, before: int = 0) -> None:
        self._most = most
        self._failed = before if most is None else min(before, most - 1)
        self._last = ""
        self._lock = threading.Lock()

    def add(self, made: Iterable[Generation | GenerationFailed]) -> None:
        with self._lock:
            for one in made:
                has_failed = isinstance(one, GenerationFailed)
                self._failed = self._failed + 1 if has_failed else 0
                self._last = str(one) if has_failed else ""

    def refusal(self) -> GenerationFailed | None:
        """The failure of a generation that is not tried, once there are too many failures; else None."""
        with self._lock:
            if self._most is None or self._failed < self._most:
                return None
            return GenerationFailed(f"not tried, as those before it failed, at last: {self._last}")


class Critic(Protocol):
    """Measures one aspect of a decoded video, and nothing else."""

    name: str
    """The name of its scores; no other critic of the run has it."""

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        """Scores in [0, 1] per failure mode, 1 is best; None where the critic gives none.

        ``frames`` (T, H, W, 3) are the whole video in RGB, at ``fps`` frames per second. ``goal`` is what the
        run is for, not the rewritten prompt. Why a score is None stands in the result's ``extra`` as
        ``no_score``: ``does_not_apply``, ``not_seen`` (what the goal names is nowhere in the video) or
        ``failed``. If the thing that it looks for vanishes, that is bad, and scored.
        """
        ...


class Judgement(Protocol):
    """A judgement of one video, in progress."""

    def result(self) -> CriticResult:
        """Wait for the result. If the critic failed or was too slow, it has no score and says why."""
        ...

    def stop(self) -> None:
        """End what is still running and clean up. Called once, and last."""
        ...


@runtime_checkable
class VideoCritic(Protocol):
    """Judges a video file, given the prompt that it was made from; can judge several videos at a time."""

    name: str
    """The name of its scores; no other critic of the run has it."""

    def begin(self, video: Path, *, prompt: str, goal: str) -> Judgement:
        """Start to judge the file ``video``, made from ``prompt`` for the run's ``goal``; return at once."""
        ...


AnyCritic = Critic | VideoCritic
"""A critic of either kind: of decoded frames, or of the file."""


class EventSink(Protocol):
    """Takes trace events without ever blocking an iteration."""

    def push(self, event: TraceEvent | RunEnd) -> None: ...


class SnapshotSource(Protocol):
    """The newest reward snapshot, or None, without waiting."""

    def latest(self) -> RewardSnapshot | None: ...


class TextReward(Protocol):
    """A reward of prompts, fixed at one point in time."""

    @property
    def version(self) -> int: ...

    @property
    def gate(self) -> GateState: ...

    def rewards(self, goal: str, prompts: Sequence[str]) -> tuple[Vector, Matrix]:
        """Means (N,) and covariance (N, N) of the prompts' rewards, in nats; only differences matter.

        Prompts that share most of their words have correlated errors, so their difference is better known.
        """
        ...


class TextRewardFeed(Protocol):
    """The newest reward of prompts, or None, without waiting."""

    @property
    def name(self) -> str:
        """Name of the critic that its scores are recorded as."""
        ...

    def latest(self) -> TextReward | None: ...
