"""What the loop is made of: anything that keeps these promises can take part in it."""

from __future__ import annotations

from collections.abc import Sequence
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
    """The world model made no usable video; the message says why. The run goes on without the candidate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One generated video, and what is known of it without looking at it."""

    video: Path
    outcome: dict[str, Any] | None = None
    """A judgement ``{"score": in [0, 1], "source": text}`` by a validator or a person, where there is one."""
    meta: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    """What sets it apart from the run's other videos and may be weighed: texts, and numbers like ``cost``."""


class WorldModel(Protocol):
    """Prompt and seed in, video out."""

    name: str

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        """Write one video into ``out_dir`` (which exists). Raises GenerationFailed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One video that is wanted: what ``WorldModel.generate`` takes."""

    prompt: str
    seed: int
    out_dir: Path


@runtime_checkable
class BatchWorldModel(WorldModel, Protocol):
    """A world model that makes several videos at once: in parallel, or loaded only once for all."""

    def generate_all(self, requests: Sequence[GenerationRequest]) -> list[Generation | GenerationFailed]:
        """One result for each request, in their order; a request that failed costs no other."""
        ...


class Critic(Protocol):
    """Measures one aspect of a decoded video; blind to everything else."""

    name: str

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        """Scores in [0, 1] per failure mode, 1 is best; null where it does not apply, which it says.

        See ``streams.messages.no_score``. That the thing it looks for is gone is bad, and scored.
        """
        ...


class Judgement(Protocol):
    """What a critic is finding out about one video."""

    def result(self) -> CriticResult:
        """Wait for it. A critic that failed, or was too slow, gave no score, and the result says why."""
        ...

    def stop(self) -> None:
        """Leave nothing behind; what is still at work is ended. Called once, and last."""
        ...


@runtime_checkable
class VideoCritic(Protocol):
    """Judges a video file beside the prompt that it was made from; several may be at work at a time."""

    name: str

    def begin(self, video: Path, *, prompt: str, goal: str) -> Judgement:
        """Begin to judge ``video``, and return at once."""
        ...


AnyCritic = Critic | VideoCritic


class EventSink(Protocol):
    """Takes trace events without ever blocking an iteration."""

    def push(self, event: TraceEvent | RunEnd) -> None: ...


class RewardFeed(Protocol):
    """The newest reward snapshot, at once or not at all."""

    def latest(self) -> RewardSnapshot | None: ...


class TextReward(Protocol):
    """A reward of prompts, fixed at one moment."""

    @property
    def version(self) -> int: ...

    @property
    def gate(self) -> GateState: ...

    def rewards(self, goal: str, prompts: Sequence[str]) -> tuple[Vector, Matrix]:
        """Means (N,) and covariance (N, N) of the prompts' rewards, in nats; differences alone count.

        Prompts that share most of their words are unsure together, which says little of which is better.
        """
        ...


class TextRewardFeed(Protocol):
    """The newest reward of prompts, at once or not at all."""

    @property
    def name(self) -> str:
        """Of the critic that its scores are recorded as."""
        ...

    def latest(self) -> TextReward | None: ...
