"""What a reward model weighs: scores of critics, and the context in which they were given.

Everything is a difference, chosen minus rejected, so what both sides share cancels. It matters through what
it does to the critics:

- ``flicker.quality``: a critic and mode; left out where either side has no score;
- ``@arm=physics``: 1 where only the first side was made so, −1 where only the second;
- ``@cost``: a number that both sides carry;
- ``flicker.quality@world_model=dit-7b``: the critic's difference again, in this shared context alone: what
  the critic's weight there is above its weight elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from streams.messages.contracts import CONTEXT_MARK, PreferencePair, TraceEvent

Scores = Mapping[str, float | None]
"""Critic and mode to score, ``{"flicker.quality": 0.47, …}``; null where the critic gave none."""
Context = Mapping[str, Any]
"""Texts, truth values and numbers by name; anything else is passed over."""

UNIT = 0.25
"""A usual difference of two critic scores in [0, 1]; weights are per so much. A scale that moved while it is
estimated would make the result depend on the order of the tasks."""
YOUTH = 20
"""Pairs of a feature in which its unit may still grow, for what is counted on a larger scale."""

INTERACTIONS, INDICATORS = 48, 48
"""How many features of each kind a model learns; the posterior and the snapshot grow with their square."""

_INDICATOR_UNIT = 0.5
"""An indicator's ±1 may be worth more than a critic's step: prior variance .32 with laplace's .08."""
_INTERACTION_UNIT = 1.0
"""A critic's weight is much the same everywhere: a prior variance 16 times smaller than the critic's own."""
_LONGEST_VALUE = 64
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
    """a − b per critic, sorted by name; a critic that is missing on either side is left out."""
    both = sorted(a.keys() & b.keys())
    return {
        name: left - right
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


def is_interaction(name: str) -> bool:
    """Whether the feature is a critic's difference in one context."""
    critic, _, value = name.partition(CONTEXT_MARK)
    return bool(critic) and "=" in value


def is_indicator(name: str) -> bool:
    """Whether the feature is 1, 0 or −1."""
    return name.startswith(CONTEXT_MARK) and "=" in name


def is_critic(name: str) -> bool:
    """Whether the feature is a critic's difference everywhere; for these alone, higher is taken as better."""
    return not name.startswith(CONTEXT_MARK) and not is_interaction(name)


def unit_of(name: str) -> float:
    """The difference that a weight is per; powers of two apart, so that scaling rounds nothing."""
    if is_interaction(name):
        return _INTERACTION_UNIT
    return _INDICATOR_UNIT if is_indicator(name) else UNIT


def reach_of(name: str) -> float:
    """Scales that a young feature's difference may reach before they double; that is 1 at first for all."""
    return 4.0 * UNIT / unit_of(name)


class Vocabulary:
    """Which features of contexts a model learns: the first ones that come, up to a number of each kind.

    The first value of a shared context (``world_model``) is the reference: the critics' own weights are for
    it, so it has no interactions, and a stream with a single world model has none at all.
    """

    def __init__(self, references: Mapping[str, str] | None = None, admitted: Iterable[str] = ()) -> None:
        self.references = dict(references or {})
        self.admitted = dict.fromkeys(admitted)

    def admit(self, differences: Mapping[str, float]) -> dict[str, float]:
        """The features that are learnt; new ones are admitted while there is room."""
        return {name: value for name, value in differences.items() if self._admits(name)}

    def state(self) -> dict[str, Any]:
        """The arguments that make it again."""
        return {"references": dict(self.references), "admitted": list(self.admitted)}

    def _admits(self, name: str) -> bool:
        if is_critic(name) or name in self.admitted:
            return True
        interaction = is_interaction(name)
        if interaction:
            key, _, value = name.partition(CONTEXT_MARK)[2].partition("=")
            if self.references.setdefault(key, value) == value:
                return False
        alike = sum(is_interaction(other) == interaction for other in self.admitted)
        if alike >= (INTERACTIONS if interaction else INDICATORS):
            return False
        self.admitted[name] = None
        return True


def _interactions(critics: Mapping[str, float], context: Context) -> dict[str, float]:
    categories = [f"{key}={value}" for key, value in _categories(context).items()]
    return {
        f"{critic}{CONTEXT_MARK}{category}": d for category in categories for critic, d in critics.items()
    }


def _sides(a: Context, b: Context) -> dict[str, float]:
    of_a, of_b = _categories(a), _categories(b)
    indicators: dict[str, float] = {}
    for key in sorted(of_a.keys() | of_b.keys()):
        if of_a.get(key) != of_b.get(key):
            for side, sign in ((of_a, 1.0), (of_b, -1.0)):
                if key in side:
                    indicators[f"{CONTEXT_MARK}{key}={side[key]}"] = sign
    numbers_a, numbers_b = _numbers(a), _numbers(b)
    both = sorted(numbers_a.keys() & numbers_b.keys())
    return indicators | {f"{CONTEXT_MARK}{key}": numbers_a[key] - numbers_b[key] for key in both}


def _categories(context: Context) -> dict[str, str]:
    return {
        key: str(value)
        for key, value in sorted(context.items())
        if isinstance(value, str | bool) and _is_name(key) and 0 < len(str(value)) <= _LONGEST_VALUE
    }


def _numbers(context: Context) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in context.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and _is_name(key)
        and math.isfinite(value)
    }


def _is_name(key: str) -> bool:
    return bool(key) and "=" not in key and CONTEXT_MARK not in key
