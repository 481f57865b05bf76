"""A proportion with its confidence interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z95 = 1.959963984540054
"""A standard normal variable is within ± this with probability 95%."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A proportion k/n with its 95% interval; None if n is 0."""

    k: float
    """A whole number, unless some count half."""
    n: int

    @property
    def value(self) -> float | None:
        return self.k / self.n if self.n else None

    @property
    def ci95(self) -> tuple[float, float] | None:
        """Wilson's score interval (1927)."""
        if not self.n:
            return None
        p, z2 = self.k / self.n, Z95**2
        middle = (p + z2 / (2 * self.n)) / (1 + z2 / self.n)
        margin = Z95 / (1 + z2 / self.n) * math.sqrt(p * (1 - p) / self.n + z2 / (4 * self.n**2))
        return max(0.0, middle - margin), min(1.0, middle + margin)
