"""Losses of predictions of a pair, and the gain of one prediction over another; in nats.

Plain functions, which the kernels compile.
"""

from __future__ import annotations

import math
from typing import NamedTuple

LEAST_PROBABILITY = 0.05
"""ε: limits the loss of a label that was thought impossible. Chosen on five sets of human preferences."""


def log_loss(probability: float) -> float:
    """−ln p of the observed label, with p kept at least 1e-12 from 0; nats."""
    return -math.log(max(probability, 1e-12))


class Gain(NamedTuple):
    """Nats per pair by which the model predicted a task better than its reference, with bounds.

    The predictions determine ``least`` (at most 0) and ``most`` (at least 0), whatever the labels.
    """

    mean: float
    least: float
    most: float

    def check(self) -> None:
        """Raises ValueError if the gain is not within its bounds."""
        slack = 1e-9 * (self.most - self.least) + 1e-12
        if (
            not self.least - slack <= self.mean <= self.most + slack
            or self.least > slack
            or self.most < -slack
        ):
            raise ValueError(f"a gain of {self.mean} is not within {self.least} and {self.most}, around 0")


def gain_of_pair(p: float, p_reference: float) -> Gain:
    """Gain on one pair, whose label has probability ``p`` (model) and ``p_reference`` (reference)."""
    p = min(1.0 - LEAST_PROBABILITY, max(LEAST_PROBABILITY, p))
    p_reference = min(1.0 - LEAST_PROBABILITY, max(LEAST_PROBABILITY, p_reference))
    gain = math.log(p / p_reference)
    otherwise = math.log((1.0 - p) / (1.0 - p_reference))
    return Gain(gain, min(gain, otherwise), max(gain, otherwise))
