"""The exceptions that end a command with one line and no traceback: exit code 2, and 3."""


class BadInput(ValueError):
    """Something the user gave cannot be used: a ValueError, as whoever calls TriBrain from Python expects.

    The message is one line that says what was found, what is needed and what to do.
    """


class NoBroker(BadInput):
    """No Kafka broker answers. It may come back, so whoever serves waits for it."""


class Fenced(Exception):
    """Another process has taken over what this one was doing; it must stop and publish nothing more."""
