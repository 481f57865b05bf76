"""Critics that measure decoded frames with classical computer vision: no network, no weights, no GPU.

Each critic sees the frames, their rate and the goal's words: of the task, it learns at most where two colours
are. A score is ``exp(-raw / scale)`` of a raw measure that is 0 for a flawless video, or the measure itself
if that is a fraction. 1 is best, and the notes give the raw measure. Videos are measured at a bounded working
size, and lengths are fractions of the frame, so resolution matters little.

If a critic's assumptions do not hold, it gives no score (``streams.messages.no_score``). Neither a still nor
noise earns praise: the critics of flicker, jitter and continuity do not apply to a still, those of flicker,
blur and jitter not to noise, frozen or moving, and motion smoothness gives both 0. So the critics' mean of a
still averages its sharpness and 0, and is 0 for noise. Only noise that fills the picture, bars aside, with a
grain of at most a fiftieth of its width is told from a texture.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from runner.critics.measures import (
    FLOW_SIDE,
    Gray,
    camera_steps,
    changed_share,
    diagonal,
    gray_frames,
    likeness_of_neighbours,
    steadied,
    working_size,
)
from runner.critics.things import arrival, continuity, track
from runner.instructions import goal_colours
from runner.interfaces import Critic, Frames
from streams.messages.contracts import CriticResult
from streams.messages.no_score import does_not_apply, not_seen

_STILL = 0.001
"""Fraction of the picture. If less than this ever changes, the video is a still."""
_PLAIN_MOTION = 0.005
"""Fraction of the picture. If this much changes, something moves."""
_NOISE_LIKENESS = 0.2
"""Correlation of neighbouring pixels; below it, a picture is noise."""
_IS_STILL = "nothing changes: a still"


class PixelCritic(Critic, Protocol):
    """A critic of this module."""

    sees: str
    """One line: what the critic can see, and when it gives no score."""


class Flicker:
    """Global flicker: how much the brightness of the whole picture jumps from frame to frame.

    Raw: the mean of |second difference| of the frames' mean luma, as a fraction of the mean luma. Fades and
    steady changes of light cost nothing. Score in [0, 1]; half at a raw of about 0.14. Global-brightness
    flicker as in video deflickering: Delon, "Movie and video scale-time equalization", IEEE TIP 2006. Flicker
    of only a part of the picture goes unseen. Null for a still, which cannot flicker, and for noise.
    """

    name = "flicker"
    sees = "jumps of the whole picture's brightness; null for still images and noise"

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        if changed_share(frames) < _STILL:
            return does_not_apply(self.name, "quality", _IS_STILL)
        if noise := _noise(frames):
            return does_not_apply(self.name, "quality", noise)
        luma = gray_frames(working_size(frames)).mean(axis=(1, 2), dtype=np.float64)
        jumps = np.abs(np.diff(luma, n=2)) if len(luma) > 2 else np.abs(np.diff(luma))
        raw = float(jumps.mean() / max(1.0, luma.mean()))
        return _result(self.name, "quality", _falling(raw, 0.20), f"relative luma jump {raw:.4f}")


class Blur:
    """Blur: how little detail a frame loses when it is blurred once more.

    Raw: the mean over frames of the blur metric in [0, 1] of Crété et al., "The blur effect: perception and
    estimation with a new no-reference perceptual blur metric", SPIE 2007. It compares neighbouring pixels'
    differences before and after a strong low-pass, so content matters less than it does for the variance of
    the Laplacian. Score in [0, 1]: 1 minus the metric, stretched over the range of real frames. The critic
    cannot tell what the detail is, so fine grain counts as sharp. Null for noise, whose neighbouring pixels
    are hardly correlated.
    """

    name = "blur"
    sees = "sharpness, whatever is shown; null for noise"

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        if noise := _noise(frames):
            return does_not_apply(self.name, "quality", noise)
        raw = float(np.mean([_blur_metric(frame) for frame in gray_frames(working_size(frames))]))
        return _result(self.name, "quality", _clipped((0.95 - raw) / 0.75), f"blur metric {raw:.4f}")


class FlowSmoothness:
    """Motion smoothness: how steadily the pixels move, if they move.

    Raw: the mean length of the change of optical flow from one frame to the next (the pixels' acceleration),
    as a fraction of the frame's diagonal. Flow is Farnebäck's ("Two-frame motion estimation based on
    polynomial expansion", SCIA 2003) between frames of equal mean brightness. Score in [0, 1]; half at a raw
    of about 0.02. It sees neither what moves nor whether it should.

    A video without motion scores 0, because it has no smooth motion, and so does noise, because nothing in it
    can be followed. If less than 0.005 of the picture ever moves, the score falls in proportion; camera
    noise, a flash and a fade are no motion (``changed_share``). So this is the only critic that measures
    whether anything moves: it puts a 0 into the critics' mean of a still and of noise, to which others do not
    apply. It takes a lamp that keeps blinking, and a cut from one still to another, for motion. Null for
    fewer than three frames, and for frames with a side below 16 pixels at working size.
    """

    name = "flow_smoothness"
    sees = "how steadily anything moves; 0 if nothing does, and for noise"

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        gray = _even_brightness(gray_frames(working_size(frames, FLOW_SIDE)))
        if len(gray) < 3 or min(gray.shape[1:]) < 16:
            return does_not_apply(self.name, "smoothness", "needs three frames of 16 pixels or more")
        if noise := _noise(frames):
            return _result(self.name, "smoothness", 0.0, noise)
        moved = changed_share(frames, of_motion=True)
        flows = np.stack([_flow(a, b) for a, b in pairwise(gray)])
        change = np.hypot(*np.moveaxis(np.diff(flows, axis=0), -1, 0))
        raw = float(np.nan_to_num(change).mean()) / diagonal(gray)
        score = _falling(raw, 0.035) * min(1.0, moved / _PLAIN_MOTION)
        notes = f"flow change {raw:.5f} of the diagonal; {moved:.4f} of the picture moves"
        return _result(self.name, "smoothness", score, notes)


class TemporalJitter:
    """Camera jitter: how far the camera's path departs from a smooth one.

    Raw: the root mean square of the global motion's second difference, as a fraction of the frame's diagonal.
    Global motion is by phase correlation (Kuglin and Hines 1975); a pan at constant speed costs nothing, as
    in the stability score of video stabilisation (Liu et al., "Bundled camera paths", SIGGRAPH 2013). Score
    in [0, 1]; half at a raw of about 0.03. It sees the camera's motion, not the content. Null for fewer than
    three frames, for a still, which needs no steady camera, even if it flashes or fades, and for noise, which
    shows no place that a camera could be steady in.
    """

    name = "temporal_jitter"
    sees = "a shaking camera; null for still images and noise"

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        gray = gray_frames(working_size(frames))
        if len(gray) < 3:
            return does_not_apply(self.name, "smoothness", "needs three frames")
        if changed_share(frames, of_motion=True) < _STILL:
            return does_not_apply(self.name, "smoothness", "nothing moves")
        if noise := _noise(frames):
            return does_not_apply(self.name, "smoothness", noise)
        change = np.diff(camera_steps(gray), axis=0)
        raw = float(np.sqrt((change**2).sum(axis=1).mean())) / diagonal(gray)
        return _result(
            self.name, "smoothness", _falling(raw, 0.045), f"camera jitter {raw:.5f} of the diagonal"
        )


class ObjectContinuity:
    """Object permanence and continuity: the thing neither jumps nor vanishes.

    The thing is the pixels of the colour that the goal gives it (``goal_colours``); camera motion is removed.
    Raw: the sum of its centroid's accelerations beyond measurement noise, as fractions of the frame's
    diagonal (jumps), plus the mean fraction of its usual area that is missing (it sinks into something, or is
    gone). Score in [0, 1]; half at a raw of about 0.8. The two principles are those of
    violation-of-expectation tests such as IntPhys (Riochet et al. 2018). It sees one colour, and neither
    shapes nor anything else in the picture.

    Null if no single thing can be followed: the goal gives it no colour of its own, or at the start that
    colour is absent (``not_seen``), belongs to several things, or covers a fifth of the picture or more. Null
    for a still, and for fewer than three frames.
    """

    name = "object_continuity"
    sees = "a thing that jumps or vanishes; null unless the goal names one by its colour"

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        colour = goal_colours(goal).thing
        if colour is None:
            return does_not_apply(self.name, "physics", "the goal names no one thing by its colour")
        if len(frames) < 3:
            return does_not_apply(self.name, "physics", "needs three frames")
        small = working_size(frames)
        thing = track(small, colour)
        if not thing.is_there_at_start:
            return not_seen(self.name, "physics", f"nothing {colour.name} at the start")
        if unclear := thing.unclear(colour.name):
            return does_not_apply(self.name, "physics", unclear)
        if thing.seen.all() and changed_share(frames, of_motion=True) < _STILL:
            return does_not_apply(self.name, "physics", _IS_STILL)
        at_rest = steadied(thing.centroids, camera_steps(gray_frames(small)))
        broken = continuity(thing, at_rest)
        notes = f"jumps {broken.jumps:.3f} of the diagonal, missing area {broken.missing:.3f}"
        return _result(self.name, "physics", broken.score, notes)


class GoalReached:
    """Goal reached: how near the thing is to its target at the end.

    Thing and target are the pixels of the colours that the goal gives them (``goal_colours``). Raw: the
    median distance of their centroids over the last three frames of the last quarter that show both, divided
    by their distance at the start (at least a quarter of the diagonal, so that a short way is no harder).
    Score in [0, 1]: 1 minus raw. Final-state distance is the usual success measure of tabletop rearrangement
    (Batra et al., "Rearrangement: a challenge for embodied AI", 2020). It sees where two colours are, but
    neither what has them nor how they got there. So it scores only a goal that is one plain sentence about
    bringing the thing to its target; ``goal_colours`` lists those that are understood.

    If one of the two is out of sight in the whole last quarter, their last distance in sight counts: in full
    if they touched, because the thing may be inside its target, otherwise by half, because it is hidden or
    gone. Null if the goal is not understood, or if one of the colours is not a single thing at the start, as
    in ``ObjectContinuity``.
    """

    name = "goal_reached"
    sees = "a thing at its target; null unless the goal is one plain sentence about that"

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        colours = goal_colours(goal)
        if colours.thing is None or colours.target is None:
            why = "the goal is not one plain sentence about a thing and its target, each with a colour"
            return does_not_apply(self.name, "task", why)
        small = working_size(frames)
        thing, target = track(small, colours.thing), track(small, colours.target)
        for colour, followed in ((colours.thing, thing), (colours.target, target)):
            if not followed.is_there_at_start:
                return not_seen(self.name, "task", f"nothing {colour.name} at the start")
        unclear = thing.unclear(colours.thing.name) or target.unclear(colours.target.name)
        arrived = None if unclear else arrival(thing, target)
        if arrived is None:
            why = unclear or "the thing and its target are not seen together at the start"
            return does_not_apply(self.name, "task", why)
        gone = "; then one of them is gone" if arrived.gone else ""
        notes = f"distance left {arrived.left:.3f} of the way{gone}"
        return _result(self.name, "task", arrived.score, notes)


def default_critics() -> tuple[PixelCritic, ...]:
    """All pixel critics, in a fixed order."""
    return Flicker(), Blur(), FlowSmoothness(), TemporalJitter(), ObjectContinuity(), GoalReached()


def _noise(frames: Frames) -> str | None:
    """Why frames show noise rather than things; None if they do not."""
    likeness = likeness_of_neighbours(frames)
    return f"noise: neighbouring pixels correlate by {likeness:.2f}" if likeness < _NOISE_LIKENESS else None


def _blur_metric(frame: Gray) -> float:
    """Crété's metric of one frame: the larger of the two directions' fractions of missing detail."""
    detail = frame.astype(np.float32)
    shares = []
    for axis, kernel in ((0, (1, 9)), (1, (9, 1))):
        blurred = cv2.blur(detail, kernel)
        sharp = np.abs(np.diff(detail, axis=axis))
        lost = np.maximum(0.0, sharp - np.abs(np.diff(blurred, axis=axis)))
        total = float(sharp.sum())
        # A frame without any detail is not sharp.
        shares.append(1.0 if total == 0.0 else 1.0 - float(lost.sum()) / total)
    return max(shares)


def _flow(before: Gray, after: Gray) -> NDArray[np.float32]:
    # Two pyramid levels, one pass each: coarse, but enough for the steps of a shaking camera.
    flow = cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 2, 11, 1, 5, 1.1, 0)
    return np.asarray(flow, dtype=np.float32)


def _even_brightness(gray: Gray) -> Gray:
    """Every frame scaled to the overall mean brightness, so that flow does not mistake flicker for motion."""
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
