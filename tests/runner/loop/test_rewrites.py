"""Which of several rewrites is worth a video."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.interfaces import Matrix, Vector
from runner.loop.controller import ThompsonController, context_features
from runner.loop.refinement import RefinementLoop
from runner.loop.refiner import PromptState, refine
from runner.loop.rewrites import MAX_REWRITES, choose, propose
from runner.loop.stopping import StopRules
from streams.errors import BadInput
from streams.messages.contracts import TEXT_MODE, TraceEvent
from streams.messages.files import read_trace
from tests.runner.fakes import (
    Clock,
    FilmWorld,
    ScriptedController,
    ScriptedCritic,
    ScriptedTextFeed,
    ScriptedTextReward,
)

GOAL = "pour the tea"
ALL_ARMS = partial(ScriptedController, "task", "physics", "quality", "smoothness")
CONTEXT = context_features({}, plateau_steps=0, prompt_chars=len(GOAL))


def rewrites_of(k: int, *arms: Any, state: PromptState | None = None) -> list[str]:
    made = propose(
        state or PromptState(GOAL), k, ScriptedController(*arms), CONTEXT, refine, np.random.default_rng(0)
    )
    return [rewrite.arm for rewrite in made]


def run(tmp_path: Path, reward: ScriptedTextReward | None, **given: Any) -> list[TraceEvent]:
    RefinementLoop(
        **{
            "goal": GOAL,
            "world": FilmWorld(),
            "critics": [ScriptedCritic({"quality": 0.5})],
            "controller": ScriptedController("quality", "task", "physics", "smoothness"),
            "stop": StopRules(max_iters=3),
            "seed": 1,
            "out_dir": tmp_path,
            "run_id": "r",
            "clock": Clock(),
            "text_feed": ScriptedTextFeed(reward),
            "rewrites": 4,
            **given,
        }
    ).run()
    return [event for event in read_trace(tmp_path / "trace.jsonl") if isinstance(event, TraceEvent)]


def test_the_controllers_own_choice_is_the_first_rewrite() -> None:
    assert rewrites_of(1, "task") == ["task"]
    assert rewrites_of(3, "task", "physics", "task", "quality")[0] == "task"


def test_rewrites_are_what_the_controller_would_choose_in_so_many_draws_each_once() -> None:
    assert rewrites_of(3, "task", "physics", "task") == ["task", "physics"]
    assert rewrites_of(4, "task") == ["task"]


def test_a_text_that_is_there_already_is_no_further_rewrite() -> None:
    # Nothing can be taken back from a bare goal, so "minimal" gives the goal again, and nothing twice.
    made = propose(
        PromptState(GOAL), 5, ThompsonController(), CONTEXT, lambda state, _: state, np.random.default_rng(0)
    )
    assert [rewrite.state.text for rewrite in made] == [GOAL]


def test_the_rewrite_that_the_text_reward_prefers_is_made(tmp_path: Path) -> None:
    events = run(tmp_path, ScriptedTextReward({"steady": 2.0}))
    assert [event.meta["arm"] for event in events] == [None, "smoothness", "smoothness"]
    assert "steady camera" in events[1].prompt


def test_all_rewrites_are_in_the_trace_with_what_was_said_of_them(tmp_path: Path) -> None:
    meta = run(tmp_path, ScriptedTextReward({"steady": 2.0}, sd=0.5))[0].meta
    assert len(meta["rewrites"]) == 4
    assert {frozenset(rewrite) for rewrite in meta["rewrites"]} == {
        frozenset({"arm", "prompt", "reward", "deviation", "sampled"})
    }
    assert meta["rewrites"][meta["rewrite_picked"]]["prompt"] == meta["next_prompt"]
    assert meta["text_version"] == 3


def test_a_shadow_is_asked_and_chooses_nothing(tmp_path: Path) -> None:
    events = run(tmp_path, ScriptedTextReward({"steady": 2.0}, gate="shadow"))
    assert [event.meta["arm"] for event in events] == [None, "quality", "quality"]
    assert max(rewrite["reward"] for rewrite in events[0].meta["rewrites"]) == 1.5  # of 0, 0, 0 and 2
    assert "sampled" not in events[0].meta["rewrites"][0]


def test_an_unsure_reward_tries_what_it_does_not_prefer() -> None:
    made = propose(PromptState(GOAL), 4, ALL_ARMS(), CONTEXT, refine, np.random.default_rng(0))
    rng = np.random.default_rng(1)

    def picked(sd: float) -> set[int]:
        reward = ScriptedTextReward({"steady": 1.0}, sd=sd)
        return {choose(made, GOAL, reward, True, rng).order[0] for _ in range(100)}

    assert len(picked(0.0)) == 1
    assert len(picked(2.0)) == 4


def test_how_often_a_rewrite_is_made_is_how_likely_it_is_the_best() -> None:
    made = propose(
        PromptState(GOAL),
        2,
        ScriptedController("smoothness", "task"),
        CONTEXT,
        refine,
        np.random.default_rng(0),
    )
    reward, rng = ScriptedTextReward({"steady": 1.0}, sd=1.0), np.random.default_rng(2)
    share = np.mean([choose(made, GOAL, reward, True, rng).order[0] == 0 for _ in range(20_000)])
    assert share == pytest.approx(0.5 * (1 + math.erf(0.5)), abs=0.01)  # of N(1, 2) above 0


def test_what_all_rewrites_share_makes_no_choice_unsure() -> None:
    class Together(ScriptedTextReward):
        def rewards(self, goal: str, prompts: Sequence[str]) -> tuple[Vector, Matrix]:
            means, _ = super().rewards(goal, prompts)
            return means, np.full((len(prompts), len(prompts)), 100.0)

    made = propose(PromptState(GOAL), 4, ALL_ARMS(), CONTEXT, refine, np.random.default_rng(0))
    rng, reward = np.random.default_rng(1), Together({"steady": 1.0})
    assert len({choose(made, GOAL, reward, True, rng).order[0] for _ in range(100)}) == 1


def test_what_the_text_reward_says_is_one_more_critic_and_no_part_of_the_critics_mean(tmp_path: Path) -> None:
    events = run(tmp_path, ScriptedTextReward({"steady": 2.0}))
    of_text = [event.critic_scores()[f"text_rm.{TEXT_MODE}"] for event in events]
    assert of_text == pytest.approx([0.5, 1 / (1 + math.exp(-2.0)), 1 / (1 + math.exp(-2.0))])
    assert [event.overall_score for event in events] == [0.5, 0.5, 0.5]
    assert all(event.critic_results[-1].extra == {"version": 3, "gate": "active"} for event in events)


def test_one_rewrite_and_no_text_reward_leave_the_trace_as_it_was(tmp_path: Path) -> None:
    events = run(tmp_path, None, rewrites=1, text_feed=None)
    assert not any("rewrites" in event.meta for event in events)
    assert [event.meta["arm"] for event in events] == [None, "quality", "task"]


@pytest.mark.parametrize("k", [0, MAX_REWRITES + 1])
def test_a_number_of_rewrites_that_cannot_be_made_is_bad_input(tmp_path: Path, k: int) -> None:
    with pytest.raises(BadInput, match=f"rewrites is {k}; expected 1 to {MAX_REWRITES}"):
        run(tmp_path, None, rewrites=k)
