"""How strong the evidence is that a checkpoint is better, and how much of it a line of checkpoints needs.

*The evidence of one comparison* is an e-value (Ramdas et al. 2023, "Game-theoretic statistics and safe
anytime-valid inference"). Of n tasks with results x₁ … xₙ in [0, 1] it is the wealth of a gambler who began
with 1 and staked the same share b of it on every task,

    E = Π (1 + b·(xᵢ − m) / m),

averaged over a few shares b that are fixed before the comparison. The null that it is evidence against: given
the two checkpoints and all that came before, the results are independent, and the mean of their n expected
values is at most m. Tasks may differ in theirs as much as they like, ties count as they are, and no
distribution is assumed. Under it the expected value of E is at most 1, since the mean of the n independent
factors' expected values is, and a product is at most the n-th power of the mean (the inequality of
arithmetic and geometric means). The same holds if each result, given those before, is expected to be at most
m. What is random in it are the generators' seeds, which are new in every comparison; so it speaks of the
prompts that were named, and of others as far as those stand for them.

*A line of checkpoints* is compared again and again. Comparison number k is at the level ``level(f)``, where f
is how many comparisons before it promoted nothing, and promotes where E ≥ 1 / level. The chance that any
checkpoint whose null is true is ever promoted is at most ALPHA, over all comparisons for ever, also where
others in the line are better. For a comparison that promotes nothing moves f on, so until the first false
promotion there is at most one comparison of a true null at each f; by Markov's inequality it promotes with a
chance of at most level(f), given all before; and these levels sum to ALPHA. This is alpha-spending of which
promotions give back what they cost (compare the online fallback procedure of Tian and Ramdas 2021, "Online
control of the familywise error rate"). Controlling the false discovery rate instead (e-LOND) would need less
evidence in a long line and let a twentieth of the promotions be false; a checkpoint that is no better is the
base of all that come after it, so this asks for more.

The cost: 100 in the first comparison, 210 after two that promoted nothing, 910 after nine and 2,760 after
nineteen, where a single look would ask for 20.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

ALPHA = 0.05
_EVEN = 4
"""The larger, the more evenly the error is spent: less for the first comparisons, more for later ones."""
_STAKES = ((1.0, 0.6), (1.5, 0.2), (2.5, 0.2))
"""Multiple of the usual share, and its weight. The larger ones are for results that vary less than wins and
losses do: ties, and tasks with several seeds."""
_AT_RISK = 0.95
"""Of the wealth, in one task."""


def level(without_promotion: int) -> float:
    """The level of a comparison before which so many of its line promoted nothing; all sum to ALPHA.

    >>> [round(1 / level(f)) for f in (0, 2, 9, 19)]
    [100, 210, 910, 2760]
    """
    k = without_promotion + 1
    return ALPHA * _EVEN / ((k + _EVEN - 1) * (k + _EVEN))


def e_value(results: Sequence[float], null: float, at_level: float) -> float:
    """Against a mean of at most ``null``, in (0, 1), of results in [0, 1]; capped at 1e300, 1 without any.

    The shares depend on ``at_level``, the number of results and ``null`` alone. Raises ValueError for a
    result beyond its bounds, on which no bet is fair.
    """
    if not all(0.0 <= x <= 1.0 for x in results):
        raise ValueError(f"results must be within 0 and 1, found {min(results)} to {max(results)}")
    if not results:
        return 1.0
    usual = _usual_share(len(results), null, -math.log(at_level * _STAKES[0][1]))
    log_wealth = []
    for multiple, weight in _STAKES:
        share = min(_AT_RISK, multiple * usual)
        gains = math.fsum(math.log1p(share * (x - null) / null) for x in results)
        log_wealth.append(math.log(weight) + gains)
    top = max(log_wealth)
    return math.exp(min(690.0, top + math.log(math.fsum(math.exp(w - top) for w in log_wealth))))


@lru_cache(maxsize=256)
def _usual_share(n: int, null: float, log_needed: float) -> float:
    """With which the fewest wins suffice where every task is won or lost.

    That is Kelly's share (q − m) / (1 − m) for the share q of wins whose divergence from m is log_needed / n.
    """
    low, high = null, 1.0
    for _ in range(50):
        q = 0.5 * (low + high)
        low, high = (low, q) if n * _divergence(q, null) >= log_needed else (q, high)
    return (high - null) / (1.0 - null)


def _divergence(q: float, m: float) -> float:
    """Kullback and Leibler's, of a chance q from a chance m, in nats."""
    return sum(a * math.log(a / b) for a, b in ((q, m), (1.0 - q, 1.0 - m)) if a > 0.0)
