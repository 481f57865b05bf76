"""Draws the simulated world: a thing on its way to a target, past an obstacle, with failures.

This module decides where things are in a scene, and how a given failure looks. ``runner.worlds.simulated``
decides how strong the failures are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from runner.colours import Colour, colours_in, named_colour
from runner.instructions import goal_colours
from runner.interfaces import Frames

SIDE = 96
"""Height and width of a frame in pixels."""
FRAMES = 24
FPS = 12.0
DRAWN = (
    "A drawing, seen from above: the small square or ball has to get around the dark block and into the "
    "large disc, its target."
)
"""What a video shows, for people who have never seen one."""
_MARGIN = 16
"""Pixels drawn beyond each edge of the frame, which a shaking camera can see."""
_CANVAS = SIDE + 2 * _MARGIN
THING = 7
"""Half the thing's size in pixels; the target is larger, so that it stays visible around the thing."""
TARGET = 13
OBSTACLE = (8, 11)
"""Half width and half height of the obstacle in pixels."""
_SUBPIXEL_BITS = 4

_TELEPORT_PIXELS = 34.0
_SHAKE_PIXELS = 3.4
_FLICKER_GAIN = 0.30
_BLUR_SIGMA = 2.6

Points = NDArray[np.float64]
"""Pixel positions (x, y) in the frame of a camera at rest, shape (T, 2)."""


@dataclass(frozen=True, slots=True)
class Failures:
    """Strength of each failure, from 0 (none) to 1 (worst)."""

    physics: float
    """The thing teleports, and passes through the obstacle instead of around it."""
    task: float
    """The fraction of the way to the target that the thing does not go."""
    shake: float
    flicker: float
    blur: float

    def as_dict(self) -> dict[str, float]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Scene:
    """The layout of a task, shared by all its videos."""

    thing: Colour
    target: Colour
    thing_is_round: bool
    start: tuple[float, float]
    end: tuple[float, float]
    obstacle: tuple[float, float]
    over: int
    """-1 if the way around the obstacle is above it in the picture, 1 if it is below."""
    background: Frames
    """Shape (canvas, canvas, 3)."""


def make_scene(goal: str, rng: np.random.Generator) -> Scene:
    """The layout for a goal.

    If the goal does not say which colour is the thing's and which the target's, the thing has the first
    colour that it mentions, and the target the last other one; red and blue if it mentions none.
    """
    named, mentioned = goal_colours(goal), colours_in(goal)
    thing = named.thing or next(iter(mentioned), named_colour("red"))
    for_target = [*mentioned[::-1], named_colour("blue"), named_colour("yellow")]
    target = named.target if named.target not in (None, thing) else None
    target = target or next(colour for colour in for_target if colour != thing)
    left, right = rng.uniform(0.14, 0.20), rng.uniform(0.80, 0.84)
    start_x, end_x = (left, right) if rng.random() < 0.5 else (right, left)
    start_y, end_y = rng.uniform(0.42, 0.58, size=2)
    return Scene(
        thing=thing,
        target=target,
        thing_is_round=re.search(r"\b(ball|sphere|marble|apple|orange|coin)\b", goal, re.IGNORECASE)
        is not None,
        start=(start_x * SIDE, start_y * SIDE),
        end=(end_x * SIDE, end_y * SIDE),
        obstacle=(SIDE / 2, (start_y + end_y) / 2 * SIDE),
        over=-1 if rng.random() < 0.5 else 1,
        background=_background(rng),
    )


@dataclass(frozen=True, slots=True)
class Shot:
    """The motion and look of one video of a scene, ready to be drawn."""

    positions: Points
    """Centre of the thing, shape (24, 2)."""
    camera: Points
    """Displacement of the camera in pixels, shape (24, 2)."""
    gains: NDArray[np.float64]
    """Brightness factors, shape (24,)."""
    sigma: float
    """Sigma of the blur in pixels."""


def make_shot(scene: Scene, failures: Failures, rng: np.random.Generator) -> Shot:
    """The shot of a video, deterministic for the same scene, failures and generator state."""
    positions = _positions(scene, failures, rng)
    camera = _SHAKE_PIXELS * failures.shake * np.clip(rng.standard_normal((FRAMES, 2)), -2.5, 2.5)
    gains = 1.0 + _FLICKER_GAIN * failures.flicker * np.clip(rng.standard_normal(FRAMES), -2.0, 2.0)
    return Shot(positions, camera, gains, _BLUR_SIGMA * failures.blur)


def render(scene: Scene, failures: Failures, rng: np.random.Generator) -> Frames:
    """The video, RGB (24, 96, 96, 3); the same scene, failures and generator state give the same bytes."""
    return draw(scene, make_shot(scene, failures, rng))


def draw(scene: Scene, shot: Shot) -> Frames:
    """The frames of a shot, RGB (24, 96, 96, 3)."""
    stage = scene.background.copy()
    _draw_target(stage, scene)
    frames = np.empty((FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
    for index in range(FRAMES):
        picture = stage.copy()
        _draw_thing(picture, scene, shot.positions[index])
        _draw_obstacle(picture, scene)
        x, y = shot.camera[index] + _MARGIN
        shift = np.array([[1.0, 0.0, -x], [0.0, 1.0, -y]])
        # Cubic: a linear filter would soften the picture as it shakes, and blur is a separate failure.
        frame = cv2.warpAffine(picture, shift, (SIDE, SIDE), flags=cv2.INTER_CUBIC)
        if shot.sigma > 0.2:
            frame = cv2.GaussianBlur(frame, (0, 0), shot.sigma)
        frames[index] = cv2.convertScaleAbs(frame, alpha=shot.gains[index])
    return frames


def _positions(scene: Scene, failures: Failures, rng: np.random.Generator) -> Points:
    start, end = np.array(scene.start), np.array(scene.end)
    time = np.linspace(0.0, 1.0, FRAMES)
    eased = time * time * (3.0 - 2.0 * time)
    progress = (eased * (1.0 - failures.task))[:, None]
    clearance = OBSTACLE[1] + THING + 4.0
    # The way is an arc over the obstacle; the physics failure lowers it until it goes straight through.
    arc = scene.over * clearance * (1.0 - failures.physics) * np.sin(np.pi * progress[:, 0])
    positions = start + progress * (end - start)
    positions[:, 1] += arc
    return _teleported(positions, failures.physics, rng)


def _teleported(positions: Points, physics: float, rng: np.random.Generator) -> Points:
    """Twice on its way, the thing is elsewhere for two frames. Its final position does not change."""
    moved = positions.copy()
    for first in (int(rng.integers(4, 9)), int(rng.integers(13, 18))):
        sideways = 1.0 if rng.random() < 0.5 else -1.0
        here = moved[first]
        # Towards the middle of the picture, so that the thing stays visible.
        direction = np.array([0.45 * sideways, -1.0 if here[1] > SIDE / 2 else 1.0])
        if not THING < here[0] + _TELEPORT_PIXELS * physics * direction[0] < SIDE - THING:
            direction[0] = -direction[0]
        moved[first : first + 2] += _TELEPORT_PIXELS * physics * direction / np.hypot(*direction)
    return moved


def _background(rng: np.random.Generator) -> Frames:
    """A grey-brown table top: coarse stains and fine grain, far from every named colour."""
    coarse = cv2.resize(rng.standard_normal((10, 10)), (_CANVAS, _CANVAS), interpolation=cv2.INTER_CUBIC)
    fine = cv2.GaussianBlur(rng.standard_normal((_CANVAS, _CANVAS)), (0, 0), 0.9)
    luma = 128.0 + 14.0 * coarse + 26.0 * fine / fine.std() * 0.6
    tint = np.array([1.04, 1.0, 0.93])
    background: Frames = np.clip(luma[..., None] * tint, 0, 255).astype(np.uint8)
    return background


def _draw_target(picture: Frames, scene: Scene) -> None:
    centre, unit = _fixed(scene.end), 1 << _SUBPIXEL_BITS
    rim = _shaded(scene.target.rgb, 0.75)
    cv2.circle(picture, centre, TARGET * unit, rim, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.circle(picture, centre, (TARGET - 2) * unit, scene.target.rgb, -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_thing(picture: Frames, scene: Scene, position: Points) -> None:
    unit = 1 << _SUBPIXEL_BITS
    for half, colour in ((THING, _shaded(scene.thing.rgb, 0.75)), (THING - 2, scene.thing.rgb)):
        if scene.thing_is_round:
            cv2.circle(picture, _fixed(position), half * unit, colour, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
        else:
            low, high = _fixed(position - half), _fixed(position + half)
            cv2.rectangle(picture, low, high, colour, -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_obstacle(picture: Frames, scene: Scene) -> None:
    """Drawn over the thing, which seems to sink into it."""
    centre, half = np.array(scene.obstacle), np.array(OBSTACLE)
    low, high = _fixed(centre - half), _fixed(centre + half)
    cv2.rectangle(picture, low, high, (58, 56, 60), -1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _shaded(rgb: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    red, green, blue = (round(channel * factor) for channel in rgb)
    return red, green, blue


def _fixed(position: Points | tuple[float, float]) -> tuple[int, int]:
    """A position in the frame as OpenCV's fixed-point position on the canvas."""
    x, y = position
    return round((x + _MARGIN) * (1 << _SUBPIXEL_BITS)), round((y + _MARGIN) * (1 << _SUBPIXEL_BITS))
