"""What predictions of a pair cost, and what one prediction gains over another; in nats.

Plain functions, which the kernels compile.
"""

from __future__ import annotations

import math
from typing import NamedTuple

LEAST_PROBABILITY = 0.05
"""ε: bounds what a label that was thought impossible costs. Chosen on five sets of human preferences."""


def log_loss(probability: float) -> float:
    """−ln p of what happened, with p kept 1e-12 away from 0; nats."""
    return -math.log(max(probability, 1e-12))


class Gain(NamedTuple):
    """By how many nats per pair the model predicted a task better than its reference, and the bounds of that.

    The predictions set ``least`` (at most 0) and ``most`` (at least 0), whatever the labels.
    """

    mean: float
    least: float
    most: float

    def check(self) -> None:
        """Raises ValueError where it is not within its bounds."""
        slack = 1e-9 * (self.most - self.least) + 1e-12
        if (
            not self.least - slack <= self.mean <= self.most + slack
            or self.least > slack
            or self.most < -slack
        ):
            raise ValueError(f"a gain of {self.mean} is not within {self.least} and {self.most}, around 0")


def gain_of_pair(p: float, p_reference: float) -> Gain:
    """Of one pair, to whose label the model gave ``p`` and the reference ``p_reference``."""
    p = min(1.0 - LEAST_PROBABILITY, max(LEAST_PROBABILITY, p))
    p_reference = min(1.0 - LEAST_PROBABILITY, max(LEAST_PROBABILITY, p_reference))
    gain = math.log(p / p_reference)
    otherwise = math.log((1.0 - p) / (1.0 - p_reference))
    return Gain(gain, min(gain, otherwise), max(gain, otherwise))
