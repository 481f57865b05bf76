"""The gate: a model is a shadow until it has been shown to beat the critics' mean.

Evidence is an e-process (Ramdas et al. 2023, "Game-theoretic statistics and safe anytime-valid
inference"): a gambler bets on each task that the model's log loss is lower than that of the critics' mean
with a fitted temperature. Both losses use probabilities clipped to [ε, 1 − ε].

The null hypothesis: for each task, given all that came before its labels and which of them are ties, the
expected mean of this gain over its labelled pairs that are no ties is at most 0. A stake is chosen before the
labels, so that the worst possible labels leave a tenth of the wealth; the predictions determine the least
possible gain, so it is known in time. Hence under the null the wealth is a nonnegative supermartingale. By
Ville's inequality the chance of ever reaching 20 is at most 1/20, however often one checks and whatever the
distribution of the gains.

Once the gate is open, a second gambler bets on the opposite. Strong evidence for that closes the gate, as
does a drift alarm, or a wealth that has fallen to 1/20. Then both start over, so each opening after the first
has its own error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from streams.messages.contracts import GateState
from trainers.bradley_terry.losses import Gain

OPENS_AT = 20.0
CLOSES_AT = 1_000.0
"""Evidence for closing. Its gambler may restart from 1 at any time (a CUSUM), so it needs more."""
_STAKES = (0.5, 1.0, 2.0, 4.0)
"""The gamblers' stakes per nat. The best stake depends on the size of the gains."""
_AT_RISK = 0.9
"""Fraction of the wealth that one task may cost."""


class Gate:
    """The mean wealth of four gamblers with different stakes, starting at 1."""

    def __init__(self) -> None:
        self._log_wealth = [0.0] * len(_STAKES)
        self._against = [0.0] * len(_STAKES)
        self.tasks = 0
        self.opened_at_pair: int | None = None
        self.closed_times = 0

    def bet(self, gain: Gain, *, pairs_learnt: int) -> None:
        """Bet on one task. Raises ValueError for a gain outside its bounds, because no bet on it is fair."""
        gain.check()
        self.tasks += 1
        self._log_wealth = _grown(self._log_wealth, gain.mean, -gain.least)
        if self.opened_at_pair is None:
            if self.evidence >= OPENS_AT:
                self.opened_at_pair = pairs_learnt
            return
        # Never below 1, so that old gains do not hide current losses.
        against = _grown(self._against, -gain.mean, gain.most)
        self._against = [max(0.0, wealth) for wealth in against]
        if _mean_wealth(self._against) >= CLOSES_AT or self.evidence <= 1.0 / OPENS_AT:
            self.close()

    def close(self) -> None:
        """Become a shadow again; the evidence starts over.

        A shadow loses its gains but keeps its losses; otherwise an alarm would be a second chance.
        """
        if self.opened_at_pair is None:
            self._log_wealth = [min(0.0, wealth) for wealth in self._log_wealth]
            return
        self.closed_times += 1
        self.opened_at_pair = None
        self._log_wealth = [0.0] * len(_STAKES)
        self._against = [0.0] * len(_STAKES)

    @property
    def evidence(self) -> float:
        """The gamblers' mean wealth; capped at 1e300."""
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


def _grown(log_wealth: list[float], gain: float, worst_loss: float) -> list[float]:
    most = _AT_RISK / worst_loss if worst_loss > 0.0 else math.inf
    stakes = [min(stake, most) for stake in _STAKES]
    return [wealth + math.log1p(stake * gain) for wealth, stake in zip(log_wealth, stakes, strict=True)]


def _mean_wealth(log_wealth: list[float]) -> float:
    top = max(log_wealth)
    mean = math.fsum(math.exp(w - top) for w in log_wealth) / len(log_wealth)
    return math.exp(min(690.0, top + math.log(mean)))
