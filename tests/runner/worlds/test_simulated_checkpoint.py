"""The simulated world's fine-tuning: it follows what it is shown, and gives nothing for nothing."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import orjson
import pytest

from runner.worlds.scene import Failures
from runner.worlds.simulated import SimulatedWorld, true_quality
from runner.worlds.simulated_checkpoint import (
    CHECKPOINT,
    FAILURES,
    HALF_WAY_VIDEOS,
    WorldCheckpoint,
    encode_checkpoint,
    finetuned,
    read_checkpoint,
)
from streams.errors import BadInput

GOAL = "move the red cube to the blue bowl"
BASE = WorldCheckpoint()
BETTER = dict.fromkeys(FAILURES, -1.0)


def shifted(**shifts: float) -> WorldCheckpoint:
    return WorldCheckpoint(shifts={name: shifts.get(name, 0.0) for name in FAILURES})


def shown(n: int, checkpoint: WorldCheckpoint = BASE) -> list[tuple[float, dict[str, float]]]:
    """True quality and surprise of n videos of the world, each of a task of its own."""
    videos = []
    for task in range(n):
        world = SimulatedWorld(GOAL, task, checkpoint=checkpoint)
        failures = world.failures(GOAL, seed=task)
        videos.append((true_quality(failures), world.surprise(failures, GOAL)))
    return videos


def test_a_checkpoint_without_shifts_changes_no_bit() -> None:
    plain, same = SimulatedWorld(GOAL, 3), SimulatedWorld(GOAL, 3, checkpoint=BASE)
    assert [plain.failures(GOAL, seed=seed) for seed in range(9)] == [
        same.failures(GOAL, seed=seed) for seed in range(9)
    ]


def test_a_shift_moves_its_own_failure_and_no_other() -> None:
    before = SimulatedWorld(GOAL, 3).failures(GOAL, seed=1).as_dict()
    after = SimulatedWorld(GOAL, 3, checkpoint=shifted(task=-1.0)).failures(GOAL, seed=1).as_dict()
    assert after.pop("task") < before.pop("task")
    assert after == before


def test_its_own_videos_surprise_a_world_by_nothing_on_average() -> None:
    surprises = np.array([list(surprise.values()) for _, surprise in shown(1000)])
    errors = surprises.std(axis=0) / np.sqrt(len(surprises))
    assert (np.abs(surprises.mean(axis=0)) < 4 * errors).all()


def test_its_own_videos_of_a_refined_prompt_surprise_it_only_under_another_caption() -> None:
    refined = f"{GOAL}. Obey physics and gravity"
    world = SimulatedWorld(GOAL, 3)
    videos = [world.failures(refined, seed=seed) for seed in range(400)]
    own, bare = (
        np.mean([world.surprise(video, caption)["physics"] for video in videos])
        for caption in (refined, GOAL)
    )
    assert abs(own) < 0.2
    assert bare < -0.5


def test_good_videos_make_a_better_world_and_bad_ones_a_worse_one() -> None:
    videos = sorted(shown(400), key=lambda video: video[0])
    worse, better = (
        finetuned(BASE, [surprise for _, surprise in part]) for part in (videos[:100], videos[300:])
    )
    qualities = [
        np.mean([quality for quality, _ in shown(400, checkpoint)]) for checkpoint in (worse, BASE, better)
    ]
    assert qualities == sorted(qualities)
    assert qualities[2] - qualities[0] > 0.02


def test_more_videos_teach_more_with_diminishing_returns() -> None:
    steps = [-finetuned(BASE, [BETTER] * n).shifts["task"] for n in (0, 50, 100, 150, 200)]
    gains = np.diff(steps)
    assert (gains > 0).all()
    assert (np.diff(gains) < 0).all()
    assert -finetuned(BASE, [BETTER] * HALF_WAY_VIDEOS).shifts["task"] == pytest.approx(0.25)


def test_the_order_of_the_videos_changes_no_bit() -> None:
    surprises = [surprise for _, surprise in shown(60)]
    files = {
        encode_checkpoint(finetuned(BASE, order))
        for order in (surprises, surprises[::-1], surprises[30:] + surprises[:30])
    }
    assert len(files) == 1


def test_without_videos_the_base_stays() -> None:
    assert finetuned(shifted(blur=0.5), []) == shifted(blur=0.5)


def test_trainings_add_up_from_checkpoint_to_checkpoint() -> None:
    once = finetuned(BASE, [BETTER] * 20)
    twice = finetuned(once, [BETTER] * 20)
    assert twice.shifts["task"] == pytest.approx(2 * once.shifts["task"])
    assert (once.videos, twice.videos) == (20, 40)


def test_no_training_leads_out_of_bounds() -> None:
    checkpoint = BASE
    for _, _ in itertools.product(range(9), range(9)):
        checkpoint = finetuned(checkpoint, [dict.fromkeys(FAILURES, -9.0)] * 900)
    assert set(checkpoint.shifts.values()) == {-6.0}


def test_a_flawless_video_is_a_finite_surprise() -> None:
    surprise = SimulatedWorld(GOAL, 1).surprise(Failures(0.0, 1.0, 0.0, 0.0, 0.0), GOAL)
    assert np.isfinite(list(surprise.values())).all()


def test_a_checkpoint_reads_back_as_it_was_written(tmp_path: Path) -> None:
    checkpoint = finetuned(BASE, [surprise for _, surprise in shown(7)])
    (tmp_path / CHECKPOINT).write_bytes(encode_checkpoint(checkpoint))
    assert read_checkpoint(tmp_path) == checkpoint


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        orjson.dumps({"schema": "tribrain.simulated_checkpoint/1", "videos": 1}),
        orjson.dumps({"schema": "tribrain.simulated_checkpoint/1", "videos": 1, "shifts": {"task": 1.0}}),
        encode_checkpoint(BASE).replace(b"0.0", b'"a"', 1),
        encode_checkpoint(BASE).replace(b"0.0", b"99.0", 1),
    ],
)
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(BadInput, match=r"checkpoint\.json: "):
        read_checkpoint(tmp_path)
