"""The loop with a world model, critics, rewrites and rewards of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from streams.errors import BadInput
from streams.messages.contracts import TraceEvent
from streams.messages.files import read_trace
from tests.runner.fakes import FilmWorld, ScriptedCritic, snapshot
from tribrain import Reward, StopRules, pairs_from_runs, refine

TWO_VIDEOS = StopRules(max_iters=2)
SCORES: tuple[Mapping[str, float], ...] = ({"quality": 0.50, "task": 0.1}, {"quality": 0.45, "task": 0.14})
"""The first is better by the mean."""


def events_in(out: Path) -> list[TraceEvent]:
    return [message for message in read_trace(out / "trace.jsonl") if isinstance(message, TraceEvent)]


def test_the_loop_makes_videos_with_one_s_own_world_and_critics(tmp_path: Path) -> None:
    world = FilmWorld()
    result = refine(
        "stack the cups", world=world, critics=[ScriptedCritic(*SCORES)], out=tmp_path, stop=TWO_VIDEOS
    )
    assert (result.candidates, result.best_iter, result.stop_reason) == (2, 0, "max_iters")
    assert world.prompts == [event.prompt for event in events_in(tmp_path)]
    assert len(pairs_from_runs(tmp_path, min_gap=0.0)) == 1


def test_prompts_are_rewritten_by_one_s_own_function(tmp_path: Path) -> None:
    given: list[tuple[str, str]] = []

    def rewrite(prompt: str, arm: str) -> str:
        given.append((prompt, arm))
        return f"{prompt} Slowly."

    world = FilmWorld()
    critic = ScriptedCritic({"quality": 0.1}, {"quality": 0.2}, {"quality": 0.3})
    refine(
        "stack the cups",
        world=world,
        critics=[critic],
        rewrite=rewrite,
        out=str(tmp_path),
        stop=StopRules(max_iters=3),
    )
    assert world.prompts == ["stack the cups", "stack the cups Slowly.", "stack the cups Slowly. Slowly."]
    assert [prompt for prompt, _ in given] == world.prompts[:2]


@pytest.mark.parametrize("rewritten", ["", " \n", "x" * 3201, "\ud800", None])
def test_a_rewrite_that_is_no_prompt_is_refused(rewritten: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a rewritten prompt"):
        refine(
            "stack the cups",
            world=FilmWorld(),
            critics=[ScriptedCritic({"quality": 0.1})],
            rewrite=lambda prompt, arm: rewritten,
            out=tmp_path,
        )


def test_a_reward_that_is_given_steers_the_pick(tmp_path: Path) -> None:
    """Also a shadow, as its user's own decision."""
    reward = Reward(snapshot({"eye.task": 8.0}, gate="shadow"))
    options: dict[str, Any] = {"world": FilmWorld(), "stop": TWO_VIDEOS, "preference_weight": 0.25}
    picked = {
        name: refine(
            "goal", critics=[ScriptedCritic(*SCORES)], out=tmp_path / name, reward=of, **options
        ).best_iter
        for name, of in (("without", None), ("with", reward))
    }
    assert picked == {"without": 0, "with": 1}


def test_without_critics_the_built_in_ones_judge(tmp_path: Path) -> None:
    refine("stack the cups", world=FilmWorld(), out=tmp_path, stop=StopRules(max_iters=1))
    (event,) = events_in(tmp_path)
    assert "flicker" in {result.critic_name for result in event.critic_results}


def test_a_world_that_keeps_failing_ends_the_run_and_the_result_says_why(tmp_path: Path) -> None:
    result = refine("goal", world=FilmWorld(fails=range(9)), critics=[ScriptedCritic({})], out=tmp_path)
    assert (result.stop_reason, result.candidates, result.best_iter) == ("max_failures", 3, None)
    assert "out of memory" in result.failure


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    (tmp_path / "trace.jsonl").touch()
    with pytest.raises(BadInput, match="already exists, and a folder holds one run; choose another out"):
        refine("goal", world=FilmWorld(), out=tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"reward": "bt_reward.json"},
            "reward: found 'bt_reward.json'; expected a Reward, a RewardFeed",
        ),
        ({"preference_weight": -1.0}, "preference weight is -1.0; expected a finite number of at least 0"),
        ({"critics": []}, r"critics are \[\]; expected at least one"),
        ({"candidates": 0}, "candidates is 0; expected 1 to 64"),
        ({"seed": -1}, "seed is -1; expected a whole number of at least 0"),
        ({"goal": " "}, "the goal is blank"),
        ({"goal": "\u200b\u2060"}, "the goal is blank"),
        ({"publish_to": "nowhere"}, "'nowhere' is not a broker's address; give host:port"),
        ({"publish_to": ""}, 'no Kafka broker is named; give publish_to="host:port" or set TRIBRAIN_BOOT'),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_before_anything_is_made(
    options: Any, said: str, tmp_path: Path
) -> None:
    world = FilmWorld()
    with pytest.raises(BadInput, match=said):
        refine(**{"goal": "goal", "world": world, "out": tmp_path} | options)
    assert world.prompts == []
