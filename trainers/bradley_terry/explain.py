"""What a reward model has learnt, for readers: how a better score of one critic changes the odds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streams.messages.contracts import RewardSnapshot
from streams.messages.feature_names import is_indicator
from trainers.bradley_terry.features import UNIT
from trainers.bradley_terry.reward import Z95
from trainers.bradley_terry.ties import tie_probability


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The effect of one feature, all others equal: a critic and mode, a context, or a critic in a context."""

    feature: str
    """Its name: ``critic.mode``, ``@context=value``, or both joined."""
    weight: float
    """As in the snapshot: nats per ``scales`` of the feature's difference. A context's is not compared with
    others of its kind, so ``odds_ratio`` is what to show."""
    weight_ci95: tuple[float, float] | None
    """95% of the posterior; None for a point estimate."""
    odds_ratio: float
    """Factor on the odds of being preferred if this score is ``step`` higher, or if one side has this context
    and the other is the average of its kind."""
    odds_ratio_ci95: tuple[float, float] | None
    """95% posterior interval; None for a point estimate."""

    @property
    def is_sure(self) -> bool:
        """Whether the interval excludes 1, so that the direction is known."""
        return self.odds_ratio_ci95 is not None and not (
            self.odds_ratio_ci95[0] <= 1.0 <= self.odds_ratio_ci95[1]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a reward has learnt, for people."""

    model: str
    """The reward model's name."""
    version: int
    """Grows with what is learnt."""
    gate: str
    """``active`` once it is shown to beat the critics' mean; ``shadow`` before."""
    statement: str
    """What it was made of and whether it may steer, in a sentence."""
    labels: Mapping[str, int]
    """Number of pairs by who labelled them."""
    evidence: Mapping[str, Any]
    """The snapshot's metrics of its gate; may be empty."""
    trusted: Mapping[str, Any] | None
    """Test-then-train figures on the labels of people and validators; None without such labels."""
    ties_of_equals: float
    """P that people find neither better of two candidates with equal rewards; 0 if no tie was learnt."""
    references: Mapping[str, str]
    """The value of each shared context to which the critics' own effects apply; other values add to them."""
    step: float
    """How much higher a score is in ``odds_ratio``, in the critic's own unit."""
    effects: tuple[Effect, ...]
    """Strongest first, in either direction."""

    @property
    def has_intervals(self) -> bool:
        """Whether the effects have intervals, which those of a point estimate do not."""
        return any(effect.odds_ratio_ci95 is not None for effect in self.effects)


def explain(snapshot: RewardSnapshot, step: float = UNIT) -> Explanation:
    """Every feature's effect on the odds, for a ``step`` up or for having a context, with its interval.

    The logit is linear in the scores, so the odds change by exp(step · weight / scale), and under the
    Gaussian posterior the interval is exp(step · (weight ± 1.96 SD) / scale).
    """
    effects = [_effect(snapshot, name, _contrast(snapshot, name), step) for name in snapshot.feature_names]
    return Explanation(
        model=snapshot.model,
        version=snapshot.version,
        gate=snapshot.gate,
        statement=snapshot.statement,
        labels=dict(snapshot.labels),
        evidence=dict(snapshot.metrics.get("gate") or {}),
        trusted=snapshot.metrics.get("trusted"),
        ties_of_equals=tie_probability(0.0, snapshot.tie_nu),
        references=dict(snapshot.references),
        step=step,
        effects=tuple(
            sorted(effects, key=lambda effect: (-abs(math.log(effect.odds_ratio)), effect.feature))
        ),
    )


def ratio_text(ratio: float) -> str:
    """Two decimals, or scientific notation outside [0.01, 1000)."""
    return f"{ratio:.2f}" if 0.01 <= ratio < 1000.0 else f"{ratio:.1e}"


def _contrast(snapshot: RewardSnapshot, name: str) -> dict[str, float]:
    """The weights, with their factors, that make up the effect.

    Pairs show how arms or generators differ, not how good they all are. So each is compared with the mean of
    its kind.
    """
    kind = name.partition("=")[0] + "="
    alike = [other for other in snapshot.feature_names if is_indicator(name) and other.startswith(kind)]
    if len(alike) < 2:
        return {name: 1.0}
    return {other: (other == name) - 1.0 / len(alike) for other in alike}


def _effect(snapshot: RewardSnapshot, name: str, contrast: Mapping[str, float], step: float) -> Effect:
    steps = (1.0 if is_indicator(name) else step) / snapshot.scales[name]
    weight = math.fsum(share * snapshot.weights[other] for other, share in contrast.items())
    ci95 = weight_ci95 = None
    if snapshot.covariance:
        rows = {other: snapshot.feature_names.index(other) for other in contrast}
        variance = math.fsum(
            contrast[a] * contrast[b] * snapshot.covariance[rows[a]][rows[b]]
            for a in contrast
            for b in contrast
        )
        margin = Z95 * math.sqrt(max(0.0, variance))
        ci95 = _exp(steps * (weight - margin)), _exp(steps * (weight + margin))
        own, at = snapshot.weights[name], rows[name]
        own_margin = Z95 * math.sqrt(max(0.0, snapshot.covariance[at][at]))
        weight_ci95 = own - own_margin, own + own_margin
    return Effect(
        feature=name,
        weight=snapshot.weights[name],
        weight_ci95=weight_ci95,
        odds_ratio=_exp(steps * weight),
        odds_ratio_ci95=ci95,
    )


def _exp(logit: float) -> float:
    """e^x, limited to what JSON can hold and a logarithm can take."""
    return math.exp(min(700.0, max(-700.0, logit)))
