"""Means over runs with their 95% intervals, and the difference of two: what may be claimed, and what not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class GainEstimate:
    mean: float
    ci95: tuple[float, float] | None
    """95% interval; None for a single run, which shows nothing of how runs vary."""

    @property
    def is_rise(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.ci95 is not None and self.ci95[0] > 0

    @property
    def is_fall(self) -> bool:
        return self.ci95 is not None and self.ci95[1] < 0


def mean_over_runs(values: Sequence[float]) -> GainEstimate | None:
    """The mean with Student's interval, for runs independent of each other; None without values."""
    if not values:
        return None
    return _estimate(float(np.mean(values)), _error_of_mean(values), len(values) - 1)


def difference_of_means(a: Sequence[float], b: Sequence[float]) -> GainEstimate | None:
    """The mean of ``a`` minus that of ``b``, with Welch's interval (Welch 1947); None where either is empty.

    The two may differ in variance and in number of runs.
    """
    if not a or not b:
        return None
    errors = [_error_of_mean(values) for values in (a, b)]
    mean = float(np.mean(a) - np.mean(b))
    if any(error is None for error in errors):
        return GainEstimate(mean=mean, ci95=None)
    squared = [(error or 0.0) ** 2 for error in errors]
    spread = math.fsum(square**2 / (len(values) - 1) for square, values in zip(squared, (a, b), strict=True))
    freedom = math.fsum(squared) ** 2 / spread if spread else math.inf
    return _estimate(mean, math.sqrt(math.fsum(squared)), freedom)


def _error_of_mean(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def _estimate(mean: float, error: float | None, freedom: float) -> GainEstimate:
    from scipy.special import stdtrit  # a third of a second, spent only where it is needed

    if error is None:
        return GainEstimate(mean=mean, ci95=None)
    reach = (float(stdtrit(freedom, 0.975)) if math.isfinite(freedom) else 1.96) * error
    return GainEstimate(mean=mean, ci95=(mean - reach, mean + reach))
