"""Which features a reward model learns: the first ones that come, up to a number of each kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streams.messages.feature_names import is_critic, is_interaction

CRITICS, INTERACTIONS, INDICATORS = 64, 48, 48
"""How many features of each kind a model learns (numbers count as indicators); the posterior and the snapshot
grow with the square of their sum."""
REFERENCES = 48
"""How many kinds of shared context have a reference; of those that come later, nothing is learnt."""


class Vocabulary:
    """The features of a model in the order of its columns, and how much room there is for more.

    The first value of a shared context (``world_model``) is the reference: the critics' own weights are for
    it, so it has no interactions, and a stream with a single world model has none at all.
    """

    def __init__(
        self,
        features: Iterable[str] = (),
        references: Mapping[str, str] | None = None,
        pairs_without_room: int = 0,
    ) -> None:
        self.references = dict(references or {})
        self.pairs_without_room = int(pairs_without_room)
        """Pairs with a feature that is not learnt since there was no room for it."""
        self.columns: dict[str, int] = {}
        self._room = [CRITICS, INTERACTIONS, INDICATORS]
        for name in features:
            self._add(name)

    def admit(self, name: str) -> bool:
        """Whether the feature is learnt; a new one is if there is room."""
        if name in self.columns:
            return True
        if not self.has_room(name):
            return False
        self._add(name)
        return True

    def has_room(self, name: str) -> bool:
        """Whether a new feature of this name would be learnt."""
        return self._room[_kind(name)] > 0

    def interacts(self, key: str, value: str) -> bool | None:
        """Whether this value of a shared context has weights of its own; None without room for its kind."""
        if key not in self.references:
            if len(self.references) >= REFERENCES:
                return None
            self.references[key] = value
        return self.references[key] != value

    def close(self) -> None:
        """Admit nothing more."""
        self._room = [0, 0, 0]

    def state(self) -> dict[str, Any]:
        """The arguments that make it again."""
        return {
            "features": list(self.columns),
            "references": dict(self.references),
            "pairs_without_room": self.pairs_without_room,
        }

    def _add(self, name: str) -> None:
        self.columns[name] = len(self.columns)
        self._room[_kind(name)] -= 1


def _kind(name: str) -> int:
    return 0 if is_critic(name) else 1 if is_interaction(name) else 2
