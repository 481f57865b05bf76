"""The dimension that a label judges, or overall."""

from __future__ import annotations

from streams.messages.contracts import OVERALL


def dimension_called(name: str) -> str:
    """The dimension that a name means, without surrounding spaces; empty for overall.

    >>> dimension_called(" Overall"), dimension_called(" "), dimension_called("physics ")
    ('', '', 'physics')
    """
    name = name.strip()
    return "" if name.casefold() == OVERALL else name
