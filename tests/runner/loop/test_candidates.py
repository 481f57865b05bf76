"""Steps of several candidates: which prompts and seeds they have, and what is learnt of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.interfaces import FailuresInARow, Generation, GenerationFailed, GenerationRequest
from runner.loop.refinement import RefinementLoop
from runner.loop.refiner import PromptState, refine
from runner.loop.result import RunResult
from runner.loop.stopping import StopRules
from streams.errors import BadInput
from streams.messages.contracts import RunEnd, TraceEvent
from streams.messages.files import read_trace
from tests.runner.fakes import (
    Clock,
    FilmWorld,
    ScriptedController,
    ScriptedCritic,
    ScriptedTextFeed,
    ScriptedTextReward,
)

GOAL = "put the cup on the plate"
BARE = PromptState(GOAL)


class BatchFilmWorld(FilmWorld):
    """Makes several at once; ``batches`` are the seeds that it was asked for together."""

    def __init__(self, fails: Sequence[int] = ()) -> None:
        super().__init__(fails)
        self.batches: list[list[int]] = []

    def generate_all(
        self, requests: Sequence[GenerationRequest], *, failures: FailuresInARow | None = None
    ) -> list[Generation | GenerationFailed]:
        self.batches.append([request.seed for request in requests])
        return [self._one(request) for request in requests]

    def _one(self, request: GenerationRequest) -> Generation | GenerationFailed:
        try:
            return self.generate(request.prompt, seed=request.seed, out_dir=request.out_dir)
        except GenerationFailed as error:
            return error


def run(out_dir: Path, *scores: float, steps: int = 2, **changes: Any) -> tuple[RunResult, list[TraceEvent]]:
    """A run with two candidates a step, whose only critic gives these scores, one a candidate."""
    given: dict[str, Any] = {
        "goal": GOAL,
        "world": FilmWorld(),
        "critics": [ScriptedCritic(*({"quality": score} for score in scores or (0.5,)))],
        "controller": ScriptedController("task", "physics", "quality"),
        "stop": StopRules(max_iters=steps),
        "seed": 7,
        "out_dir": out_dir,
        "run_id": "run-a",
        "clock": Clock(),
        "candidates": 2,
    }
    result = RefinementLoop(**(given | changes)).run()
    return result, [m for m in read_trace(out_dir / "trace.jsonl") if isinstance(m, TraceEvent)]


def test_every_candidate_is_an_event_with_an_index_of_its_own(tmp_path: Path) -> None:
    result, events = run(tmp_path, steps=3)
    assert [event.iter_idx for event in events] == [0, 1, 2, 3, 4, 5]
    assert [(e.meta["step"], e.meta["candidate"]) for e in events] == [
        (0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1),
    ]  # fmt: skip
    assert (result.iterations, result.candidates) == (3, 6)
    end = read_trace(tmp_path / "trace.jsonl")[-1]
    assert isinstance(end, RunEnd)
    assert end.iterations == (0, 1, 2, 3, 4, 5)


def test_the_first_step_has_the_bare_goal_and_rewrites_of_it(tmp_path: Path) -> None:
    _, events = run(tmp_path, steps=1, candidates=3)
    assert [e.prompt for e in events] == [GOAL, refine(BARE, "task").text, refine(BARE, "physics").text]
    assert [e.meta["arm"] for e in events] == [None, "task", "physics"]


def test_a_later_step_has_what_the_controller_would_choose_in_so_many_draws(tmp_path: Path) -> None:
    _, events = run(tmp_path, 0.5, 0.2, controller=ScriptedController("task", "physics", "quality"))
    assert [e.prompt for e in events[2:]] == [refine(BARE, "physics").text, refine(BARE, "quality").text]


def test_candidates_of_a_step_share_a_seed_so_that_the_prompt_is_what_differs(tmp_path: Path) -> None:
    _, events = run(tmp_path)
    seeds = [event.meta["generation_seed"] for event in events]
    assert seeds[0] == seeds[1] != seeds[2] == seeds[3]


def test_a_prompt_that_comes_twice_in_a_step_gets_another_seed(tmp_path: Path) -> None:
    _, events = run(tmp_path, controller=ScriptedController("task"))
    assert events[2].prompt == events[3].prompt
    assert events[2].meta["generation_seed"] != events[3].meta["generation_seed"]


def test_the_first_candidate_of_a_step_has_the_seed_of_a_run_with_one(tmp_path: Path) -> None:
    _, one = run(tmp_path / "one", candidates=1)
    _, two = run(tmp_path / "two")
    assert [e.meta["generation_seed"] for e in one] == [e.meta["generation_seed"] for e in two[::2]]


def test_a_world_that_can_is_asked_for_a_whole_step_at_once(tmp_path: Path) -> None:
    world = BatchFilmWorld()
    _, events = run(tmp_path, world=world)
    seeds = [event.meta["generation_seed"] for event in events]
    assert world.batches == [seeds[:2], seeds[2:]]


@pytest.mark.parametrize("world", [FilmWorld, BatchFilmWorld])
def test_a_candidate_that_fails_costs_no_other(tmp_path: Path, world: type[FilmWorld]) -> None:
    _, events = run(tmp_path, world=world(fails=[0]))
    assert [event.meta.get("error") for event in events] == ["out of memory", None, None, None]
    assert [event.overall_score for event in events] == [None, 0.5, 0.5, 0.5]


def test_the_best_of_a_step_is_built_on(tmp_path: Path) -> None:
    _, events = run(tmp_path, 0.5, 0.7, controller=ScriptedController("task", "physics", "quality"))
    first = refine(BARE, "task")
    assert [e.prompt for e in events[2:]] == [refine(first, "physics").text, refine(first, "quality").text]


def test_the_controller_is_told_each_gain_over_the_best_before_the_step(tmp_path: Path) -> None:
    controller = ScriptedController("task", "physics", "quality")
    run(tmp_path, 0.5, 0.4, 0.7, 0.6, controller=controller)
    arms, gains = zip(*controller.updates, strict=True)
    assert arms == ("physics", "quality")
    assert gains == pytest.approx((0.2, 0.1))


def test_a_step_without_any_gain_uses_up_patience_once(tmp_path: Path) -> None:
    stop = StopRules(max_iters=9, patience=2)
    result, _ = run(tmp_path, 0.5, 0.4, 0.3, 0.6, 0.2, 0.2, 0.2, 0.2, stop=stop)
    assert (result.stop_reason, result.iterations) == ("patience", 4)


def test_the_text_reward_picks_which_of_the_rewrites_are_made(tmp_path: Path) -> None:
    controller = ScriptedController("task", "physics", "quality", "smoothness")
    worth = {refine(BARE, arm).text: value for arm, value in (("smoothness", 3.0), ("quality", 2.0))}  # type: ignore[arg-type]
    _, events = run(
        tmp_path,
        0.5,
        0.4,
        controller=controller,
        rewrites=4,
        text_feed=ScriptedTextFeed(ScriptedTextReward(worth)),
    )
    assert [event.meta["arm"] for event in events[2:]] == ["smoothness", "quality"]


def test_a_number_of_candidates_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="candidates is 0"):
        run(tmp_path, candidates=0)
