"""Videos that are one for a training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from msgspec.structs import replace

from runner.video import read_video, write_video
from runner.worlds.scene import FPS, draw
from runner.worlds.simulated import SimulatedWorld
from tests import factories
from tests.recorded_runs import footage
from trainers.datasets.near_duplicates import FRAMES, NEAR, Frames, distance, near_duplicates, perceptual_hash
from trainers.datasets.rewards import RatedSample, Rating
from trainers.datasets.samples import Sample

GOAL = "move the red cube to the green bowl"


def rated(run_id: str, reward: float, *, task: str, goal: str) -> RatedSample:
    event = factories.event(0, reward, run_id=run_id)
    event = replace(event, meta=event.meta | {"task_id": task, "goal_instruction": goal})
    return RatedSample(
        sample=Sample(event=event, video=Path("v.mp4"), critic_reward=reward), rating=Rating(reward=reward)
    )


def simulated(seed: int) -> Frames:
    world = SimulatedWorld(GOAL, 1)
    return draw(world.scene, world.shot(world.failures(GOAL, seed=seed), seed=seed))


def test_a_video_that_was_compressed_or_made_smaller_is_the_same(tmp_path: Path) -> None:
    frames = simulated(1)
    small = np.stack([cv2.resize(f, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for f in frames])
    for version in (frames, small):
        write_video(tmp_path / "video.mp4", version, FPS)
        decoded, _ = read_video(tmp_path / "video.mp4")
        assert distance(perceptual_hash(frames), perceptual_hash(decoded)) <= NEAR


def test_another_video_of_the_same_scene_is_another() -> None:
    hashes = [perceptual_hash(simulated(seed)) for seed in range(6)]
    assert min(distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]) > NEAR


def test_the_hash_has_the_same_shape_for_any_length() -> None:
    assert {perceptual_hash(footage(1, n=n)).shape for n in (2, 8, 33)} == {(FRAMES, 64)}


def test_of_copies_the_best_stays() -> None:
    same = perceptual_hash(footage(1))
    low, high = rated("a", 0.2, task="t", goal=GOAL), rated("b", 0.7, task="t", goal=GOAL)
    for order in ([low, high], [high, low]):
        assert near_duplicates(order, {low.id: same, high.id: same}) == {low.id: high.id}


def test_copies_are_of_one_task_or_of_one_goal() -> None:
    same = perceptual_hash(footage(1))
    best = rated("best", 0.9, task="t", goal=GOAL)
    of_goal = rated("goal", 0.5, task="u", goal=GOAL.upper())
    of_task = rated("task", 0.4, task="t", goal="something else")
    of_neither = rated("neither", 0.3, task="v", goal="something else again")
    clips = [best, of_goal, of_task, of_neither]
    copies = near_duplicates(clips, {clip.id: same for clip in clips})
    assert copies == {of_goal.id: best.id, of_task.id: best.id}


def test_distance_0_takes_equal_hashes_alone() -> None:
    one, other = rated("a", 0.5, task="t", goal=GOAL), rated("b", 0.4, task="t", goal=GOAL)
    bits = perceptual_hash(footage(1))
    nearly = bits.copy()
    nearly[0, 0] ^= True
    assert near_duplicates([one, other], {one.id: bits, other.id: nearly}, 0.0) == {}
    assert near_duplicates([one, other], {one.id: bits, other.id: bits}, 0.0) == {other.id: one.id}
