"""The built-in world: reproducible, moved by its prompt, and hard to judge by the critics' mean."""

from __future__ import annotations

import itertools
from pathlib import Path
from statistics import fmean

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from runner.critics.from_scene import results_from_scene
from runner.loop.refiner import ARMS, MAX_LEVEL, Directive, PromptState, refine
from runner.video import read_video
from runner.worlds.scene import SIDE, Failures
from runner.worlds.simulated import CUES, SimulatedWorld, read_prompt, true_quality
from streams.errors import BadInput

GOAL = "move the red cube to the blue bowl"
MODE_OF = {
    "physics": "physics",
    "task": "task",
    "shake": "smoothness",
    "flicker": "quality",
    "blur": "quality",
}


def mean_failures(prompt: str) -> dict[str, float]:
    """Over tasks and seeds; the same ones for every prompt."""
    drawn = [
        SimulatedWorld(GOAL, task).failures(prompt, seed=seed) for task in range(12) for seed in range(4)
    ]
    return {name: fmean(getattr(failures, name) for failures in drawn) for name in MODE_OF}


def asked(*directives: tuple[str, int]) -> str:
    return PromptState(GOAL, tuple(Directive(arm, level) for arm, level in directives)).text  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    films = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        films.append(
            SimulatedWorld(GOAL, 5).generate(GOAL, seed=3, out_dir=tmp_path / name).video.read_bytes()
        )
    assert films[0] == films[1]


@pytest.mark.parametrize(("task_seed", "seed"), [(5, 4), (6, 3)])
def test_another_seed_gives_another_video(tmp_path: Path, task_seed: int, seed: int) -> None:
    first = SimulatedWorld(GOAL, 5).generate(GOAL, seed=3, out_dir=tmp_path).video.read_bytes()
    assert (
        SimulatedWorld(GOAL, task_seed).generate(GOAL, seed=seed, out_dir=tmp_path).video.read_bytes()
        != first
    )


def test_the_video_can_be_read(tmp_path: Path) -> None:
    frames, fps = read_video(SimulatedWorld(GOAL, 1).generate(GOAL, seed=1, out_dir=tmp_path).video)
    assert (frames.shape, fps) == ((24, SIDE, SIDE, 3), 12.0)


@pytest.mark.parametrize("mode", CUES)
def test_a_directive_lowers_its_failure_with_diminishing_returns(mode: str) -> None:
    own = [name for name, lowered_by in MODE_OF.items() if lowered_by == mode]
    levels = [
        fmean(mean_failures(asked(*[(mode, n)] * (n > 0)))[name] for name in own)
        for n in range(MAX_LEVEL + 1)
    ]
    steps = -np.diff(levels)
    assert (steps > 0).all()
    assert (np.diff(steps) < 0).all()


@pytest.mark.parametrize("mode", ["smoothness", "quality"])
def test_asking_for_looks_costs_physics_and_task(mode: str) -> None:
    plain, calm = mean_failures(GOAL), mean_failures(asked((mode, 2)))
    assert calm["physics"] > plain["physics"]
    assert calm["task"] > plain["task"]


def test_asking_for_everything_weakens_each_directive() -> None:
    one, all_of_them = asked(("physics", 1)), asked(*[(mode, 1) for mode in CUES])
    assert mean_failures(all_of_them)["physics"] > mean_failures(one)["physics"]


def test_a_long_prompt_loses_the_task() -> None:
    assert mean_failures(f"{GOAL}. {'Please ' * 90}")["task"] > mean_failures(GOAL)["task"] + 0.1


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm != "minimal"])
def test_every_clause_of_the_refiner_is_read_as_its_own_mode(arm: str) -> None:
    state = PromptState(GOAL)
    for _ in range(MAX_LEVEL):
        state = refine(state, arm)  # type: ignore[arg-type]
    assert read_prompt(state.text, GOAL).directives == {**dict.fromkeys(CUES, 0), arm: MAX_LEVEL}


def test_the_goal_is_no_directive() -> None:
    goal = "complete the task: move the sharp blade smoothly to its goal"
    reading = read_prompt(goal, goal)
    assert (sum(reading.directives.values()), reading.words) == (0, 0)


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.sampled_from(sorted(MODE_OF)), st.floats(0, 1))
def test_a_worse_failure_never_raises_the_true_quality(values: list[float], name: str, other: float) -> None:
    one = Failures(*values).as_dict()
    low, high = sorted((one[name], other))
    better, worse = Failures(**{**one, name: low}), Failures(**{**one, name: high})
    assert 0.0 <= true_quality(worse) <= true_quality(better) <= 1.0


@pytest.mark.parametrize("failure", ["physics", "task"])
def test_physics_and_task_matter_more_than_all_looks_together(failure: str) -> None:
    flawless = dict.fromkeys(MODE_OF, 0.0)
    ugly = Failures(**{**flawless, "shake": 1.0, "flicker": 1.0, "blur": 1.0})
    assert true_quality(Failures(**{**flawless, failure: 1.0})) < true_quality(ugly)


def outcomes(share: float, tmp_path: Path) -> list[float | None]:
    world = SimulatedWorld(GOAL, 2, outcome_share=share)
    made = [world.generate(GOAL, seed=seed, out_dir=tmp_path) for seed in range(16)]
    return [float(g.outcome["score"]) if g.outcome else None for g in made]


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 4, 12), (1.0, 16, 16)])
def test_the_share_of_generations_with_an_outcome(
    tmp_path: Path, share: float, least: int, most: int
) -> None:
    assert least <= sum(score is not None for score in outcomes(share, tmp_path)) <= most


def test_an_outcome_is_near_the_true_quality(tmp_path: Path) -> None:
    world = SimulatedWorld(GOAL, 2)
    truths = [true_quality(world.failures(GOAL, seed=seed)) for seed in range(16)]
    errors = [abs(s - q) for s, q in zip(outcomes(1.0, tmp_path), truths, strict=True) if s is not None]
    assert 0.005 < fmean(errors) < 0.06


def test_the_truth_is_written_only_when_asked_for(tmp_path: Path) -> None:
    SimulatedWorld(GOAL, 2).generate(GOAL, seed=1, out_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]


def test_the_written_truth_is_that_of_the_video(tmp_path: Path) -> None:
    world = SimulatedWorld(GOAL, 2, write_truth=True)
    world.generate(GOAL, seed=1, out_dir=tmp_path)
    failures = world.failures(GOAL, seed=1)
    expected = {"true_quality": true_quality(failures), "failures": failures.as_dict()}
    assert orjson.loads((tmp_path / "truth.json").read_bytes()) == expected


def test_the_generation_says_nothing_of_its_failures(tmp_path: Path) -> None:
    made = SimulatedWorld(GOAL, 2, outcome_share=0.0, write_truth=True).generate(
        GOAL, seed=1, out_dir=tmp_path
    )
    assert (made.outcome, made.meta) == (None, {"task_seed": 2})


def test_a_goal_without_colours_is_drawn_too(tmp_path: Path) -> None:
    assert (
        SimulatedWorld("open the drawer", -7).generate("open", seed=-1, out_dir=tmp_path).video.stat().st_size
    )


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(BadInput, match="outcome_share"):
        SimulatedWorld(GOAL, 1, outcome_share=share)


def test_the_critics_mean_is_a_poor_judge_and_their_differences_a_good_one() -> None:
    """The problem the learner is there for, on pairs of videos of the same task."""
    rng = np.random.default_rng(11)
    differences, mean_is_right, better = [], [], []
    for task in range(14):
        world, state, judged = SimulatedWorld(GOAL, task), PromptState(GOAL), []
        for step in range(6):
            seed = 10 * task + step
            hidden = world.failures(state.text, seed=seed)
            results = results_from_scene(world.scene, world.shot(hidden, seed=seed))
            scores = np.array([[s or 0.0 for s in r.scores.values()] for r in results]).ravel()
            judged.append((scores, true_quality(hidden)))
            state = refine(state, ARMS[rng.integers(len(ARMS))])
        for (a, quality_a), (b, quality_b) in itertools.combinations(judged, 2):
            differences.append(a - b)
            better.append(quality_a > quality_b)
            mean_is_right.append((a.mean() > b.mean()) == (quality_a > quality_b))
    half = len(better) // 2
    model = LogisticRegression(fit_intercept=False, C=100.0).fit(differences[:half], better[:half])
    assert 0.52 < fmean(mean_is_right) < 0.70
    assert model.score(differences[half:], better[half:]) > 0.80
