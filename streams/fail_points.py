"""Fail points: places where a test can kill the process, as a power cut would.

``TRIBRAIN_FAIL_POINT=learner.snapshot-sent:3`` kills the process with SIGKILL the third time it reaches that
fail point. Without the variable a fail point costs one comparison.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

VARIABLE = "TRIBRAIN_FAIL_POINT"

_name, _at = "", 0
_reached: Counter[str] = Counter()


def arm(given: str) -> None:
    """Choose the fail point as the variable does: ``learner.snapshot-sent:3``; an empty text chooses none."""
    global _name, _at
    _name, _, count = given.partition(":")
    _at = int(count or 1) if _name else 0


arm(os.environ.get(VARIABLE, ""))


def reach(place: str) -> None:
    """Mark a fail point; its name is ``part.what-has-just-happened``."""
    if not _name or place != _name:
        return
    _reached[place] += 1
    if _reached[place] == _at:
        os.kill(os.getpid(), signal.SIGKILL)
