"""What the page cannot use, and why."""

from __future__ import annotations

import threading


class Problems:
    """Reasons by place, such as a file; thread-safe. ``version`` grows with every change."""

    def __init__(self) -> None:
        self.version = 0
        self._lock = threading.Lock()
        self._reasons: dict[str, str] = {}

    def items(self) -> list[tuple[str, str]]:
        """Place and reason, oldest first."""
        with self._lock:
            return list(self._reasons.items())

    def report(self, place: str, reason: str) -> None:
        with self._lock:
            if self._reasons.get(place) != reason:
                self._reasons[place] = reason
                self.version += 1

    def settle(self, place: str, reason: str) -> None:
        """Drop a problem, unless another one with the same place has replaced it."""
        with self._lock:
            if self._reasons.get(place) == reason:
                del self._reasons[place]
                self.version += 1
