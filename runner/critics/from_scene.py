"""What the pixel critics say of a video of the simulated world, computed from its scene without drawing it.

Each critic's own formula is applied to what it would have measured: the brightness, the camera's path, and the places and
areas of the pixels that are in sight. Only the blur metric and the optical flow are not known from the scene; they are
fitted by least squares to 900 videos (task seeds 700000 to 700899, up to four random refinements each). So a
video takes half a millisecond instead of fifty. That this agrees with the critics on videos that were encoded and
decoded is held by a test on others.

For studies of the loop alone (``runner.experiment``): the critics of a run look at pixels.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from runner.worlds.scene import FRAMES, OBSTACLE, SIDE, TARGET, THING, Points, Scene, Shot
from streams.contracts import CriticResult

_DIAGONAL = math.hypot(SIDE, SIDE)
_FLOW_FIT = (0.0019, 0.898, 0.0046)
"""Constant, per mean acceleration of the camera, and of the thing."""
_BLUR_FIT = (0.2186, 0.0343, 0.1204, -0.0311)
"""Powers of the blur's sigma in pixels."""
_LEAST_AREA = 0.0008 * SIDE * SIDE
_QUARTER = FRAMES // 4

Mask = NDArray[np.bool_]


def results_from_scene(scene: Scene, shot: Shot) -> tuple[CriticResult, ...]:
    """One result a critic, in the order of ``default_critics``; without notes."""
    thing, target = _in_sight(scene, shot)
    return (
        _result("flicker", "quality", _flicker(shot)),
        _result("blur", "quality", _blur(shot)),
        _result("flow_smoothness", "smoothness", _flow_smoothness(shot)),
        _result("temporal_jitter", "smoothness", _temporal_jitter(shot)),
        _result("object_continuity", "physics", _object_continuity(thing)),
        _result("goal_reached", "task", _goal_reached(thing, target)),
    )


class _Patch:
    """The visible pixels of one colour in each frame, as ``runner.critics.measures.Track`` has them."""

    def __init__(self, pixels: Points, visible: Mask) -> None:
        """Shapes (T, K, 2) and (T, K)."""
        self.areas = visible.sum(axis=1).astype(np.float64)
        self.centroids = (visible[..., None] * pixels).sum(axis=1) / np.maximum(1.0, self.areas)[:, None]
        self.seen = self.areas >= max(_LEAST_AREA, 0.15 * float(np.percentile(self.areas, 75)))


def _in_sight(scene: Scene, shot: Shot) -> tuple[_Patch, _Patch]:
    """The thing, which the obstacle hides, and the target, which both of them hide."""
    centres = shot.positions[:, None]
    pixels = np.round(centres) + _square(THING)
    thing = _of_thing(pixels, centres, scene) & ~_of_obstacle(pixels, scene)
    end = np.array(scene.end)
    spots = np.round(end) + _square(TARGET)
    disc = (np.hypot(*(spots - end).T) <= TARGET + 0.3) & ~_of_obstacle(spots, scene)
    target = disc & ~_of_thing(spots[None], centres, scene)
    return _Patch(pixels, thing), _Patch(np.broadcast_to(spots, (FRAMES, *spots.shape)), target)


def _square(half: int) -> Points:
    """The pixels of a square around the origin, shape (K, 2)."""
    side = np.arange(-half, half + 1, dtype=np.float64)
    return np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)


def _of_thing(pixels: Points, centres: Points, scene: Scene) -> Mask:
    away = np.abs(pixels - centres)
    inside = np.hypot(away[..., 0], away[..., 1]) if scene.thing_is_round else away.max(axis=-1)
    return np.asarray(inside <= THING + 0.3)


def _of_obstacle(pixels: Points, scene: Scene) -> Mask:
    return np.asarray((np.abs(pixels - np.array(scene.obstacle)) <= np.array(OBSTACLE) + 0.3).all(axis=-1))


def _flicker(shot: Shot) -> float:
    raw = np.abs(np.diff(shot.gains, n=2)).mean() / shot.gains.mean()
    return math.exp(-raw / 0.20)


def _blur(shot: Shot) -> float:
    raw = sum(coefficient * shot.sigma**power for power, coefficient in enumerate(_BLUR_FIT))
    return min(1.0, max(0.0, (0.95 - raw) / 0.75))


def _flow_smoothness(shot: Shot) -> float:
    constant, of_camera, of_thing = _FLOW_FIT
    raw = constant + of_camera * _acceleration(shot.camera).mean() + of_thing * _acceleration(shot.positions).mean()
    return math.exp(-max(0.0, raw) / 0.035)


def _temporal_jitter(shot: Shot) -> float:
    return math.exp(-math.sqrt((_acceleration(shot.camera) ** 2).mean()) / 0.045)


def _object_continuity(thing: _Patch) -> float | None:
    if thing.seen.mean() < 0.5:
        return None
    jumps = np.maximum(0.0, _acceleration(thing.centroids[thing.seen]) - 0.012).sum()
    usual = np.percentile(thing.areas[thing.seen], 75)
    missing = np.maximum(0.0, 1.0 - thing.areas / usual).mean()
    return math.exp(-(jumps / 2.2 + missing / 0.5))


def _goal_reached(thing: _Patch, target: _Patch) -> float | None:
    distances = np.linalg.norm(thing.centroids - target.centroids, axis=1)
    both = thing.seen & target.seen
    first, last = distances[:_QUARTER][both[:_QUARTER]], distances[-_QUARTER:][both[-_QUARTER:]]
    if not len(first) or not len(last):
        return None
    return min(1.0, max(0.0, 1.0 - float(np.median(last[-3:])) / max(float(first[0]), 0.25 * _DIAGONAL)))


def _acceleration(points: Points) -> NDArray[np.float64]:
    """Lengths of the second differences, in shares of the frame's diagonal."""
    return np.asarray(np.linalg.norm(np.diff(points, n=2, axis=0), axis=1) / _DIAGONAL)


def _result(name: str, mode: str, score: float | None) -> CriticResult:
    return CriticResult(critic_name=name, scores={mode: score})
