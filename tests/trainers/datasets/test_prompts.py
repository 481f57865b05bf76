"""Prompts by what they say: the same ones are found again, and a choice leaves out those kept apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.look import look_at, put_as_mp4
from tests.factories import event
from tests.recorded_runs import write_run
from trainers.datasets.build import WritingRules, build_dataset, prompts_shown
from trainers.datasets.captions import CaptionKind
from trainers.datasets.choice import KEPT_APART, ChoiceRules, choose
from trainers.datasets.prompts import is_of, prompt_digest
from trainers.datasets.samples import Run


@pytest.mark.parametrize("text", ["pour the tea", "Pour  the tea.", " \tPOUR THE TEA\n", '"pour the tea"'])
def test_case_spaces_and_punctuation_around_make_no_other_prompt(text: str) -> None:
    assert prompt_digest(text) == prompt_digest("pour the tea")


@pytest.mark.parametrize("text", ["pour a tea", "pour the tea twice", "把茶倒进杯子", "…", ""])
def test_other_words_make_another_prompt(text: str) -> None:
    assert prompt_digest(text) != prompt_digest("pour the tea")


def test_an_iteration_is_of_its_goal_and_of_its_prompt() -> None:
    made = event(3, 0.5)
    assert is_of(made, {prompt_digest("prompt 3")})
    assert is_of(made, {prompt_digest("Move the red cube to the bowl")})
    assert not is_of(made, {prompt_digest("prompt 4")})
    assert not is_of(made, ())


@pytest.mark.parametrize("caption", ["goal", "prompt"])
def test_a_dataset_knows_the_goals_and_captions_that_it_shows(tmp_path: Path, caption: CaptionKind) -> None:
    runs, prompts = [], []
    for goal in ("tea", "drawer"):
        events = write_run(tmp_path / goal, [0.2, 0.9], goal=goal, task_id=goal)
        runs.append(Run(folder=tmp_path / goal, run_id=goal, events=tuple(events)))
        prompts.append({goal} | {event.prompt for event in events if caption == "prompt"})
    rules = ChoiceRules(dataset_format="diffsynth", caption=caption)
    choice = choose(runs, rules, None, look_at, kept_apart={prompt_digest("TEA")})
    assert choice.left_out[KEPT_APART] == 2
    build_dataset(tmp_path / "out", choice, rules, WritingRules(), None, {}, put_as_mp4)
    assert prompts_shown(tmp_path / "out") == {prompt_digest(text) for text in prompts[1]}
