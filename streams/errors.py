"""The one exception that means "the input is at fault": one line, exit code 2, no traceback."""


class BadInput(Exception):
    """Something the user gave cannot be used.

    The message is one line that says what was found, what is needed and what to do.
    """
