"""The Bradley–Terry reward: P(a ≻ b) = σ(r(a) − r(b)) with a reward linear in its features.

Bradley & Terry (1952), "Rank analysis of incomplete block designs". Everything here takes the differences of
the two sides from ``features``. There is no intercept: with the chosen side always first, it would learn
"first wins". Differences are not centred: the mean difference is the signal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from streams.errors import BadInput
from streams.messages.checks import feature_hash
from streams.messages.contracts import OVERALL, TEXT_FEATURES, RewardSnapshot
from streams.messages.dimensions import dimension_called
from trainers.bradley_terry.features import Scores, reach_of, within_reach

Differences = Mapping[str, float]
"""Feature to a − b."""
Z95 = 1.959963984540054
"""The standard normal is within ± this with probability 95%."""


class Logit(NamedTuple):
    """What a model believes of the logit of P(a ≻ b): a normal posterior, or a point estimate."""

    mean: float
    """Mean of the logit, in nats."""
    variance: float | None
    """Variance of the logit, in nats squared; None for a point estimate."""

    @property
    def probability(self) -> float:
        """σ of the mean: P(a ≻ b) as it is served."""
        return sigmoid(self.mean)

    @property
    def ci95(self) -> tuple[float, float] | None:
        """σ of the ends of the logit's 95% interval; None for a point estimate."""
        if self.variance is None:
            return None
        margin = Z95 * math.sqrt(self.variance)
        return sigmoid(self.mean - margin), sigmoid(self.mean + margin)


def critics_mean(scores: Scores) -> float:
    """The plain mean of the scores, without texts as in the run's reward; 0 if there are none."""
    known = [s for name, s in scores.items() if s is not None and name not in TEXT_FEATURES]
    return math.fsum(known) / len(known) if known else 0.0


def prob_prefer(snapshot: RewardSnapshot, d: Differences) -> float:
    """P(a ≻ b) under a published snapshot; 0.5 if the differences have no feature that the model knows.

    Adds terms in the order of ``trainers.bradley_terry.kernels.predict_rows``, the learner's own predictions.
    """
    logit = 0.0
    for name in snapshot.feature_names:
        if name in d:
            scale = snapshot.scales[name]
            logit += _counted(d[name], name, scale) * (snapshot.weights[name] / scale)
    return sigmoid(logit)


def logit_of_mean(snapshot: RewardSnapshot, several: Sequence[Differences]) -> Logit:
    """The mean logit of several comparisons, at least one, with their common uncertainty.

    For comparisons of a with each of n others, it is how far a is above them on average. The logit is linear
    in the weights, so its mean is the logit of the mean of the limited differences.
    """
    mean_z = [
        math.fsum(_counted(d[name], name, scale) for d in several if name in d) / (scale * len(several))
        for name, scale in ((name, snapshot.scales[name]) for name in snapshot.feature_names)
    ]
    weights = [snapshot.weights[name] for name in snapshot.feature_names]
    return Logit(
        math.fsum(z * weight for z, weight in zip(mean_z, weights, strict=True)),
        _variance(snapshot, mean_z) if snapshot.covariance else None,
    )


def confidence(snapshot: RewardSnapshot, d: Differences) -> float:
    """How far the model can vouch for its preference between a and b, in [0, 1].

    ``shrinkage``: the fraction of the logit that remains after averaging over the uncertainty of the weights.
    1 for a point estimate.
    """
    if not snapshot.covariance:
        return 1.0
    scales = snapshot.scales
    z = [_counted(d.get(name, 0.0), name, scales[name]) / scales[name] for name in snapshot.feature_names]
    return shrinkage(_variance(snapshot, z))


def _variance(snapshot: RewardSnapshot, z: Sequence[float]) -> float:
    """zᵀ Σ z, in nats squared, of differences z (d,) in the units of the weights."""
    variance = math.fsum(
        z_row * math.fsum(value * z_column for value, z_column in zip(row, z, strict=True))
        for z_row, row in zip(z, snapshot.covariance, strict=True)
    )
    return max(0.0, variance)


def _counted(difference: float, name: str, scale: float) -> float:
    """A feature's difference, limited, per unit; 0 if it is too large to be a measurement."""
    counted = within_reach(difference, reach_of(name) * scale)
    return 0.0 if math.isnan(counted) else counted


def shrinkage(variance: float) -> float:
    """1/√(1 + πv/8): factor on the mean of a Gaussian logit with this variance, in nats squared.

    MacKay (1992), "The evidence framework applied to classification networks".
    """
    return 1.0 / math.sqrt(1.0 + math.pi * variance / 8.0)


def prob_of_gaussian(mean: float, variance: float) -> float:
    """σ(μ/√(1 + πv/8)), approximately the mean of σ over a Gaussian logit; nats and nats squared."""
    return sigmoid(mean * shrinkage(variance))


def sigmoid(logit: float) -> float:
    """σ(x) = 1/(1 + e^−x), exact in both tails."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    return math.exp(logit) / (1.0 + math.exp(logit))


def reward_on(snapshot: RewardSnapshot, dimension: str) -> RewardSnapshot:
    """The reward of one dimension as a snapshot; the overall one comes without the dimensions.

    Raises BadInput if nothing was learnt on the dimension.
    """
    dimension = dimension_called(dimension)
    if not dimension:
        return replace(snapshot, dimensions={})
    found = snapshot.dimensions.get(dimension)
    if found is None:
        known = ", ".join([OVERALL, *snapshot.dimensions])
        raise BadInput(
            f"model {snapshot.model!r} has learnt nothing on the dimension {dimension!r}; it knows {known}"
        )
    names = found.feature_names
    return replace(
        snapshot,
        gate=found.gate,
        statement=found.statement,
        feature_names=names,
        feature_hash=feature_hash(names),
        weights=dict(zip(names, found.weights, strict=True)),
        scales=dict(zip(names, found.scales, strict=True)),
        covariance=found.covariance,
        labels=found.labels,
        metrics=found.metrics,
        references=found.references,
        tie_nu=found.tie_nu,
        dimensions={},
    )


def printable(dimension: str) -> str:
    """The dimension's name on one line, with a replacement for each unprintable character."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in dimension)


def statements(snapshot: RewardSnapshot, wanted: Iterable[str] = ()) -> list[str]:
    """The statement of each reward: the overall one, then every dimension that is known or wanted."""
    unknown = [name for name in wanted if name != OVERALL and name not in snapshot.dimensions]
    return [
        snapshot.statement,
        *(f"On {printable(name)}: {reward.statement}" for name, reward in snapshot.dimensions.items()),
        *(f"On {printable(name)}: nothing was learnt yet, so it moves nothing." for name in unknown),
    ]
