"""Rewrites the prompt from a goal and its active directives, without editing text.

A prompt is a state (the goal, and how firmly each arm's directive is stated) with a single rendering as text.
So refining cannot pile up copies of a directive, prompts have a known maximum length, and two different
states never read the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from streams.errors import BadInput
from streams.messages.refusals import is_blank

Arm = Literal["physics", "task", "smoothness", "quality", "minimal"]
"""What a refinement does: state one failure mode's directive more firmly, or remove a directive."""
ARMS: tuple[Arm, ...] = get_args(Arm)

MAX_LEVEL = 3
MAX_GOAL_CHARS = 2000
MAX_PROMPT_CHARS = 3200
"""Room for the longest goal with every directive at its highest level. A text encoder with 512 tokens reads
about 2,200 characters of English, so with a goal of more than 1,000 it may not see the last directives."""

_HEADING = "\n\nRequirements:\n"
_DIRECTIVES: dict[Arm, str] = {
    "physics": "keep contacts stable, respect gravity, no teleporting, no interpenetration",
    "task": "complete the instruction and end with the object at its goal",
    "smoothness": "steady camera, smooth motion, no shake",
    "quality": "sharp frames, constant exposure, no flicker, no blur",
}
_FIRMER: dict[Arm, tuple[str, str]] = {
    "physics": (
        "objects stay solid and move only when pushed, carried or dropped",
        "grasp before lifting and keep contact while carrying",
    ),
    "task": (
        "complete every step in order, none half done",
        "hold the final state until it is seen to match the goal",
    ),
    "smoothness": (
        "the view stays steady and speeds change gradually",
        "smooth from each frame to the next, no sudden jumps",
    ),
    "quality": (
        "exposure, colours and textures stay the same from the first frame to the last",
        "details stay sharp while things move",
    ),
}
"""One clause is added per level; each names its own concern, so that it reads as one more request."""


@dataclass(frozen=True, slots=True)
class Directive:
    """The directive of one arm; ``level`` 1 to MAX_LEVEL is how firmly it is stated."""

    arm: Arm
    level: int = 1

    @property
    def text(self) -> str:
        return "; ".join((_DIRECTIVES[self.arm], *_FIRMER[self.arm][: self.level - 1]))


@dataclass(frozen=True, slots=True)
class PromptState:
    """A goal and its directives, the least recently requested first.

    Raises BadInput for a goal that is blank, longer than MAX_GOAL_CHARS or not valid Unicode, or that
    contains a NUL or the heading of the directives (it could then read like another state).
    """

    goal: str
    directives: tuple[Directive, ...] = ()

    def __post_init__(self) -> None:
        _check_goal(self.goal)
        arms = [d.arm for d in self.directives]
        if len(set(arms)) < len(arms) or any(
            d.arm not in _DIRECTIVES or not 1 <= d.level <= MAX_LEVEL for d in self.directives
        ):
            raise ValueError(f"each arm once, with a level of 1 to {MAX_LEVEL}; found {self.directives}")

    @property
    def text(self) -> str:
        """The prompt for the world model; at most MAX_PROMPT_CHARS characters."""
        if not self.directives:
            return self.goal
        lines = "\n".join(f"- {d.arm}: {d.text}." for d in self.directives)
        return f"{self.goal}{_HEADING}{lines}"


def refine(state: PromptState, arm: Arm) -> PromptState:
    """The prompt to try next, building on ``state``. Deterministic.

    A new arm is added. An active arm is stated more firmly, up to MAX_LEVEL, and becomes the most recent.
    ``minimal`` removes the least recent directive: every later one was chosen while it was active and
    something still had to be fixed. If nothing is left to strengthen or remove, the prompt stays the same,
    and the iteration draws another video from it.

    >>> state = refine(refine(PromptState("stack the cups"), "smoothness"), "task")
    >>> print(refine(state, "minimal").text)
    stack the cups
    <BLANKLINE>
    Requirements:
    - task: complete the instruction and end with the object at its goal.
    """
    if arm == "minimal":
        return replace(state, directives=state.directives[1:])
    level = next((d.level for d in state.directives if d.arm == arm), 0)
    others = tuple(d for d in state.directives if d.arm != arm)
    return replace(state, directives=(*others, Directive(arm, min(level + 1, MAX_LEVEL))))


@dataclass(frozen=True, slots=True)
class Rewritten(PromptState):
    """A goal with a prompt from elsewhere. Raises BadInput for a text that cannot be a prompt."""

    prompt: str = ""

    def __post_init__(self) -> None:
        found = self.prompt
        if not isinstance(found, str) or is_blank(found) or len(found) > MAX_PROMPT_CHARS:
            what = f"{len(found)} characters" if isinstance(found, str) else f"a {type(found).__name__}"
            raise BadInput(
                f"a rewritten prompt has {what}; expected a text of 1 to {MAX_PROMPT_CHARS} characters that "
                "is not blank"
            )
        _check_text(found, "a rewritten prompt")

    @property
    def text(self) -> str:
        return self.prompt


def rewriting(rewrite: Callable[[str, Arm], str]) -> Callable[[PromptState, Arm], PromptState]:
    """A refiner like ``refine``, from a function of the prompt to build on and what to fix.

    >>> by_shouting = rewriting(lambda prompt, arm: f"{prompt} Mind the {arm}!")
    >>> by_shouting(PromptState("stack the cups"), "physics").text
    'stack the cups Mind the physics!'
    """
    return lambda state, arm: Rewritten(state.goal, prompt=rewrite(state.text, arm))


def _check_goal(goal: str) -> None:
    if is_blank(goal):
        raise BadInput("the goal is blank; say in a sentence what the video should show")
    if len(goal) > MAX_GOAL_CHARS:
        raise BadInput(
            f"the goal has {len(goal)} characters, and at most {MAX_GOAL_CHARS} can be refined: shorten it"
        )
    if _HEADING in goal:
        raise BadInput(
            f"the goal contains the heading {_HEADING.strip()!r} that directives follow; give the bare goal, "
            "not a prompt that was refined before"
        )
    _check_text(goal, "the goal")


def _check_text(text: str, what: str) -> None:
    """Raises BadInput for what cannot be the argument of a program."""
    if "\0" in text:
        raise BadInput(
            f"{what} has a NUL at character {text.index(chr(0))}, which no program can be given; remove it"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{what} is not valid Unicode at character {error.start}: {error.reason}") from None
