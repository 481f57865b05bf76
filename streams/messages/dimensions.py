"""What labels judge: the whole, or one dimension of it."""

from __future__ import annotations

from streams.messages.contracts import OVERALL


def dimension_called(name: str) -> str:
    """The dimension that a name means, whatever spaces are around it; empty for the whole.

    >>> dimension_called(" Overall"), dimension_called(" "), dimension_called("physics ")
    ('', '', 'physics')
    """
    name = name.strip()
    return "" if name.casefold() == OVERALL else name
