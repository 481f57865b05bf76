"""The gate: a model is a shadow until it has been shown to beat the critics' mean.

Evidence is an e-process (Ramdas et al. 2023, "Game-theoretic statistics and safe anytime-valid
inference"): a gambler bets on each task that the model's log loss is lower than that of the critics' mean
with a fitted temperature. If it is not, the expected wealth never grows, so by Ville's inequality the
chance of ever reaching 20 is at most 1/20, however often one looks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from streams.contracts import GateState

OPENS_AT = 20.0
_BETS = (0.1, 0.25, 0.5, 0.9)
_CLIP = 0.25


class Gate:
    """Wealth averaged over four stakes; gains are nats per pair, clipped to ±0.25."""

    def __init__(self) -> None:
        self._log_wealth = [0.0] * len(_BETS)
        self.tasks = 0
        self.opened_at_pair: int | None = None

    def bet(self, gain: float, *, pairs_learnt: int) -> None:
        """One task: mean log loss of the critics' mean minus that of the model, predicted beforehand."""
        gain = min(_CLIP, max(-_CLIP, gain))
        self._log_wealth = [
            w + math.log1p(bet * gain) for w, bet in zip(self._log_wealth, _BETS, strict=True)
        ]
        self.tasks += 1
        if self.opened_at_pair is None and self.evidence >= OPENS_AT:
            self.opened_at_pair = pairs_learnt

    @property
    def evidence(self) -> float:
        """The gambler's mean wealth, starting at 1; capped at 1e300."""
        top = max(self._log_wealth)
        mean = math.fsum(math.exp(w - top) for w in self._log_wealth) / len(_BETS)
        return math.exp(min(690.0, top + math.log(mean)))

    @property
    def position(self) -> GateState:
        return "shadow" if self.opened_at_pair is None else "active"

    def state(self) -> dict[str, Any]:
        return {
            "log_wealth": list(self._log_wealth),
            "tasks": self.tasks,
            "opened_at_pair": self.opened_at_pair,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Gate:
        gate = cls()
        gate._log_wealth = list(state["log_wealth"])
        gate.tasks = state["tasks"]
        gate.opened_at_pair = state["opened_at_pair"]
        return gate
