"""Plots that stand in a page: SVG in the page's own colours and type, so that they follow its dark mode."""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:  # half a second, which is for who draws
    from matplotlib.figure import Figure

INK, QUIET, LINE, ACCENT = (f"#0{n}0{n}0{n}" for n in range(1, 5))
"""What to draw with; each stands for a colour of ``look.css``."""
_COLOURS = {
    INK: "var(--ink)",
    QUIET: "var(--quiet)",
    LINE: "var(--line)",
    ACCENT: "var(--accent)",
}
_POINTS = 11.5
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tribrain",
    "font.size": _POINTS,
    "axes.labelsize": _POINTS,
    "xtick.labelsize": _POINTS,
    "ytick.labelsize": _POINTS,
    "legend.fontsize": _POINTS,
    "legend.frameon": False,
    "text.color": QUIET,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": LINE,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "grid.color": LINE,
}


@dataclass(frozen=True, slots=True)
class Drawing:
    title: str
    svg: Markup
    alt: str
    """For those who cannot see it."""
    caption: str
    """How to read it."""


def style() -> dict[Any, Any]:
    """What ``matplotlib.rc_context`` takes while something is drawn and made SVG."""
    return dict(_STYLE)


def svg(figure: Figure) -> Markup:
    """The picture alone, with no size of its own; hidden from screen readers, which are told its ``alt``.

    The same numbers give the same text. Names in it are escaped by matplotlib.
    """
    buffer = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    view = re.search(r'viewBox="[^"]*"', text)
    inner = text[text.index(">") + 1 :]
    inner = re.sub(r'<g id="[^"]*"', "<g", inner)
    inner = re.sub(r" font-family: [^;\"]*;", "", inner)
    for drawn, meant in _COLOURS.items():
        inner = inner.replace(drawn, meant)
    assert view is not None
    return Markup(f'<svg {view[0]} aria-hidden="true">{inner}')  # made of numbers, and escaped above
