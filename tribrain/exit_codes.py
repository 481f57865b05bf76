"""What the exit code of a command says."""

FAILED = 1
BAD_INPUT = 2
FENCED = 3
"""Another process has taken over what this one was doing."""
INTERRUPTED = 130
