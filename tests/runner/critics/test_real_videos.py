"""The pixel critics on videos as a robot's camera takes them: what they praise, and what they leave alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from runner.critics.pixel import default_critics
from runner.interfaces import Frames
from runner.loop.candidate import CandidateSpec, judged_candidate
from runner.video import read_video, write_video
from streams.messages.contracts import CriticResult
from streams.messages.no_score import no_score
from tests.runner.critics.robot_films import (
    BOWL,
    FPS,
    GREEN,
    GREEN_TABLE,
    RED,
    YELLOW,
    Thing,
    carried,
    flashing,
    frozen,
    frozen_noise,
    lit,
    moving_arm,
    noise,
    panned,
    plain_table,
    plain_table_with_dots,
    room,
    sliding,
    with_camera_noise,
)
from trainers.pairs.critic_rewards import rewards_in_run

CUBE_GOAL = "move the red cube to the green bowl"
APPLE_GOAL = "apple from the green table into the red bowl"
CUBE = Thing(RED, (150, 350))
GREEN_BOWL, RED_BOWL = (Thing(colour, BOWL, 60, is_round=True) for colour in (GREEN, RED))
APPLE = Thing(YELLOW, (150, 350), 26, is_round=True)
OF_STILLS = ("flicker", "temporal_jitter", "object_continuity")
"""What does not apply to a still."""
OF_PICTURES = ("flicker", "blur", "temporal_jitter")
"""What does not apply to noise."""
OF_THINGS = ("object_continuity", "goal_reached")

FILMS: dict[str, Callable[[], Frames]] = {
    "frozen noise": frozen_noise,
    "new noise in each frame": lambda: np.concatenate([frozen_noise(seed, count=1) for seed in range(12)]),
    "panned noise": lambda: panned(noise()),
    "panned noise, coarse": lambda: panned(noise(grain=16)),
    "panned noise of hue alone": lambda: panned(noise(grain=8, of_hue=True)),
    "panned noise between bars": lambda: between_bars(panned(noise())),
    "panned noise, darker and darker": lambda: lit(panned(noise()), np.linspace(1.0, 0.5, 24)),
    "frozen scene": lambda: frozen(room()),
    "black, white flash": lambda: flashing(frozen(room()) * 0, 10),
    "black, two white flashes": lambda: flashing(frozen(room()) * 0, 10, 20),
    "black, white flash of two frames": lambda: flashing(frozen(room()) * 0, 10, 11),
    "frozen scene, white flash": lambda: flashing(frozen(room()), 10),
    "frozen scene, white flash at the start": lambda: flashing(frozen(room()), 0),
    "frozen scene, white flash of two frames": lambda: flashing(frozen(room()), 10, 11),
    "frozen scene, flash of light": lambda: lit(frozen(room()), np.where(np.arange(24) == 10, 2.5, 1.0)),
    "frozen scene, weak flash of light": lambda: lit(frozen(room()), np.where(np.arange(24) == 10, 1.7, 1.0)),
    "frozen scene, flash of a lamp": lambda: flashing(frozen(room()), 10, width=300),
    "frozen scene, fade from black": lambda: lit(frozen(room()), np.linspace(0.0, 1.0, 24)),
    "white for a frame": lambda: flashing(moving_arm(room()), 10),
    "slowly lit": lambda: lit(moving_arm(room()), np.linspace(0.0, 1.0, 24)),
    "arm over dots": lambda: moving_arm(plain_table_with_dots()),
    "small ball on a plain table": lambda: sliding(
        plain_table(), Thing(RED, (150, 350), 5, is_round=True), BOWL
    ),
    "frozen scene, camera noise": lambda: with_camera_noise(frozen(room())),
    "frozen cube and bowl": lambda: frozen(room(CUBE, GREEN_BOWL)),
    "flickering scene": lambda: flickering(frozen(room())),
    "moving arm": lambda: moving_arm(room()),
    "moving arm, camera noise": lambda: with_camera_noise(moving_arm(room())),
    "arm moves by 10 pixels": lambda: moving_arm(room(), way=10 / 280),
    "arrives": lambda: carried(room(GREEN_BOWL), CUBE, BOWL),
    "stops half-way": lambda: carried(room(GREEN_BOWL), CUBE, BOWL, way=0.5),
    "gone after a frame": lambda: carried(room(GREEN_BOWL), CUBE, BOWL, in_sight=lambda index: index < 1),
    "gone after three frames": lambda: carried(room(GREEN_BOWL), CUBE, BOWL, in_sight=lambda i: i < 3),
    "gone half-way": lambda: carried(room(GREEN_BOWL), CUBE, BOWL, in_sight=lambda index: index < 12),
    "gone in its bowl": lambda: np.concatenate(
        [carried(room(GREEN_BOWL), CUBE, BOWL), frozen(room(GREEN_BOWL), 12)]
    ),
    "two red cubes": lambda: carried(room(GREEN_BOWL, Thing(RED, (300, 420))), CUBE, BOWL),
    "red table": lambda: carried(room(GREEN_BOWL, table=RED), CUBE, BOWL),
    "never there": lambda: carried(room(GREEN_BOWL), CUBE, BOWL, in_sight=lambda _: False),
    "there after four frames": lambda: carried(room(GREEN_BOWL), CUBE, BOWL, in_sight=lambda i: i >= 4),
    "bowl is never there": lambda: carried(room(), CUBE, BOWL),
    "apple arrives": lambda: carried(room(RED_BOWL, table=GREEN_TABLE), APPLE, BOWL),
}


def between_bars(frames: Frames) -> Frames:
    """The upper and lower quarter of the picture are black."""
    barred = frames.copy()
    barred[:, :120] = barred[:, -120:] = 0
    return barred


def flickering(frames: Frames) -> Frames:
    return lit(frames, 1.0 + 0.3 * np.random.default_rng(4).uniform(-1.0, 1.0, len(frames)))


@cache
def judged(film: str, goal: str = CUBE_GOAL) -> dict[str, CriticResult]:
    """By critic, of the film as it comes out of a file."""
    with TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        write_video(video, FILMS[film](), FPS)
        frames, fps = read_video(video)
    return {critic.name: critic.judge(frames, fps=fps, goal=goal) for critic in default_critics()}


def score(film: str, critic: str, goal: str = CUBE_GOAL) -> float:
    (given,) = judged(film, goal)[critic].scores.values()
    assert given is not None
    return given


def mean(film: str, goal: str = CUBE_GOAL) -> float:
    """The critics' reward."""
    given = [score for result in judged(film, goal).values() for score in result.scores.values()]
    return fmean(score for score in given if score is not None)


@pytest.mark.parametrize("film", FILMS)
def test_every_null_says_why(film: str) -> None:
    for result in judged(film).values():
        is_null = None in result.scores.values()
        assert (no_score(result) in ("does_not_apply", "not_seen")) == is_null
        assert result.notes


@pytest.mark.parametrize("film", ["frozen noise", "frozen scene", "frozen scene, camera noise"])
def test_a_still_is_praised_neither_for_calm_nor_for_motion(film: str) -> None:
    said = judged(film)
    assert None not in [no_score(said[critic]) for critic in OF_STILLS]
    assert score(film, "flow_smoothness") < 0.01


@pytest.mark.parametrize("film", [film for film in FILMS if "noise" in film and "camera" not in film])
def test_noise_earns_no_praise_however_it_moves(film: str) -> None:
    said = judged(film)
    assert [no_score(said[critic]) for critic in OF_PICTURES] == ["does_not_apply"] * 3
    assert mean(film) < 0.01


@pytest.mark.parametrize("film", [film for film in FILMS if "flash" in film or "fade" in film])
def test_a_still_that_flashes_or_fades_does_not_move(film: str) -> None:
    assert score(film, "flow_smoothness") < 0.01
    assert no_score(judged(film)["temporal_jitter"]) == "does_not_apply"


@pytest.mark.parametrize("film", ["white for a frame", "slowly lit"])
def test_what_moves_before_and_after_a_change_of_light_still_moves(film: str) -> None:
    assert score(film, "flow_smoothness") > 0.9


@pytest.mark.parametrize("film", ["arm over dots", "small ball on a plain table"])
def test_small_things_on_a_plain_table_are_not_taken_for_noise(film: str) -> None:
    said = judged(film)
    assert [no_score(said[critic]) for critic in OF_PICTURES] == [None] * 3
    assert score(film, "flow_smoothness") > 0.2


@pytest.mark.parametrize("film", ["moving arm", "moving arm, camera noise", "arm moves by 10 pixels"])
def test_an_arm_that_moves_is_worth_much_more_than_a_still(film: str) -> None:
    assert score(film, "flow_smoothness") > 0.9
    assert mean(film) > mean("frozen scene") + 0.3


def test_a_flickering_picture_of_what_stands_still_flickers_and_does_not_move() -> None:
    assert score("flickering scene", "flicker") < 0.6
    assert score("flickering scene", "flow_smoothness") < 0.1


def test_a_thing_that_stays_where_it_is_in_a_still_is_not_continuous_and_has_not_arrived() -> None:
    assert no_score(judged("frozen cube and bowl")["object_continuity"]) == "does_not_apply"
    assert score("frozen cube and bowl", "goal_reached") < 0.05


def test_a_cube_that_arrives_is_seen_to() -> None:
    assert score("arrives", "goal_reached") > 0.9
    assert score("arrives", "object_continuity") > 0.75


@pytest.mark.parametrize("film", ["gone after a frame", "gone after three frames", "gone half-way"])
def test_a_cube_that_is_gone_is_scored_and_low(film: str) -> None:
    assert score(film, "object_continuity") < 0.4
    assert score(film, "goal_reached") < 0.3
    assert mean(film) < mean("stops half-way") < mean("arrives")


def test_a_cube_that_its_bowl_hides_has_arrived() -> None:
    assert score("gone in its bowl", "goal_reached") > 0.8


@pytest.mark.parametrize(
    ("film", "goal", "why"),
    [
        ("apple arrives", APPLE_GOAL, "the goal is not one plain sentence"),
        ("arrives", "move the cube to the bowl", "the goal is not one plain sentence"),
        ("two red cubes", CUBE_GOAL, "several red things"),
        ("red table", CUBE_GOAL, "too much is red for one thing"),
    ],
)
def test_without_one_thing_of_the_goal_s_colour_nothing_is_said_of_the_goal(
    film: str, goal: str, why: str
) -> None:
    said = judged(film, goal)
    assert [no_score(said[critic]) for critic in OF_THINGS] == ["does_not_apply"] * 2
    assert said["goal_reached"].notes.startswith(why)


@pytest.mark.parametrize(
    "goal",
    [
        "move the red cube to the green bowl and back",
        "put the red cube in the green bowl and take it out again",
        "lift the red cube in the green bowl",
        "push the red button on the green machine",
        "nobody moves the red cube to the green bowl",
    ],
)
def test_a_goal_that_asks_for_more_or_less_than_to_arrive_is_not_scored(goal: str) -> None:
    assert no_score(judged("arrives", goal)["goal_reached"]) == "does_not_apply"


@pytest.mark.parametrize("film", ["never there", "there after four frames", "moving arm", "frozen scene"])
def test_a_thing_that_is_not_there_at_the_start_is_not_seen(film: str) -> None:
    said = judged(film)
    assert [no_score(said[critic]) for critic in OF_THINGS] == ["not_seen"] * 2
    assert [said[critic].notes for critic in OF_THINGS] == ["nothing red at the start"] * 2


def test_a_bowl_that_is_not_there_at_the_start_is_not_seen() -> None:
    result = judged("bowl is never there")["goal_reached"]
    assert (no_score(result), result.notes) == ("not_seen", "nothing green at the start")


@pytest.mark.parametrize("worse", ["never there", "there after four frames", "moving arm"])
def test_the_best_of_a_run_is_the_one_that_shows_its_thing(worse: str) -> None:
    assert mean(worse) > mean("stops half-way")
    run = [
        judged_candidate(
            CandidateSpec(idx=idx, prompt="p", seed=0, meta={}),
            tuple(judged(film).values()),
            artifact_path="",
            meta={"run_id": "r"},
        )
        for idx, film in enumerate(("stops half-way", worse))
    ]
    rewards = rewards_in_run(run)
    assert rewards[1] < rewards[0] - 0.1
