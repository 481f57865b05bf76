"""Unexpected errors in a feed's background threads: counted, logged and retried."""

from __future__ import annotations

import logging
from collections import Counter

log = logging.getLogger(__name__)

_LONGEST_PAUSE = 64
"""Longest pause, as a multiple of the first."""


class FeedErrors:
    """Errors of one feed by exception class; the first of each class is logged in full.

    ``try_again_s`` is the first pause in seconds before a retry.
    """

    def __init__(self, what: str, try_again_s: float) -> None:
        self._what, self._first_pause_s = what, try_again_s
        self._pause_s = try_again_s
        self.counts: Counter[str] = Counter()

    def count(self, error: Exception, version: int) -> float:
        """Counts an error with this version. Returns the pause in seconds, doubled each time."""
        kind = type(error).__name__
        self.counts[kind] += 1
        if self.counts[kind] == 1:
            log.error(
                "%s of snapshot %d could not be made ready, which is tried again; more of this kind are only "
                "counted",
                self._what,
                version,
                exc_info=error,
            )
        pause_s = self._pause_s
        self._pause_s = min(2.0 * pause_s, _LONGEST_PAUSE * self._first_pause_s)
        return pause_s

    def over(self) -> None:
        """Reset the pause after a success."""
        self._pause_s = self._first_pause_s
