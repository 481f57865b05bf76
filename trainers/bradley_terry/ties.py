"""Ties: labels that find neither of two candidates better.

Davidson (1970), "On extending the Bradley–Terry model to accommodate ties in paired comparison experiments":
with the logit s of P(a ≻ b), given that it is no tie,

    P(a ≻ b) : P(tie) : P(b ≻ a)  =  e^{s/2} : ν : e^{−s/2}.

ν is 0 until the first tie is learnt, which gives the plain Bradley–Terry model. A tie teaches that two
candidates are close, and any other label that they are not. The frequency of ties is learnt too: ln ν, by
Newton steps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from streams.messages.limits import MAX_TIE_NU

if TYPE_CHECKING:
    from trainers.compiled import Array

LEAST_NU = 1.0 / MAX_TIE_NU
NU, INFORMATION, DECIDED, TIES = range(4)
"""Fields of the state (4,): ν, the information on ln ν, and the total weights of ties and other labels."""
_MOST_INFORMATION = 250.0
"""The information of a thousand pairs of equal candidates. The limit lets ν follow people who change."""


class Derivatives(NamedTuple):
    """Derivatives of a label's log probability by the logit s: the first, and minus the second."""

    gradient: float
    information: float


def tie_probability(logit: float, nu: float) -> float:
    """P(tie) of two candidates."""
    r = math.exp(-0.5 * abs(logit))
    return nu * r / (1.0 + r * r + nu * r)


def step_with_ties(logit: float, nu: float, tie: bool) -> Derivatives:
    """The derivatives for a tie, or for a preferred first side where ties are possible."""
    r = math.exp(-0.5 * abs(logit))
    total = 1.0 + r * r + nu * r
    mean = math.copysign((1.0 - r * r) / total, logit)
    decided = (1.0 + r * r) / total
    return Derivatives(-0.5 * mean if tie else 0.5 * (1.0 - mean), 0.25 * (decided - mean * mean))


def learn_nu(state: Array, p_tie: float, tie: bool, weight: float) -> None:
    """Learns from a label whose tie probability was ``p_tie``; changes ``state`` (4,) in place."""
    if weight == 0.0:
        return
    nu = state[NU]
    if tie:
        state[TIES] += weight
    else:
        state[DECIDED] += weight
    if nu > 0.0:
        state[INFORMATION] = min(_MOST_INFORMATION, state[INFORMATION] + weight * p_tie * (1.0 - p_tie))
        step = weight * ((1.0 if tie else 0.0) - p_tie) / state[INFORMATION]
        state[NU] = nu * math.exp(min(1.0, max(-1.0, step)))
    elif tie:
        # As if all candidates so far had been equal.
        state[NU] = 2.0 * state[TIES] / (state[DECIDED] + 1.0)
        share = state[NU] / (2.0 + state[NU])
        state[INFORMATION] = min(
            _MOST_INFORMATION, max(1.0, (state[DECIDED] + state[TIES]) * share * (1.0 - share))
        )
    else:
        return
    state[NU] = min(MAX_TIE_NU, max(LEAST_NU, state[NU]))
