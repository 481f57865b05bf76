from __future__ import annotations

import doctest
import re
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

import runner.loop.refiner
from runner.loop.refiner import (
    ARMS,
    MAX_GOAL_CHARS,
    MAX_LEVEL,
    MAX_PROMPT_CHARS,
    Arm,
    Directive,
    PromptState,
    refine,
)
from runner.worlds.simulated import read_prompt
from streams.errors import BadInput
from streams.messages.refusals import is_blank

ASKING: tuple[Arm, ...] = ("physics", "task", "smoothness", "quality")

plain_goals = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60
)
# Goals made of what directives are made of, since those are the ones that could be mistaken.
pieces = st.sampled_from(
    [
        "\n\nRequirements:\n",
        "\n\nRequirements:",
        "\nRequirements:\n",
        "\n",
        "- ",
        ".",
        "Requirements:",
        "push it",
        *(f"- {arm}: {Directive(arm, level).text}." for arm in ASKING for level in (1, 2, 3)),
    ]
)
lookalike_goals = st.lists(pieces, min_size=1, max_size=6).map("".join)
goals = (plain_goals | lookalike_goals).filter(
    lambda g: not is_blank(g) and "\n\nRequirements:\n" not in g and len(g) <= MAX_GOAL_CHARS
)
directives = st.permutations(ASKING).flatmap(
    lambda order: st.lists(st.integers(1, MAX_LEVEL), max_size=len(order)).map(
        lambda levels: tuple(Directive(a, n) for a, n in zip(order, levels, strict=False))
    )
)
states = st.builds(PromptState, goals, directives)


def read_back(text: str) -> PromptState:
    """What a text says, without knowing the state; so no two states can share a text."""
    head, heading, tail = text.rpartition("\n\nRequirements:\n")
    if not heading:
        return PromptState(text)
    named = {f"- {a}: {Directive(a, n).text}.": Directive(a, n) for a in ASKING for n in (1, 2, 3)}
    return PromptState(head, tuple(named[line] for line in tail.split("\n")))


@given(states)
def test_no_two_states_read_the_same(state: PromptState) -> None:
    assert read_back(state.text) == state


def test_a_goal_that_reads_like_the_start_of_directives_is_kept_apart() -> None:
    line = "- " + "quality: " + Directive("quality").text + "."
    inner = PromptState("x", (Directive("quality"),))
    outer = PromptState("x\n\nRequirements:", (Directive("quality"),))
    assert inner.text != outer.text
    with pytest.raises(BadInput, match="refined before"):
        PromptState(f"x\n\nRequirements:\n{line}")


@given(goals, st.lists(st.sampled_from(ARMS), max_size=30))
def test_a_prompt_never_outgrows_its_maximum(goal: str, arms: list[Arm]) -> None:
    assert len(reduce(refine, arms, PromptState(goal)).text) <= MAX_PROMPT_CHARS


def test_the_longest_goal_with_every_directive_at_its_last_level_fits() -> None:
    everything = tuple(Directive(arm, MAX_LEVEL) for arm in ASKING)
    assert len(PromptState("x" * MAX_GOAL_CHARS, everything).text) <= MAX_PROMPT_CHARS


@given(states, st.sampled_from(ARMS))
def test_the_goal_is_in_every_prompt_as_it_was_given(state: PromptState, arm: Arm) -> None:
    assert refine(state, arm).text.startswith(state.goal)


@given(states, st.sampled_from(ASKING))
def test_an_arm_is_in_force_after_it_was_chosen_and_the_others_are_as_they_were(
    state: PromptState, arm: Arm
) -> None:
    before = {d.arm: d.level for d in state.directives}
    after = {d.arm: d.level for d in refine(state, arm).directives}
    assert after == before | {arm: min(before.get(arm, 0) + 1, MAX_LEVEL)}


@given(states)
def test_minimal_takes_back_the_directive_asked_for_longest_ago(state: PromptState) -> None:
    assert refine(state, "minimal").directives == state.directives[1:]


def test_an_arm_that_is_asked_for_again_counts_as_the_latest() -> None:
    state = PromptState("push it")
    for arm in ("physics", "task", "physics"):
        state = refine(state, arm)
    assert state.directives == (Directive("task", 1), Directive("physics", 2))


def test_minimal_ends_at_the_bare_goal() -> None:
    assert refine(refine(PromptState("push it"), "task"), "minimal").text == "push it"


@pytest.mark.parametrize("goal", ["", " \n", "x" * (MAX_GOAL_CHARS + 1), "\ud800", "a\n\nRequirements:\nb"])
def test_a_goal_that_cannot_be_refined_is_bad_input(goal: str) -> None:
    with pytest.raises(BadInput):
        PromptState(goal)


@pytest.mark.parametrize(
    "bad", [(Directive("task"), Directive("task", 2)), (Directive("task", 4),), (Directive("minimal"),)]
)
def test_a_state_that_no_refinement_makes_is_refused(bad: tuple[Directive, ...]) -> None:
    with pytest.raises(ValueError, match="each arm once"):
        PromptState("push it", bad)


@pytest.mark.parametrize("arm", ASKING)
def test_every_clause_is_understood_by_the_simulated_world(arm: Arm) -> None:
    for level in range(1, MAX_LEVEL + 1):
        reading = read_prompt(PromptState("push it", (Directive(arm, level),)).text, "push it")
        assert reading.directives == dict.fromkeys(ASKING, 0) | {arm: level}


def test_every_clause_of_every_directive_is_another() -> None:
    clauses = [c for arm in ASKING for c in re.split("; ", Directive(arm, MAX_LEVEL).text)]
    assert len(set(clauses)) == len(ASKING) * MAX_LEVEL


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(runner.loop.refiner).failed == 0
