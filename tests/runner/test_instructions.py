"""What is understood of a goal: one sentence that moves one thing to one target, and nothing less plain."""

from __future__ import annotations

from random import Random

import pytest

from runner.colours import Colour
from runner.instructions import MOVES, PICK_UP, goal_colours
from runner.worlds.simulated import random_goal

PLAIN = (
    "move the red cube to the green bowl",
    "put the red cube in the green bowl",
    "pick up the red cube and place it in the green bowl",
)


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
        ("apple from the green table into the red bowl", None, None),
        ("put the apple in the red bowl", None, None),
        ("put the red cube on the red plate", None, None),
        ("move the green apple from the green table into the red bowl", None, None),
        ("the red robot picks up an apple and puts it into the green bowl", None, None),
        ("put the red and yellow cube in the green bowl", None, None),
        ("pick the red block and the ball into the green bowl", None, None),
        ("without touching the red cup, move the apple to the green bowl", None, None),
        ("put the red cube on the plate, then the ball in the yellow bowl", "red", None),
        ("put the red cube in the green bowl. Put the ball in the yellow bowl.", "red", None),
        ("put the red cube next to the green bowl", "red", None),
        ("move the red cube to the left of the green bowl", "red", None),
        ("move the red cube over the green bowl", "red", None),
        ("", None, None),
        ("The red gripper grasps milk and puts it into the blue bowl", None, None),
        ("The red arm lifts cup and moves it to the blue bowl", None, None),
        ("red robot pours tea into the blue cup", None, None),
        ("put anything but the red cube into the blue bowl", None, None),
        ("put everything except the red cube into the blue bowl", None, None),
        ("move the cube that is not red to the blue bowl", None, None),
        ("do not move the red cube to the blue bowl", None, None),
        ("the robot never moves the red cube to the blue bowl", None, None),
        ("the arm avoids the red cube and moves it to the blue bowl", None, None),
        ("move the green light switch to off", None, None),
        ("move the orange juice bottle to the blue tray", None, None),
        ("move the red-handled knife to the blue tray", None, None),
        ("use the red spoon to put it into the blue bowl", None, None),
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


@pytest.mark.parametrize(
    "goal",
    [
        "{} and back",
        "{} and return it",
        "{} and take it out again",
        "{} and then take it out",
        "{}, then put it back",
        "{}. Take it out again.",
        "{} back",
        "{} again",
        "{} on the table",
        "{} near the yellow cup",
        "{} without touching it",
        "{} but stop before it is there",
        "{}, not the blue one",
        "{} or the yellow cup",
        "{} unless it is full",
        "{} twice",
        "{} and the ball to the yellow cup",
        "{} and shake the table",
        "{}?",
        "{}'s lid",
        "nobody: {}",
        "do not {}",
        "never {}",
        "don't {}",
        "almost {}",
        "nearly {}",
        "only {}",
        "pretend to {}",
        "try to {}",
        "instead of the ball, {}",
        "after they {}",
        "nobody will {}",
        "undo: {}",
    ],
)
@pytest.mark.parametrize("plain", PLAIN)
def test_one_word_more_of_consequence_leaves_the_target_unknown(plain: str, goal: str) -> None:
    assert goal_colours(plain).target is not None
    assert goal_colours(goal.format(plain)).target is None


@pytest.mark.parametrize(
    "goal",
    [
        "lift the red cube in the green bowl",
        "get the red cube in the green bowl",
        "take the red cube on the green plate",
        "push the red button on the green machine",
        "push the red button into the green machine",
        "press the red button onto the green machine",
        "the red cube in the green bowl",
        "drop the red cube in the green bowl and pick it up again",
        "drop the red cube in the green bowl",
        "pick up the red cube and drop it in the green bowl",
        "move the red cube towards the green bowl",
        "move the red cube towards but not into the green bowl",
        "move the red cube almost into the green bowl",
        "move the red cube out of the green bowl",
        "nobody moves the red cube to the green bowl",
        "no robot moves the red cube to the green bowl",
        "the robot fails to move the red cube to the green bowl",
        "the arm shows the red cube to the green bowl",
        "compare the red cube to the green bowl",
        "paint the red cube onto the green bowl",
        "put the red cube in the box on the green table",
        "put the red cube on the table in the green bowl",
        "take the red cube and the ball to the green bowl",
        "move both red cubes to the green bowl",
        "move the red cubes to the green bowl",
        "move the red cube to the green bowls",
        "move no red cube to the green bowl",
        "move any red cube to the green bowl",
        "move the red cube to no green bowl",
        "pick up the red cube and place the ball in the green bowl",
        "pick up the red cube and do not place it in the green bowl",
        "pick up the red cube and place it near the green bowl",
        "move the red to the green again",
    ],
)
def test_a_sentence_that_may_mean_anything_else_names_no_target(goal: str) -> None:
    assert goal_colours(goal).target is None


@pytest.mark.parametrize(
    ("goal", "thing", "target"),
    [
        ("Please, move the red cube to the green bowl!", "red", "green"),
        ("  move the red\n cube\u00a0to the green bowl  ", "red", "green"),
        ("put the red glass in the green bowl", "red", "green"),
        ("put the red cube in the green bowl with the left gripper.", "red", "green"),
        ("push the red block from the edge to the green square", "red", "green"),
        ("lift the red block onto the green shelf", "red", "green"),
        ("drop the red ball into the green cup", "red", "green"),
        ("grasps the red ball and then moves it slowly to the green cup", "red", "green"),
        ("nobody moves the red cube to the green bowl", None, None),
        ("lift the red cube in the green bowl", "red", None),
    ],
)
def test_other_ways_to_say_it_are_understood(goal: str, thing: str | None, target: str | None) -> None:
    colours = goal_colours(goal)
    assert names(colours.thing, colours.target) == [thing, target]


def test_every_goal_of_the_simulated_world_is_understood() -> None:
    drawn = Random(0)
    goals = [random_goal(drawn) for _ in range(200)]
    colours = [goal_colours(spoken) for goal in goals for spoken in (goal, goal.replace("move", "bring", 1))]
    assert None not in [colour for pair in colours for colour in (pair.thing, pair.target)]


@pytest.mark.parametrize(
    ("verb", "preposition"),
    [(verb, word) for verbs, words in MOVES for verb in verbs.split("|") for word in words.split("|")],
)
def test_every_verb_is_understood_with_each_of_its_prepositions(verb: str, preposition: str) -> None:
    third = {"carry": "carries", "push": "pushes"}.get(verb, f"{verb}s")
    goals = [
        f"{verb} the red cube {preposition} the green bowl",
        f"the robot arm {third} the red cube {preposition} the green bowl",
        *(
            f"{picked} the red cube and {verb} it {preposition} the green bowl"
            for picked in PICK_UP.split("|")
        ),
    ]
    assert [names(c.thing, c.target) for c in map(goal_colours, goals)] == [["red", "green"]] * len(goals)
