"""What the program logs on standard error."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

_EVERY_S = 10.0
_REMEMBERED = 200
"""Number of different lines that are remembered."""


def log_to_stderr(*, verbose: bool) -> None:
    """Log warnings, with ``verbose`` also progress, unless the process has a log already."""
    handler = logging.StreamHandler()
    handler.addFilter(RepeatedLines())
    logging.basicConfig(
        handlers=[handler],
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # Below INFO kafka-python logs keys and values, and with a broker away it logs an error a second; our own
    # readers and writers report once that a broker is away.
    logging.getLogger("kafka").setLevel(logging.ERROR if verbose else logging.CRITICAL)
    # Faust's timers warn of every publication that takes longer than their interval.
    logging.getLogger("mode.timers").setLevel(logging.ERROR)


class RepeatedLines(logging.Filter):
    """Lets equal lines through once in ``every_s`` seconds, with the number that it held back.

    In an outage some clients write twenty of them a second.
    """

    def __init__(self, every_s: float = _EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s, self._clock = every_s, clock
        self._passed: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now, message = self._clock(), record.getMessage()
        line = record.name, record.levelno, message
        passed_at, kept_back = self._passed.get(line, (-math.inf, 0))
        if now < passed_at + self._every_s:
            self._passed[line] = passed_at, kept_back + 1
            return False
        if kept_back:
            record.msg, record.args = f"{message} (and {kept_back} times more before)", ()
        self._passed.pop(line, None)
        self._passed[line] = now, 0
        if len(self._passed) > _REMEMBERED:
            del self._passed[next(iter(self._passed))]
        return True
