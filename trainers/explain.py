"""What a reward model has learnt, in a reader's terms: what a better score of one critic does to the odds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streams.contracts import RewardSnapshot
from trainers.features import UNIT, is_indicator

_Z95 = 1.959963984540054
"""The standard normal is within ± this with probability 95%."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One feature, all others held equal: a critic and mode, a context, or a critic within a context."""

    feature: str
    weight: float
    """As in the snapshot: nats per ``scales`` of the feature's difference."""
    odds_ratio: float
    """By what the odds of being preferred are multiplied where this score is ``step`` higher, or this
    side alone is of this context."""
    odds_ratio_ci95: tuple[float, float] | None
    """95% of the posterior; None for a point estimate."""

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves out 1, so that the direction is known."""
        return self.odds_ratio_ci95 is not None and not (
            self.odds_ratio_ci95[0] <= 1.0 <= self.odds_ratio_ci95[1]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A snapshot for people. ``effects`` begin with the strongest, in either direction."""

    model: str
    version: int
    gate: str
    statement: str
    labels: Mapping[str, int]
    evidence: Mapping[str, Any]
    """The snapshot's metrics of its gate; empty where it has none."""
    trusted: Mapping[str, Any] | None
    """Test-then-train figures on the labels of people and validators; None where there are none."""
    step: float
    effects: tuple[Effect, ...]

    @property
    def has_intervals(self) -> bool:
        return any(effect.odds_ratio_ci95 is not None for effect in self.effects)


def explain(snapshot: RewardSnapshot, step: float = UNIT) -> Explanation:
    """Every feature's effect on the odds for a ``step`` up, or for being of a context, with its interval.

    The logit is linear in the scores, so the odds change by exp(step · weight / scale), and under the
    Gaussian posterior the interval is exp(step · (weight ± 1.96 SD) / scale).
    """
    effects = [
        _effect(name, snapshot.weights[name], _sd(snapshot, row), _step(name, step) / snapshot.scales[name])
        for row, name in enumerate(snapshot.feature_names)
    ]
    return Explanation(
        model=snapshot.model,
        version=snapshot.version,
        gate=snapshot.gate,
        statement=snapshot.statement,
        labels=dict(snapshot.labels),
        evidence=dict(snapshot.metrics.get("gate") or {}),
        trusted=snapshot.metrics.get("trusted"),
        step=step,
        effects=tuple(
            sorted(effects, key=lambda effect: (-abs(math.log(effect.odds_ratio)), effect.feature))
        ),
    )


def log_odds(snapshot: RewardSnapshot) -> dict[str, float]:
    """Nats of every feature for a usual step up, or for being of a context."""
    return {
        name: weight * _step(name, UNIT) / snapshot.scales[name] for name, weight in snapshot.weights.items()
    }


def ratio_text(ratio: float) -> str:
    """Two decimals, or a power of ten where they would say nothing."""
    return f"{ratio:.2f}" if 0.01 <= ratio < 1000.0 else f"{ratio:.1e}"


def _step(name: str, step: float) -> float:
    return 1.0 if is_indicator(name) else step


def _sd(snapshot: RewardSnapshot, row: int) -> float | None:
    return math.sqrt(max(0.0, snapshot.covariance[row][row])) if snapshot.covariance else None


def _effect(name: str, weight: float, sd: float | None, steps: float) -> Effect:
    low, high = (0.0, 0.0) if sd is None else (weight - _Z95 * sd, weight + _Z95 * sd)
    return Effect(
        feature=name,
        weight=weight,
        odds_ratio=_exp(steps * weight),
        odds_ratio_ci95=None if sd is None else (_exp(steps * low), _exp(steps * high)),
    )


def _exp(logit: float) -> float:
    """e^x within what JSON can hold and a logarithm can take."""
    return math.exp(min(700.0, max(-700.0, logit)))
