"""Plots for a page: SVG in the page's own colours and type, so that they follow its dark mode."""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:  # takes half a second, which only drawing needs
    from matplotlib.figure import Figure

INK, QUIET, LINE, ACCENT = (f"#0{n}0{n}0{n}" for n in range(1, 5))
"""Placeholders to draw with; each is replaced by a colour of ``look.css``."""
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
    """Text for readers who cannot see the picture."""
    caption: str
    """How to read the picture."""


def style() -> dict[Any, Any]:
    """Settings for ``matplotlib.rc_context``, in force while a figure is drawn and made SVG."""
    return dict(_STYLE)


def svg(figure: Figure) -> Markup:
    """The SVG of the figure, without a size; hidden from screen readers, which get ``alt`` instead.

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
