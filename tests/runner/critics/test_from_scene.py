"""The critics computed from the scene against the critics on videos that were encoded and decoded."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from runner.critics.from_scene import results_from_scene
from runner.critics.pixel import default_critics
from runner.loop.refiner import ARMS, PromptState, refine
from runner.video import read_video
from runner.worlds.scene import FPS, Failures
from runner.worlds.scene import draw as drawn
from runner.worlds.simulated import SimulatedWorld, random_goal
from streams.messages.contracts import CriticResult

TASKS, DRAWS = 12, 4
NAMES = [critic.name for critic in default_critics()]
UNKNOWN = np.nan


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """Scores from pixels and from scenes, shape (tasks, draws, critics); nothing was fitted to them."""
    rng, goals, folder = np.random.default_rng(3), Random(3), tmp_path_factory.mktemp("videos")
    pixels, scenes = [], []
    for task in range(TASKS):
        world = SimulatedWorld(random_goal(goals), task_seed=task)
        for draw in range(DRAWS):
            state = PromptState(world.goal)
            for _ in range(rng.integers(0, 5)):
                state = refine(state, ARMS[rng.integers(len(ARMS))])
            frames, fps = read_video(world.generate(state.text, seed=draw, out_dir=folder).video)
            pixels.append(scores([c.judge(frames, fps=fps, goal=world.goal) for c in default_critics()]))
            shot = world.shot(world.failures(state.text, seed=draw), seed=draw)
            scenes.append(scores(results_from_scene(world.scene, shot)))
    shape = TASKS, DRAWS, len(NAMES)
    return np.array(pixels).reshape(shape), np.array(scenes).reshape(shape)


def scores(results: list[CriticResult] | tuple[CriticResult, ...]) -> list[float]:
    assert [result.critic_name for result in results] == NAMES
    return [UNKNOWN if score is None else score for result in results for score in result.scores.values()]


@pytest.mark.parametrize("critic", NAMES)
def test_each_critic_agrees_with_its_computation(critic: str, both: tuple[np.ndarray, np.ndarray]) -> None:
    """Correlation at least 0.97, bias at most 0.02, root mean square error at most 0.05."""
    pixel, scene = (side[..., NAMES.index(critic)].ravel() for side in both)
    known = np.isfinite(pixel) & np.isfinite(scene)
    assert known.all()
    error = (scene - pixel)[known]
    assert np.corrcoef(pixel[known], scene[known])[0, 1] > 0.97
    assert abs(error.mean()) < 0.02
    assert np.sqrt((error**2).mean()) < 0.05


def test_the_critics_mean_agrees(both: tuple[np.ndarray, np.ndarray]) -> None:
    pixel, scene = (np.nanmean(side, axis=2).ravel() for side in both)
    assert np.corrcoef(pixel, scene)[0, 1] > 0.99
    assert np.sqrt(((scene - pixel) ** 2).mean()) < 0.015


def test_both_pick_the_same_video_of_eight(both: tuple[np.ndarray, np.ndarray]) -> None:
    """Or nearly: in at most a tenth of the tasks the pick is worse by more than 0.01."""
    pixel, scene = (np.nanmean(side, axis=2) for side in both)
    lost = pixel.max(axis=1) - pixel[np.arange(TASKS), scene.argmax(axis=1)]
    assert (lost > 0.01).mean() <= 0.1
    assert (pixel.argmax(axis=1) == scene.argmax(axis=1)).mean() >= 0.8


def test_a_thing_that_ends_behind_the_obstacle_has_half_of_what_was_seen() -> None:
    world = SimulatedWorld("move the red cube to the blue bowl", task_seed=0)
    hidden = Failures(physics=1.0, task=0.47, shake=0.0, flicker=0.0, blur=0.0)
    shot = world.shot(hidden, seed=0)
    at = NAMES.index("goal_reached")
    scene = results_from_scene(world.scene, shot)[at].scores["task"]
    pixels = default_critics()[at].judge(drawn(world.scene, shot), fps=FPS, goal=world.goal).scores["task"]
    assert scene == pytest.approx(pixels, abs=0.05)
    assert scene == pytest.approx(0.17, abs=0.03)
