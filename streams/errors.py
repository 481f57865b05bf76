"""Exceptions that end a command with one line and no traceback, and how such a line states a number.

The exit code is 2, or 3 for Fenced.
"""


class BadInput(ValueError):
    """The user's input cannot be used. A ValueError, as callers from Python expect.

    The message is one line: what was found, what is needed and what to do.
    """


class NoBroker(BadInput):
    """No Kafka broker answers, or none that is needed. It may come back, so services wait for it."""


class Fenced(Exception):
    """Another process has taken over this one's work; this one must stop and publish nothing more."""


def counted(n: int, noun: str) -> str:
    """``1 vote``, ``1,200 votes``: a number of things whose plural ends in s."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
