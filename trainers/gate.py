"""The gate: a model is a shadow until it has been shown to beat the critics' mean.

Evidence is an e-process (Ramdas et al. 2023, "Game-theoretic statistics and safe anytime-valid
inference"): a gambler bets on each task that the model's log loss is lower than that of the critics' mean
with a fitted temperature. If it is not, the expected wealth never grows, so by Ville's inequality the
chance of ever reaching 20 is at most 1/20, however often one looks. Once the gate is open, a second gambler
bets on the opposite; strong evidence for that, or a drift alarm, closes the gate, and both begin anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from streams.messages.contracts import GateState

OPENS_AT = 20.0
CLOSES_AT = 1_000.0
"""Of a gambler who may start again from even at any time (a CUSUM), so more is asked than for opening."""
_BETS = (0.1, 0.25, 0.5, 0.9)
_CLIP = 0.25


class Gate:
    """Wealth averaged over four stakes; gains are nats per pair, clipped to ±0.25."""

    def __init__(self) -> None:
        self._log_wealth = [0.0] * len(_BETS)
        self._against = [0.0] * len(_BETS)
        self.tasks = 0
        self.opened_at_pair: int | None = None
        self.closed_times = 0

    def bet(self, gain: float, *, pairs_learnt: int) -> None:
        """One task: mean log loss of the critics' mean minus that of the model, predicted beforehand."""
        gain = min(_CLIP, max(-_CLIP, gain))
        self.tasks += 1
        self._log_wealth = _grown(self._log_wealth, gain)
        if self.opened_at_pair is None:
            if self.evidence >= OPENS_AT:
                self.opened_at_pair = pairs_learnt
            return
        # Never below even, so that gains of long ago do not hide the losses of today.
        self._against = [max(0.0, wealth) for wealth in _grown(self._against, -gain)]
        if _mean_wealth(self._against) >= CLOSES_AT:
            self.close()

    def close(self) -> None:
        """Back to a shadow; evidence is gathered anew."""
        self.closed_times += self.opened_at_pair is not None
        self.opened_at_pair = None
        self._log_wealth = [0.0] * len(_BETS)
        self._against = [0.0] * len(_BETS)

    @property
    def evidence(self) -> float:
        """The gambler's mean wealth, starting at 1; capped at 1e300."""
        return _mean_wealth(self._log_wealth)

    @property
    def position(self) -> GateState:
        return "shadow" if self.opened_at_pair is None else "active"

    def state(self) -> dict[str, Any]:
        return {
            "log_wealth": list(self._log_wealth),
            "against": list(self._against),
            "tasks": self.tasks,
            "opened_at_pair": self.opened_at_pair,
            "closed_times": self.closed_times,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Gate:
        gate = cls()
        gate._log_wealth = list(state["log_wealth"])
        gate._against = list(state["against"])
        gate.tasks = state["tasks"]
        gate.opened_at_pair = state["opened_at_pair"]
        gate.closed_times = state["closed_times"]
        return gate


def _grown(log_wealth: list[float], gain: float) -> list[float]:
    return [w + math.log1p(bet * gain) for w, bet in zip(log_wealth, _BETS, strict=True)]


def _mean_wealth(log_wealth: list[float]) -> float:
    top = max(log_wealth)
    mean = math.fsum(math.exp(w - top) for w in log_wealth) / len(log_wealth)
    return math.exp(min(690.0, top + math.log(mean)))
