"""Draws the pictures of commands, as PNG bytes with a text for readers who cannot see them."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # takes half a second, which only drawing needs
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_DPI = 150
# Okabe and Ito's colours, which the colour-blind can tell apart.
MODEL, CRITICS = "#0072b2", "#d55e00"


@dataclass(frozen=True, slots=True)
class Picture:
    png: bytes
    alt: str


def new_figure(width_in: float, height_in: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), dpi=_DPI, layout="constrained")


def whole_numbers(axis: Axis) -> None:
    """Put ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def plain(axes: Axes, grid: str = "#e6e6e6") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=grid, linewidth=0.7)
    axes.set_axisbelow(True)


def png(figure: Figure) -> bytes:
    """The figure as PNG bytes; the same numbers give the same bytes, as there is no metadata.

    A bare Figure draws with Agg: no screen, no global state.
    """
    buffer = BytesIO()
    figure.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
