"""The pixel critics' scores for a video of the simulated world, computed from its scene without drawing it.

Each critic's formula is applied to the quantities that it would measure: brightness, camera path, and the
positions and areas of visible pixels. Something moves in every such video, so the rules for stills are left
out. The blur metric and the optical flow cannot be computed from the scene; they are fitted by least squares
to 900 videos (task seeds 700000 to 700899, up to four random refinements each). A video takes 0.6 ms instead
of 55. A test on other videos compares this with the critics on encoded and decoded videos.

Only for studies of the loop (``runner.lab.experiment``); the critics of a run look at pixels.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from runner.critics.things import Track, arrival, continuity, in_sight
from runner.worlds.scene import FRAMES, OBSTACLE, SIDE, TARGET, THING, Points, Scene, Shot
from streams.messages.contracts import CriticResult

_DIAGONAL = math.hypot(SIDE, SIDE)
_FLOW_FIT = (0.0019, 0.898, 0.0046)
"""Intercept, and slopes for the mean acceleration of the camera and of the thing."""
_BLUR_FIT = (0.2186, 0.0343, 0.1204, -0.0311)
"""Powers of the blur's sigma in pixels."""

_EDGE = 0.3
"""Pixels beyond an outline that still look filled, because outlines are anti-aliased."""

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]
_SIDES = {half: np.arange(-half, half + 1, dtype=np.float64) for half in (THING, TARGET)}
_SQUARE_X = {half: np.tile(side, len(side))[None, :] for half, side in _SIDES.items()}
_SQUARE_Y = {half: np.repeat(side, len(side))[None, :] for half, side in _SIDES.items()}
"""Pixel offsets from the centre of a square, in half sides, shape (1, K)."""


def results_from_scene(scene: Scene, shot: Shot) -> tuple[CriticResult, ...]:
    """One result per critic, in the order of ``default_critics``, without notes."""
    thing, target = _tracks(scene, shot)
    arrived = arrival(thing, target)
    assert arrived is not None, "both are in sight at the start of every scene"
    return (
        _result("flicker", "quality", _flicker(shot)),
        _result("blur", "quality", _blur(shot)),
        _result("flow_smoothness", "smoothness", _flow_smoothness(shot)),
        _result("temporal_jitter", "smoothness", _temporal_jitter(shot)),
        _result("object_continuity", "physics", continuity(thing, thing.centroids).score),
        _result("goal_reached", "task", arrived.score),
    )


def _track(x: Numbers, y: Numbers, visible: Mask) -> Track:
    """Track of the visible pixels of one colour, shapes (T, K), or (1, K) for a fixed place."""
    areas = np.count_nonzero(visible, axis=1)
    sums = [np.where(visible, places, 0.0).sum(axis=1) for places in (x, y)]
    centroids = np.stack(sums, axis=1) / np.maximum(1, areas)[:, None]
    seen = in_sight(areas.astype(np.float64), SIDE * SIDE)
    return Track(centroids, areas.astype(np.float64), seen, np.zeros(FRAMES), (SIDE, SIDE))


def _tracks(scene: Scene, shot: Shot) -> tuple[Track, Track]:
    """Tracks of the thing, which the obstacle can hide, and of the target, which both can hide."""
    centre_x, centre_y = shot.positions[:, :1], shot.positions[:, 1:]
    x, y = np.round(centre_x) + _SQUARE_X[THING], np.round(centre_y) + _SQUARE_Y[THING]
    thing = _of_thing(x - centre_x, y - centre_y, scene) & ~_of_obstacle(x, y, scene)
    end_x, end_y = scene.end
    spot_x, spot_y = round(end_x) + _SQUARE_X[TARGET], round(end_y) + _SQUARE_Y[TARGET]
    disc = _is_round(spot_x - end_x, spot_y - end_y, TARGET) & ~_of_obstacle(spot_x, spot_y, scene)
    target = disc & ~_of_thing(spot_x - centre_x, spot_y - centre_y, scene)
    return _track(x, y, thing), _track(spot_x, spot_y, target)


def _of_thing(x: Numbers, y: Numbers, scene: Scene) -> Mask:
    """Mask of the points that belong to a thing at the origin."""
    if scene.thing_is_round:
        return _is_round(x, y, THING)
    return (np.abs(x) <= THING + _EDGE) & (np.abs(y) <= THING + _EDGE)


def _of_obstacle(x: Numbers, y: Numbers, scene: Scene) -> Mask:
    (centre_x, centre_y), (wide, high) = scene.obstacle, OBSTACLE
    return (np.abs(x - centre_x) <= wide + _EDGE) & (np.abs(y - centre_y) <= high + _EDGE)


def _is_round(x: Numbers, y: Numbers, radius: int) -> Mask:
    return np.asarray(x * x + y * y <= (radius + _EDGE) ** 2)


def _flicker(shot: Shot) -> float:
    raw = np.abs(np.diff(shot.gains, n=2)).mean() / shot.gains.mean()
    return math.exp(-raw / 0.20)


def _blur(shot: Shot) -> float:
    raw = sum(coefficient * shot.sigma**power for power, coefficient in enumerate(_BLUR_FIT))
    return min(1.0, max(0.0, (0.95 - raw) / 0.75))


def _flow_smoothness(shot: Shot) -> float:
    constant, of_camera, of_thing = _FLOW_FIT
    raw = constant + of_camera * _acceleration(shot.camera).mean()
    raw += of_thing * _acceleration(shot.positions).mean()
    return math.exp(-max(0.0, raw) / 0.035)


def _temporal_jitter(shot: Shot) -> float:
    return math.exp(-math.sqrt((_acceleration(shot.camera) ** 2).mean()) / 0.045)


def _acceleration(points: Points) -> NDArray[np.float64]:
    """Lengths of the second differences, as fractions of the frame's diagonal."""
    return np.asarray(np.linalg.norm(np.diff(points, n=2, axis=0), axis=1) / _DIAGONAL)


def _result(name: str, mode: str, score: float) -> CriticResult:
    return CriticResult(critic_name=name, scores={mode: score})
