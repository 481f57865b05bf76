"""How strong the evidence is that a checkpoint is better, and how much of it a line of checkpoints needs.

*The evidence of one comparison* is an e-value (Ramdas et al. 2023, "Game-theoretic statistics and safe
anytime-valid inference"). For n tasks with results x₁ … xₙ in [0, 1], it is the wealth of a gambler who
started with 1 and staked the same fraction b of it on every task,

    E = Π (1 + b·(xᵢ − m) / m),

averaged over a few fractions b that are fixed before the comparison. The null hypothesis: given the two
checkpoints, everything before the comparison, and which pairs could be compared
(``runner.finetune.comparison``), the results are independent, and the mean of their n expected values is at
most m. The tasks' expected values may differ, ties count as they are, and no
distribution is assumed. Under the null, E has an expected value of at most 1: the mean of the n independent
factors' expected values is at most 1, and a product is at most the n-th power of the mean (the inequality of
arithmetic and geometric means). The same holds if each result, given those before, has an expected value of
at most m. The randomness comes from the generators' seeds, which are new in every comparison. So the evidence
is about the prompts that were compared, and about others only as far as these represent them.

*A line of checkpoints* is compared again and again. A comparison is at the level ``level(f)``, where f is the
number of earlier comparisons that promoted nothing, and promotes if E ≥ 1 / level. The chance that any
checkpoint whose null is true is ever promoted is at most ALPHA, over all comparisons for ever, even if others
in the line are better. The reason: a comparison that promotes nothing raises f, so until the first false
promotion there is at most one comparison of a true null at each f. By Markov's inequality it promotes with a
probability of at most level(f), given all before, and these levels sum to ALPHA. This is alpha-spending in
which a promotion gives back what it cost (compare the online fallback procedure of Tian and Ramdas 2021,
"Online control of the familywise error rate"). Controlling the false discovery rate instead (e-LOND) would
need less evidence in a long line, but would allow a twentieth of the promotions to be false. A checkpoint
that is no better becomes the base of all later ones, so this asks for more.

The cost: 100 in the first comparison, 210 after two that promoted nothing, 910 after nine and 2,760 after
nineteen, where a single test would need 20.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

ALPHA = 0.05
_EVEN = 4
"""A larger value spends the error more evenly: less on the first comparisons, more on later ones."""
_STAKES = ((1.0, 0.6), (1.5, 0.2), (2.5, 0.2))
"""Multiple of the usual stake, and its weight. The larger stakes suit results that vary less than wins and
losses do: ties, and tasks with several seeds."""
_AT_RISK = 0.95
"""Largest stake in one task, as a fraction of the wealth."""


def level(without_promotion: int) -> float:
    """The level of a comparison after this many in its line promoted nothing; all levels sum to ALPHA.

    >>> [round(1 / level(f)) for f in (0, 2, 9, 19)]
    [100, 210, 910, 2760]
    """
    k = without_promotion + 1
    return ALPHA * _EVEN / ((k + _EVEN - 1) * (k + _EVEN))


def e_value(results: Sequence[float], null: float, at_level: float) -> float:
    """Evidence that the mean of results in [0, 1] exceeds ``null``, in (0, 1). At most 1e300; 1 for none.

    The stakes depend only on ``at_level``, the number of results and ``null``. Raises ValueError for a result
    outside its bounds, because no bet on it is fair.
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
    """The stake with which the fewest wins suffice if every task is won or lost.

    This is Kelly's stake (q − m) / (1 − m) for the win rate q whose divergence from m is log_needed / n.
    """
    low, high = null, 1.0
    for _ in range(50):
        q = 0.5 * (low + high)
        low, high = (low, q) if n * _divergence(q, null) >= log_needed else (q, high)
    return (high - null) / (1.0 - null)


def _divergence(q: float, m: float) -> float:
    """Kullback–Leibler divergence of a probability q from a probability m, in nats."""
    return sum(a * math.log(a / b) for a, b in ((q, m), (1.0 - q, 1.0 - m)) if a > 0.0)
