"""Each critic sees its own failure, in real frames, and hardly any other."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.critics.pixel import GoalReached, ObjectContinuity, TemporalJitter, default_critics
from runner.interfaces import Critic, Frames
from runner.worlds.scene import FPS, Failures, make_scene, render

GOAL = "move the red cube to the blue bowl"
SCENES = range(3)
OWN = {
    "flicker": "flicker",
    "blur": "blur",
    "flow_smoothness": "shake",
    "temporal_jitter": "shake",
    "object_continuity": "physics",
    "goal_reached": "task",
}
FAILURES = sorted(set(OWN.values()))


def film(scene: int = 0, goal: str = GOAL, **failures: float) -> Frames:
    actual = Failures(**{**dict.fromkeys(FAILURES, 0.0), **failures})
    return render(make_scene(goal, np.random.default_rng(scene)), actual, np.random.default_rng(scene + 100))


def score(critic: Critic, frames: Frames, goal: str = GOAL) -> float | None:
    (only,) = critic.judge(frames, fps=FPS, goal=goal).scores.values()
    return only


@cache
def mean_scores(**failures: float) -> dict[str, float]:
    """Not a number of a critic that gave none: a film with no failure but the whole task is a still."""
    films = [film(scene, GOAL, **failures) for scene in SCENES]
    scores = {c.name: [score(c, frames) for frames in films] for c in default_critics()}
    return {name: float(np.mean(np.array(given, dtype=np.float64))) for name, given in scores.items()}


def critic(name: str) -> Critic:
    return next(critic for critic in default_critics() if critic.name == name)


def test_there_is_a_critic_for_every_mode() -> None:
    modes = {mode for c in default_critics() for mode in c.judge(film(), fps=FPS, goal=GOAL).scores}
    assert modes == {"physics", "task", "smoothness", "quality"}


@pytest.mark.parametrize("name", OWN)
def test_the_score_falls_as_its_failure_rises(name: str) -> None:
    scores = [mean_scores()[name]] + [
        mean_scores(**{OWN[name]: strength})[name] for strength in (0.35, 0.7, 1.0)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] > 0.35


@pytest.mark.parametrize(("name", "failure"), [(n, f) for n in OWN for f in FAILURES if OWN[n] != f])
def test_other_failures_hardly_move_the_score(name: str, failure: str) -> None:
    own = mean_scores()[name] - mean_scores(**{OWN[name]: 1.0})[name]
    other = abs(mean_scores()[name] - mean_scores(**{failure: 0.7})[name])
    assert other < 0.3 * own


@pytest.mark.parametrize("name", OWN)
def test_notes_hold_the_raw_measure(name: str) -> None:
    assert any(c.isdigit() for c in critic(name).judge(film(), fps=FPS, goal=GOAL).notes)


def test_judging_twice_gives_the_same() -> None:
    frames = film(shake=0.4, physics=0.6)
    first, second = ([c.judge(frames, fps=FPS, goal=GOAL) for c in default_critics()] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", OWN)
def test_a_larger_picture_of_the_same_gets_about_the_same(name: str) -> None:
    frames = film(physics=0.5, task=0.4, shake=0.3, flicker=0.3)
    large = np.stack([cv2.resize(f, (480, 480), interpolation=cv2.INTER_CUBIC) for f in frames])
    small = np.stack([cv2.resize(f, (128, 128), interpolation=cv2.INTER_CUBIC) for f in frames])
    assert score(critic(name), large) == pytest.approx(score(critic(name), small), abs=0.12)


def test_a_steady_pan_is_no_jitter() -> None:
    wide = make_scene(GOAL, np.random.default_rng(0)).background
    pan = np.stack([wide[20:84, 2 * i : 2 * i + 64] for i in range(20)])
    assert (score(TemporalJitter(), pan) or 0.0) > 0.95


def test_without_a_named_colour_nothing_is_said_of_the_thing() -> None:
    assert score(ObjectContinuity(), film(), goal="open the drawer") is None


def test_without_a_target_colour_nothing_is_said_of_the_goal() -> None:
    assert score(GoalReached(), film(), goal="lift the red cube") is None


@pytest.mark.parametrize("thing_critic", [ObjectContinuity(), GoalReached()])
def test_colours_that_are_not_in_the_picture_give_no_score(thing_critic: Critic) -> None:
    assert score(thing_critic, film(), goal="move the green cube to the yellow bowl") is None


def test_of_a_thing_that_vanishes_half_the_way_that_was_seen_counts() -> None:
    frames = film()
    there = score(GoalReached(), frames[:12])
    frames[12:] = film(goal="move the green cube to the blue bowl")[12:]
    gone = score(GoalReached(), frames)
    assert there is not None
    assert gone == pytest.approx(there / 2, abs=0.03)


def test_what_a_critic_says_of_itself_fits_beside_an_option() -> None:
    assert all(0 < len(critic.sees) < 80 and "\n" not in critic.sees for critic in default_critics())


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(2, 6),
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    kind=st.sampled_from(["noise", "black", "white", "red", "blink"]),
    seed=st.integers(0, 99),
)
def test_any_video_gets_scores_in_the_unit_interval_or_none(
    count: int, height: int, width: int, kind: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    frames = np.zeros((count, height, width, 3), dtype=np.uint8)
    if kind == "noise":
        frames = rng.integers(0, 256, frames.shape, dtype=np.uint8)
    elif kind == "white":
        frames[:] = 255
    elif kind == "red":
        frames[..., 0] = 255
    elif kind == "blink":
        frames[::2] = 255
    for one in default_critics():
        given_score = score(one, frames)
        assert given_score is None or 0.0 <= given_score <= 1.0
