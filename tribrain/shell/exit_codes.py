"""The meaning of a command's exit codes."""

FAILED = 1
BAD_INPUT = 2
FENCED = 3
"""Another process has taken over what this one was doing."""
NOTHING_MADE = 4
"""Nothing could be made, or what is needed for it failed again and again."""
INTERRUPTED = 130


class NothingMade(Exception):
    """Ends a command with NOTHING_MADE; the message is one line that says why."""
