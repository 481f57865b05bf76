"""Films as a robot's camera takes them, 832 × 480: textured, and with much that has no name in a goal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from runner.interfaces import Frames

HEIGHT, WIDTH, FRAMES, FPS = 480, 832, 24, 12.0
RED, GREEN, GREEN_TABLE, YELLOW, GREY = (
    (205, 40, 42),
    (45, 160, 62),
    (62, 150, 74),
    (222, 205, 40),
    (120, 124, 130),
)
BOWL = (640, 330)
Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Thing:
    """Something coloured in the picture, ``half`` its width in pixels."""

    colour: Colour
    at: tuple[float, float]
    half: int = 28
    is_round: bool = False


def room(*things: Thing, table: Colour = (150, 138, 120)) -> Picture:
    """A table with grain, a darker wall behind it, some grey clutter, and ``things``."""
    rng = np.random.default_rng(0)
    stains = cv2.resize(rng.standard_normal((12, 20)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    grain = cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH)), (0, 0), 3.0)
    light = 1.0 + 0.10 * stains + 0.10 * grain / grain.std()
    picture = light[..., None] * np.array(table, dtype=np.float64)
    picture[:170] = light[:170, :, None] * np.array([96.0, 92.0, 90.0])
    drawn: Picture = np.clip(picture, 0, 255).astype(np.uint8)
    for x, y, half in ((120, 110, 46), (420, 140, 60), (730, 96, 38)):
        cv2.rectangle(drawn, (x - half, y - half), (x + half, y + half), (66, 64, 68), -1)
    for thing in things:
        draw(drawn, thing)
    return drawn


def draw(picture: Picture, thing: Thing) -> None:
    x, y = round(thing.at[0]), round(thing.at[1])
    if thing.is_round:
        cv2.circle(picture, (x, y), thing.half, thing.colour, -1, cv2.LINE_AA)
    else:
        corners = (x - thing.half, y - thing.half), (x + thing.half, y + thing.half)
        cv2.rectangle(picture, *corners, thing.colour, -1)


def draw_arm(picture: Picture, hand: tuple[float, float]) -> None:
    """A grey arm of two links from the upper edge to ``hand``."""
    shoulder, elbow = (416, -20), (round((416 + hand[0]) / 2 + 70), round(hand[1] / 2 - 10))
    for start, end, width in ((shoulder, elbow, 46), (elbow, (round(hand[0]), round(hand[1])), 34)):
        cv2.line(picture, start, end, GREY, width, cv2.LINE_AA)


def frozen(picture: Picture, count: int = FRAMES) -> Frames:
    return np.repeat(picture[None], count, axis=0)


def noise(seed: int = 1, *, grain: int = 1, of_hue: bool = False) -> Picture:
    """Blocks of ``grain`` pixels, each of any colour; ``of_hue``, all equally bright."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (-(-HEIGHT // grain), -(-WIDTH // grain), 3))
    if of_hue:
        luma = blocks @ np.array([0.299, 0.587, 0.114])
        blocks = np.clip(128.0 + (blocks - luma[..., None]) / 2.0, 0, 255)
    return blocks.astype(np.uint8).repeat(grain, axis=0).repeat(grain, axis=1)[:HEIGHT, :WIDTH]


def frozen_noise(seed: int = 1, count: int = FRAMES) -> Frames:
    return frozen(noise(seed), count)


def panned(picture: Picture) -> Frames:
    """By 4 pixels a frame; what leaves on one side comes back on the other."""
    return np.stack([np.roll(picture, 4 * index, axis=1) for index in range(FRAMES)])


def lit(frames: Frames, gains: NDArray[np.float64]) -> Frames:
    """``gains`` of brightness, shape (T,)."""
    return np.clip(frames * gains[:, None, None, None], 0, 255).astype(np.uint8)


def flashing(frames: Frames, *white: int, width: int = WIDTH) -> Frames:
    """The frames ``white`` are white, ``width`` pixels from the left."""
    flashed = frames.copy()
    flashed[list(white), :, :width] = 255
    return flashed


def plain_table() -> Picture:
    """Without grain or anything on it."""
    return np.full((HEIGHT, WIDTH, 3), 200, dtype=np.uint8)


def sliding(picture: Picture, thing: Thing, to: tuple[float, float]) -> Frames:
    """``thing`` alone slides to ``to``."""
    frames = frozen(picture)
    for frame, place in zip(frames, places(thing.at, to, 1.0), strict=True):
        draw(frame, Thing(thing.colour, place, thing.half, thing.is_round))
    return frames


def plain_table_with_dots() -> Picture:
    """Full of small things of any colour."""
    rng = np.random.default_rng(0)
    picture = plain_table()
    for colour, x, y in zip(rng.integers(0, 256, (200, 3)), *rng.random((2, 200)), strict=True):
        draw(picture, Thing((int(colour[0]), int(colour[1]), int(colour[2])), (x * WIDTH, y * HEIGHT), 10))
    return picture


def with_camera_noise(frames: Frames, sigma: float = 8.0) -> Frames:
    rng = np.random.default_rng(2)
    noisy = [frame + sigma * rng.standard_normal(frame.shape) for frame in frames]
    return np.stack([np.clip(frame, 0, 255).astype(np.uint8) for frame in noisy])


def moving_arm(picture: Picture, *, way: float = 1.0) -> Frames:
    """An arm alone that swings over the picture, ``way`` of 280 pixels."""
    frames = frozen(picture)
    for frame, share in zip(frames, eased(), strict=True):
        draw_arm(frame, (280.0 + way * 280.0 * share, 250.0 + way * 60.0 * share))
    return frames


def carried(
    picture: Picture,
    thing: Thing,
    to: tuple[float, float],
    *,
    way: float = 1.0,
    in_sight: Callable[[int], bool] = lambda index: True,
) -> Frames:
    """An arm carries ``thing`` ``way`` of the way to ``to``; ``in_sight`` says in which frames it is."""
    frames = frozen(picture)
    for index, (frame, place) in enumerate(zip(frames, places(thing.at, to, way), strict=True)):
        draw_arm(frame, (place[0], place[1] - thing.half - 20))
        if in_sight(index):
            draw(frame, Thing(thing.colour, place, thing.half, thing.is_round))
    return frames


def places(start: tuple[float, float], end: tuple[float, float], way: float) -> Iterator[tuple[float, float]]:
    for share in eased() * way:
        lift = 60.0 * np.sin(np.pi * share)
        yield start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]) - lift


def eased() -> NDArray[np.float64]:
    time = np.linspace(0.0, 1.0, FRAMES)
    smooth: NDArray[np.float64] = time * time * (3.0 - 2.0 * time)
    return smooth
