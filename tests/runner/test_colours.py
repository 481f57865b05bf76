"""The colours that a text names, and the pixels that have them."""

from __future__ import annotations

import numpy as np
import pytest

from runner.colours import COLOURS, Colour, colour_mask, colours_in


def names(*colours: Colour | None) -> list[str | None]:
    return [colour.name if colour else None for colour in colours]


def test_colours_come_in_the_order_of_first_mention() -> None:
    assert names(*colours_in("teal, pink, cyan, red, pink")) == ["cyan", "pink", "red"]


@pytest.mark.parametrize("brightness", [0.55, 1.0])
def test_every_colour_is_found_in_its_own_paint_and_in_no_other(brightness: float) -> None:
    paints = (np.array([colour.rgb for colour in COLOURS]) * brightness).astype(np.uint8)
    found = np.array([colour_mask(paints[None, None], colour)[0, 0] for colour in COLOURS])
    assert (found == np.eye(len(COLOURS), dtype=bool)).all()


@pytest.mark.parametrize("level", [0, 90, 255])
def test_grey_has_no_colour(level: int) -> None:
    grey = np.full((1, 2, 2, 3), level, dtype=np.uint8)
    assert not any(colour_mask(grey, colour).any() for colour in COLOURS)
