"""What a reward model weighs: scores of critics, and the context in which they were given.

Everything is a difference, chosen minus rejected, so what both sides share cancels. It matters through what
it does to the critics:

- ``flicker.quality``: a critic and mode; left out where either side has no score;
- ``@arm=physics``: 1 where only the first side was made so, −1 where only the second;
- ``@cost``: a number that both sides carry;
- ``flicker.quality@world_model=dit-7b``: the critic's difference again, in this shared context alone: what
  the critic's weight there is above its weight elsewhere.

``streams.messages.feature_names`` says how names of critics and contexts become those of features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from streams.messages.contracts import PreferencePair, TraceEvent
from streams.messages.feature_names import (
    critic_feature,
    indicator,
    interaction,
    is_interaction,
    number_feature,
)

Scores = Mapping[str, float | None]
"""Critic and mode to score, ``{"flicker.quality": 0.47, …}``; null where the critic gave none."""
Context = Mapping[str, Any]
"""Texts, truth values and numbers by name; anything else is passed over."""

UNIT = 0.25
"""A usual difference of two critic scores in [0, 1]; weights are per so much. An indicator's ±1 is four such
steps, since who made a side may be worth more than a critic's step. A scale that moved while it is
estimated would make the result depend on the order of the tasks."""
WARM_UP = 20
"""Pairs of a feature in which its unit may still grow, for what is counted on a larger scale."""
FAR = 16.0
"""Times what a difference may reach: between scores in [0, 1] it is 16, and a usual mark is −99 or less."""
LEARNT = 1.0
"""Times what a difference may reach: more is not learnt, since one such pair could cost what a hundred teach.
It is predicted, though, as whoever serves the model would."""

_CATEGORY = (str, bool)
_NUMBER = (int, float)
_INTERACTION_UNIT = 1.0
"""A critic's weight is much the same everywhere: a prior variance 16 times smaller than the critic's own."""
LONGEST_VALUE = 64
"""Characters of a text that names a category rather than tells a story."""


def differences(
    a: Scores, b: Scores, *, context: Context | None = None, of_a: Context | None = None,
    of_b: Context | None = None,
) -> dict[str, float]:  # fmt: skip
    """a − b per feature; critics first, sorted by name.

    ``context`` is shared by both sides, ``of_a`` and ``of_b`` are what sets each of them apart.
    """
    critics = difference(a, b)
    return {**critics, **_sides(of_a or {}, of_b or {}), **_interactions(critics, context or {})}


def difference(a: Scores, b: Scores) -> dict[str, float]:
    """a − b per critic's feature, sorted by the critic's name, without those missing on either side."""
    both = sorted(a.keys() & b.keys())
    return {
        critic_feature(name): left - right
        for name in both
        if (left := a[name]) is not None and (right := b[name]) is not None
    }


def of_pair(pair: PreferencePair) -> dict[str, float]:
    """Chosen − rejected."""
    return differences(
        pair.chosen_critics,
        pair.rejected_critics,
        context=pair.context,
        of_a=pair.chosen_context,
        of_b=pair.rejected_context,
    )


def of_events(a: TraceEvent, b: TraceEvent) -> dict[str, float]:
    """a − b for two iterations of one run."""
    return differences(
        a.critic_scores(),
        b.critic_scores(),
        context=a.context,
        of_a=a.candidate_context,
        of_b=b.candidate_context,
    )


def unit_of(name: str) -> float:
    """The difference that a weight is per; powers of two apart, so that scaling rounds nothing."""
    return _INTERACTION_UNIT if is_interaction(name) else UNIT


def reach_of(name: str) -> float:
    """Scales that a difference may reach before they double, in the warm-up; that is 1 at first for all."""
    return 4.0 * UNIT / unit_of(name)


def within_reach(difference: float, limit: float) -> float:
    """What counts of a difference of which ``limit`` can be reached, either sign.

    More is cut, so that no single number turns a model round. Beyond ``FAR`` limits it is no measurement but
    most likely a mark for a score that is missing (−999, say), and counts as that: NaN.
    """
    if abs(difference) > FAR * limit:
        return math.nan
    return max(-limit, min(limit, difference))


def categories(context: Context) -> dict[str, str]:
    """The contexts that name a kind of thing, sorted; truth values are named by their words."""
    found = {
        key: str(value)
        for key, value in context.items()
        if isinstance(value, _CATEGORY) and key and 0 < len(str(value)) <= LONGEST_VALUE
    }
    return found if len(found) < 2 else dict(sorted(found.items()))


def numbers(context: Context) -> dict[str, float]:
    """The contexts that say how much, sorted."""
    found = {
        key: float(value)
        for key, value in context.items()
        if isinstance(value, _NUMBER) and not isinstance(value, bool) and key and math.isfinite(value)
    }
    return found if len(found) < 2 else dict(sorted(found.items()))


def indicators(of_a: Mapping[str, str], of_b: Mapping[str, str]) -> dict[str, float]:
    """Feature to 1 or −1 for the categories of either side that the other does not share."""
    found: dict[str, float] = {}
    for key in sorted(of_a.keys() | of_b.keys()):
        if of_a.get(key) != of_b.get(key):
            for side, sign in ((of_a, 1.0), (of_b, -1.0)):
                if key in side:
                    found[indicator(key, side[key])] = sign
    return found


def _interactions(critics: Mapping[str, float], context: Context) -> dict[str, float]:
    return {
        interaction(critic, key, value): d
        for key, value in categories(context).items()
        for critic, d in critics.items()
    }


def _sides(a: Context, b: Context) -> dict[str, float]:
    numbers_a, numbers_b = numbers(a), numbers(b)
    return indicators(categories(a), categories(b)) | {
        number_feature(key): numbers_a[key] - numbers_b[key] for key in numbers_a if key in numbers_b
    }
