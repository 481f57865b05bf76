"""The features of a reward model: critics' scores, and the context in which they were given.

Every feature is a difference, chosen minus rejected, so what both sides share cancels. A shared context
matters only through its effect on the critics:

- ``flicker.quality``: a critic and mode; left out if either side has no score;
- ``@arm=physics``: 1 if only the first side was made so, −1 if only the second;
- ``@cost``: a number that both sides have;
- ``flicker.quality@world_model=dit-7b``: the critic's difference again, in this shared context alone; its
  weight is what the critic's weight gains there.

``streams.messages.feature_names`` maps names of critics and contexts to those of features.
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
"""Score by critic and mode, ``{"flicker.quality": 0.47, …}``; null where the critic gave none."""
Context = Mapping[str, Any]
"""Texts, truth values and numbers by name; other values are ignored."""

UNIT = 0.25
"""A typical difference of two critic scores in [0, 1]; weights are per this unit. An indicator's ±1 is four
such steps, because who made a side may matter more than a critic's step. If the scale moved while it is being
estimated, the result would depend on the order of the tasks."""
WARM_UP = 20
"""Pairs with a feature during which its unit may still grow, for features on a larger scale."""
HEADROOM = 1.25
"""A grown unit's reach, as a multiple of the second largest difference during the warm-up."""
FAR = 16.0
"""Multiple of the limit. For scores in [0, 1] it is a difference of 16; codes are usually −99 or less."""
LEARNT = 1.5
"""Multiple of a grown limit up to which a difference is learnt, as if it were at the limit. Anything beyond
it, or beyond a limit that has not grown, is not learnt: one larger pair could undo what a hundred teach. It
is still predicted, as users of the model would do."""

_CATEGORY = (str, bool)
_NUMBER = (int, float)
_INTERACTION_UNIT = 1.0
"""A critic's weight is similar in all contexts, so the prior variance is 16 times smaller than its own."""
LONGEST_VALUE = 64
"""Longest text, in characters, that counts as a category rather than free text."""


def differences(
    a: Scores, b: Scores, *, context: Context | None = None, of_a: Context | None = None,
    of_b: Context | None = None,
) -> dict[str, float]:  # fmt: skip
    """a − b per feature; critics first, sorted by name.

    Both sides share ``context``; ``of_a`` and ``of_b`` are what each has alone.
    """
    critics = difference(a, b)
    return {**critics, **_sides(of_a or {}, of_b or {}), **_interactions(critics, context or {})}


def difference(a: Scores, b: Scores) -> dict[str, float]:
    """a − b per critic's feature, sorted by the critic's name; omits scores missing on either side."""
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
    """a − b for two iterations of the same run."""
    return differences(
        a.critic_scores(),
        b.critic_scores(),
        context=a.context,
        of_a=a.candidate_context,
        of_b=b.candidate_context,
    )


def unit_of(name: str) -> float:
    """The difference that a weight refers to, until it grows with a larger scale."""
    return _INTERACTION_UNIT if is_interaction(name) else UNIT


def reach_of(name: str) -> float:
    """Units that a difference may span before the unit grows; the initial limit is 1 for all."""
    return 4.0 * UNIT / unit_of(name)


def learnt_up_to(limit: float) -> float:
    """The largest difference that is learnt of a feature with this limit, which is 1 until it grows."""
    return LEARNT * limit if limit > 1.0 else limit


def within_reach(difference: float, limit: float) -> float:
    """Clips a difference to ``limit`` in either direction.

    So no single number can reverse a model. A difference beyond ``FAR`` limits is hardly a measurement but
    most likely a code for a missing score (−999, say), and becomes NaN.
    """
    if abs(difference) > FAR * limit:
        return math.nan
    return max(-limit, min(limit, difference))


def categories(context: Context) -> dict[str, str]:
    """The contexts that name a category, sorted; truth values become their words."""
    found = {
        key: str(value)
        for key, value in context.items()
        if isinstance(value, _CATEGORY) and key and 0 < len(str(value)) <= LONGEST_VALUE
    }
    return found if len(found) < 2 else dict(sorted(found.items()))


def numbers(context: Context) -> dict[str, float]:
    """The numeric contexts, sorted."""
    found = {
        key: float(value)
        for key, value in context.items()
        if isinstance(value, _NUMBER) and not isinstance(value, bool) and key and math.isfinite(value)
    }
    return found if len(found) < 2 else dict(sorted(found.items()))


def indicators(of_a: Mapping[str, str], of_b: Mapping[str, str]) -> dict[str, float]:
    """Feature to 1 or −1, for each category that only one side has."""
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
