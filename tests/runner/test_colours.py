"""The colours a goal names, and the pixels that have them."""

from __future__ import annotations

import numpy as np
import pytest

from runner.colours import COLOURS, Colour, colour_mask, colours_in, goal_colours


def names(*colours: Colour | None) -> list[str | None]:
    return [colour.name if colour else None for colour in colours]


@pytest.mark.parametrize(
    ("goal", "thing", "target"),
    [
        ("move the red cube to the blue bowl", "red", "blue"),
        ("Put the GREEN ball past the red block onto the Yellow plate.", "green", "yellow"),
        ("lift the violet block", "purple", None),
        ("move the red cube to the green bowl from the yellow table", "red", "green"),
        (
            "The robotic arm picks up the red block, lifts it, and places it into the green bowl.",
            "red",
            "green",
        ),
        ("take the red cube on the table, and put it into the yellow bowl.", "red", "yellow"),
        ("stack the red block on top of the blue one and let go", "red", "blue"),
        ("the robot arm puts the red cube into the bowl", "red", None),
        ("open the drawer, reddish or not", None, None),
        ("the red cube into the blue bowl", "red", "blue"),
        ("please carefully slide the small red plastic cup down onto the large blue tray", "red", "blue"),
        ("A gripper slowly carries the red cube to the blue bowl.", "red", "blue"),
        (
            "pick up the red cube on the table and place it gently in the middle of the blue plate",
            "red",
            "blue",
        ),
        ("the robot arm takes a red cube from the table in front of it to the blue bowl", "red", "blue"),
        ("put the orange in the blue bowl", "orange", "blue"),
    ],
)
def test_the_colour_before_the_place_is_the_thing_s_and_that_of_the_place_the_target_s(
    goal: str, thing: str | None, target: str | None
) -> None:
    colours = goal_colours(goal)
    assert names(colours.thing, colours.target) == [thing, target]


@pytest.mark.parametrize(
    ("goal", "thing", "target"),
    [
        ("apple from the green table into the red bowl", None, "red"),
        ("put the apple in the red bowl", None, "red"),
        ("put the red cube on the red plate", None, None),
        ("move the green apple from the green table into the red bowl", None, "red"),
        ("the red robot picks up an apple and puts it into the green bowl", None, "green"),
        ("put the red and yellow cube in the green bowl", None, "green"),
        ("pick the red block and the ball into the green bowl", None, "green"),
        ("without touching the red cup, move the apple to the green bowl", None, "green"),
        ("put the red cube on the plate, then the ball in the yellow bowl", "red", None),
        ("put the red cube in the green bowl. Put the ball in the yellow bowl.", "red", None),
        ("put the red cube next to the green bowl", "red", None),
        ("move the red cube to the left of the green bowl", "red", None),
        ("move the red cube over the green bowl", "red", None),
        ("", None, None),
        ("The red gripper grasps milk and puts it into the blue bowl", None, "blue"),
        ("The red arm lifts cup and moves it to the blue bowl", None, "blue"),
        ("red robot pours tea into the blue cup", None, "blue"),
        ("put anything but the red cube into the blue bowl", None, "blue"),
        ("put everything except the red cube into the blue bowl", None, "blue"),
        ("move the cube that is not red to the blue bowl", None, "blue"),
        ("do not move the red cube to the blue bowl", None, "blue"),
        ("the robot never moves the red cube to the blue bowl", None, "blue"),
        ("the arm avoids the red cube and moves it to the blue bowl", None, "blue"),
        ("move the green light switch to off", None, None),
        ("move the orange juice bottle to the blue tray", None, "blue"),
        ("move the red-handled knife to the blue tray", None, "blue"),
        ("use the red spoon to put it into the blue bowl", None, "blue"),
        ("bring the red cup to the man in the blue shirt", "red", None),
        ("put the red cup in the box on the blue table", "red", None),
        ("take the apple from the shelf in the blue cabinet", None, None),
        ("take the red cup on the blue plate and put it in the sink", "red", None),
        ("put the red cup into any bowl but the blue one", "red", None),
        ("put the red cup into the bowl that is not blue", "red", None),
        ("put the red cup onto the blue bowl's lid", "red", None),
    ],
)
def test_what_a_colour_may_not_be_meant_to_name_is_not_named(
    goal: str, thing: str | None, target: str | None
) -> None:
    colours = goal_colours(goal)
    assert names(colours.thing, colours.target) == [thing, target]


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
