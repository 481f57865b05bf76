"""The features that a reward model learns: the first that occur, up to a limit for each kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streams.messages.feature_names import is_critic, is_interaction

CRITICS, INTERACTIONS, INDICATORS = 64, 48, 48
"""Limit of learnt features per kind (numbers count as indicators). The posterior and the snapshot grow
with the square of their sum."""
REFERENCES = 48
"""Limit of kinds of shared context that have a reference; nothing is learnt about later kinds."""


class Vocabulary:
    """The features of a model in the order of its columns, with a limit on new ones.

    The first value of a shared context (``world_model``) is the reference: the critics' own weights refer to
    it, so it has no interactions. A stream with a single world model has no interactions at all.
    """

    def __init__(
        self,
        features: Iterable[str] = (),
        references: Mapping[str, str] | None = None,
        pairs_without_room: int = 0,
    ) -> None:
        self.references = dict(references or {})
        self.pairs_without_room = int(pairs_without_room)
        """Pairs with a feature that was not learnt, because there was no room for it."""
        self.columns: dict[str, int] = {}
        self._room = [CRITICS, INTERACTIONS, INDICATORS]
        for name in features:
            self._add(name)

    def admit(self, name: str) -> bool:
        """Whether the feature is learnt; adds a new one if there is room."""
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
        """Whether this value of a shared context has its own weights; None without room for its kind."""
        if key not in self.references:
            if len(self.references) >= REFERENCES:
                return None
            self.references[key] = value
        return self.references[key] != value

    def close(self) -> None:
        """Admit no more features."""
        self._room = [0, 0, 0]

    def state(self) -> dict[str, Any]:
        """The arguments that recreate it."""
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
