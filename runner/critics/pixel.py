"""Critics that measure decoded frames with classical computer vision: no network, no weights, no GPU.

Each sees the frames, their rate and the goal's words, and nothing else. A score is ``exp(-raw / scale)`` of a
raw measure that is 0 for a flawless video, or that measure itself where it is a share; 1 is best, and the
raw measure is in the notes. Videos of any size are measured at a bounded working size, and lengths are in
shares of the frame, so that resolution matters little.
"""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from runner.colours import goal_colours
from runner.critics.measures import (
    FLOW_SIDE,
    Gray,
    camera_steps,
    diagonal,
    gray_frames,
    steadied,
    track,
    working_size,
)
from runner.interfaces import Critic, Frames
from streams.messages.contracts import CriticResult


class Flicker:
    """Global flicker: how much the brightness of the whole picture jumps from frame to frame.

    Raw: the mean of |second difference| of the frames' mean luma, in shares of the mean luma; fades and a
    steady change of light cost nothing. Score in [0, 1]; half at a raw of about 0.14. Global-brightness
    flicker as in video deflickering: Delon, "Movie and video scale-time equalization", IEEE TIP 2006.
    """

    name = "flicker"

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        luma = gray_frames(working_size(frames)).mean(axis=(1, 2), dtype=np.float64)
        jumps = np.abs(np.diff(luma, n=2)) if len(luma) > 2 else np.abs(np.diff(luma))
        raw = float(jumps.mean() / max(1.0, luma.mean()))
        return _result(self.name, "quality", _falling(raw, 0.20), f"relative luma jump {raw:.4f}")


class Blur:
    """Blur: how little detail a frame loses when it is blurred once more.

    Raw: the mean over frames of the blur metric in [0, 1] of Crété et al., "The blur effect: perception and
    estimation with a new no-reference perceptual blur metric", SPIE 2007; it compares neighbouring pixels'
    differences before and after a strong low-pass, so what is in the picture matters less than with the
    variance of the Laplacian. Score in [0, 1]: 1 minus the metric, stretched over the range of real frames.
    """

    name = "blur"

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        raw = float(np.mean([_blur_metric(frame) for frame in gray_frames(working_size(frames))]))
        return _result(self.name, "quality", _clipped((0.95 - raw) / 0.75), f"blur metric {raw:.4f}")


class FlowSmoothness:
    """Motion smoothness: how steadily the pixels move.

    Raw: the mean length of the change of optical flow from one frame to the next (the pixels' acceleration),
    in shares of the frame's diagonal. Flow is Farnebäck's ("Two-frame motion estimation based on
    polynomial expansion", SCIA 2003) between frames of equal mean brightness. Score in [0, 1]; half at a raw
    of about 0.02. None for fewer than three frames, or frames of fewer than 16 pixels a side at working size.
    """

    name = "flow_smoothness"

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        gray = _even_brightness(gray_frames(working_size(frames, FLOW_SIDE)))
        if len(gray) < 3 or min(gray.shape[1:]) < 16:
            return _unknown(self.name, "smoothness", "needs three frames of 16 pixels or more")
        flows = np.stack([_flow(a, b) for a, b in pairwise(gray)])
        change = np.hypot(*np.moveaxis(np.diff(flows, axis=0), -1, 0))
        raw = float(np.nan_to_num(change).mean()) / diagonal(gray)
        return _result(
            self.name, "smoothness", _falling(raw, 0.035), f"flow change {raw:.5f} of the diagonal"
        )


class TemporalJitter:
    """Camera jitter: how far the camera's path departs from a smooth one.

    Raw: the root mean square of the global motion's second difference, in shares of the frame's diagonal.
    Global motion is by phase correlation (Kuglin and Hines 1975); a pan at constant speed costs nothing, as
    in the stability score of video stabilisation (Liu et al., "Bundled camera paths", SIGGRAPH 2013). Score
    in [0, 1]; half at a raw of about 0.03. None for fewer than three frames.
    """

    name = "temporal_jitter"

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        gray = gray_frames(working_size(frames))
        if len(gray) < 3:
            return _unknown(self.name, "smoothness", "needs three frames")
        change = np.diff(camera_steps(gray), axis=0)
        raw = float(np.sqrt((change**2).sum(axis=1).mean())) / diagonal(gray)
        return _result(
            self.name, "smoothness", _falling(raw, 0.045), f"camera jitter {raw:.5f} of the diagonal"
        )


class ObjectContinuity:
    """Object permanence and continuity: the thing neither jumps nor vanishes.

    The thing is the pixels of the goal's first colour; camera motion is taken out. Raw: the sum of its
    centroid's accelerations beyond what measuring noise allows, in shares of the frame's diagonal (jumps),
    plus the mean share of its area that is missing against its usual area (it sinks into something). Score in
    [0, 1]; half at a raw of about 0.8. None where the goal names no colour or the thing is seen in fewer than
    half of the frames. The two principles are those of violation-of-expectation tests such as IntPhys
    (Riochet et al. 2018).
    """

    name = "object_continuity"

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        thing = goal_colours(goal).thing
        if thing is None:
            return _unknown(self.name, "physics", "the goal names no colour to follow")
        small = working_size(frames)
        path = track(small, thing)
        if path.seen.mean() < 0.5 or path.seen.sum() < 3:
            return _unknown(self.name, "physics", f"nothing {thing.name} to follow")
        gray = gray_frames(small)
        still = steadied(path.centroids, camera_steps(gray))[path.seen]
        pushes = np.linalg.norm(np.diff(still, n=2, axis=0), axis=1) / diagonal(gray)
        jumps = float(np.maximum(0.0, pushes - 0.012).sum())
        usual = float(np.percentile(path.areas[path.seen], 75))
        missing = float(np.maximum(0.0, 1.0 - path.areas / usual).mean())
        score = _falling(jumps / 2.2 + missing / 0.5, 1.0)
        return _result(
            self.name, "physics", score, f"jumps {jumps:.3f} of the diagonal, missing area {missing:.3f}"
        )


class GoalReached:
    """Goal reached: how near the thing is to its target at the end.

    The thing is the pixels of the goal's first colour, the target those of its last. Raw: the median distance
    of their centroids over the last three frames in which both are seen, over their distance at the start
    (at least a quarter of the diagonal, so that a short way is no harder). Score in [0, 1]: 1 minus raw. None
    where the goal names fewer than two colours, or one of them is not seen at the start and in the last
    quarter. Final-state distance is the usual success measure of tabletop rearrangement (Batra et al.,
    "Rearrangement: a challenge for embodied AI", 2020).
    """

    name = "goal_reached"

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        colours = goal_colours(goal)
        if colours.thing is None or colours.target is None:
            return _unknown(self.name, "task", "the goal does not name the colours of a thing and a target")
        small = working_size(frames)
        thing, target = track(small, colours.thing), track(small, colours.target)
        distances = np.linalg.norm(thing.centroids - target.centroids, axis=1)
        both = thing.seen & target.seen
        quarter = max(2, len(frames) // 4)
        first, last = distances[:quarter][both[:quarter]], distances[-quarter:][both[-quarter:]]
        if not len(first) or not len(last):
            missing = colours.thing.name if thing.seen.mean() < target.seen.mean() else colours.target.name
            return _unknown(self.name, "task", f"nothing {missing} at the start or at the end")
        way = max(float(first[0]), 0.25 * diagonal(gray_frames(small[:1])))
        raw = float(np.median(last[-3:])) / way
        return _result(self.name, "task", _clipped(1.0 - raw), f"distance left {raw:.3f} of the way")


def default_critics() -> tuple[Critic, ...]:
    """All of them, in a fixed order."""
    return Flicker(), Blur(), FlowSmoothness(), TemporalJitter(), ObjectContinuity(), GoalReached()


def _blur_metric(frame: Gray) -> float:
    """Crété's metric of one frame: the larger of the two directions' shares of detail that are missing."""
    detail = frame.astype(np.float32)
    shares = []
    for axis, kernel in ((0, (1, 9)), (1, (9, 1))):
        blurred = cv2.blur(detail, kernel)
        sharp = np.abs(np.diff(detail, axis=axis))
        lost = np.maximum(0.0, sharp - np.abs(np.diff(blurred, axis=axis)))
        total = float(sharp.sum())
        # A frame without any detail cannot be called sharp.
        shares.append(1.0 if total == 0.0 else 1.0 - float(lost.sum()) / total)
    return max(shares)


def _flow(before: Gray, after: Gray) -> NDArray[np.float32]:
    # Two pyramid levels and one pass each: coarse, but the steps of a shaking camera are what is looked for.
    flow = cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 2, 11, 1, 5, 1.1, 0)
    return np.asarray(flow, dtype=np.float32)


def _even_brightness(gray: Gray) -> Gray:
    """Every frame at the mean brightness of all: flow must not take flicker for motion."""
    means = np.maximum(1.0, gray.mean(axis=(1, 2)))
    return np.stack(
        [cv2.convertScaleAbs(g, alpha=float(means.mean() / m)) for g, m in zip(gray, means, strict=True)]
    )


def _falling(raw: float, scale: float) -> float:
    return _clipped(math.exp(-raw / scale))


def _clipped(score: float) -> float:
    return min(1.0, max(0.0, score))


def _result(name: str, mode: str, score: float, notes: str) -> CriticResult:
    return CriticResult(critic_name=name, scores={mode: score}, notes=notes)


def _unknown(name: str, mode: str, why: str) -> CriticResult:
    return CriticResult(critic_name=name, scores={mode: None}, notes=why)
