"""Several rewrites of a prompt, of which one is worth a video.

A video costs minutes and a text reward milliseconds. So the refiner proposes K rewrites, the reward of texts
says how much each is worth and how sure it is, and the one that is best under a sample of what it may be
worth is made (Thompson 1933, "On the likelihood that one unknown probability exceeds another"): an unsure
reward still tries what it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np

from runner.interfaces import TextReward
from runner.loop.controller import Controller, Vector
from runner.loop.refiner import Arm, PromptState

Refiner = Callable[[PromptState, Arm], PromptState]
MAX_REWRITES = 64


class Rewrite(NamedTuple):
    """A proposal: the arm that made it, and the prompt."""

    arm: Arm
    state: PromptState


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of the rewrites is made, and what the text reward said of all of them."""

    rewrites: tuple[Rewrite, ...]
    order: tuple[int, ...]
    """Their places, the one that is worth a video most first."""
    version: int | None = None
    """Of the text reward; null without one."""
    rewards: tuple[float, ...] = ()
    """In nats, above the mean of the rewrites."""
    deviations: tuple[float, ...] = ()
    """Standard deviations of those."""
    sampled: tuple[float, ...] = ()
    """What each was taken to be worth for this once; empty where the reward may not choose."""

    @property
    def rewrite(self) -> Rewrite:
        """The first to be made."""
        return self.rewrites[self.order[0]]

    def made(self, k: int) -> tuple[Rewrite, ...]:
        """The ``k`` first; where there are fewer, the same ones again."""
        return tuple(self.rewrites[i] for i in islice(cycle(self.order), k))

    @classmethod
    def as_proposed(cls, rewrites: Sequence[Rewrite]) -> Choice:
        return cls(tuple(rewrites), tuple(range(len(rewrites))))

    def meta(self) -> dict[str, Any]:
        """For the trace."""
        return {
            "rewrites": [
                {
                    "arm": rewrite.arm,
                    "prompt": rewrite.state.text,
                    **({"reward": self.rewards[i], "deviation": self.deviations[i]} if self.rewards else {}),
                    **({"sampled": self.sampled[i]} if self.sampled else {}),
                }
                for i, rewrite in enumerate(self.rewrites)
            ],
            "rewrite_picked": self.order[0],
            "text_version": self.version,
        }


def propose(
    state: PromptState,
    k: int,
    controller: Controller,
    context: Vector,
    refiner: Refiner,
    rng: np.random.Generator,
) -> tuple[Rewrite, ...]:
    """What ``k`` draws of the controller would make, each text once; its own choice is the first.

    Draws of its posterior are as alike as it is sure: where it knows what to fix there is little to choose
    from, and an arm that it does not believe in is not proposed.
    """
    first = controller.choose(context, rng)
    arms = dict.fromkeys([first, *(controller.choose(context, rng) for _ in range(k - 1))])
    rewrites: dict[str, Rewrite] = {}
    for arm in arms:
        made = refiner(state, arm)
        rewrites.setdefault(made.text, Rewrite(arm, made))
    return tuple(rewrites.values())


def choose(
    rewrites: Sequence[Rewrite],
    goal: str,
    reward: TextReward | None,
    may_choose: bool,
    rng: np.random.Generator,
) -> Choice:
    """As proposed where the reward may not choose: its opinion is recorded all the same."""
    if reward is None:
        return Choice.as_proposed(rewrites)
    means, covariance = reward.rewards(goal, [rewrite.state.text for rewrite in rewrites])
    # Only how they differ matters, and what all of them share is left out before anything is drawn.
    centre = np.eye(len(rewrites)) - 1.0 / len(rewrites)
    means, covariance = centre @ means, centre @ covariance @ centre
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    sampled = rng.multivariate_normal(means, covariance, method="eigh") if may_choose else np.empty(0)
    return Choice(
        rewrites=tuple(rewrites),
        order=tuple(np.argsort(-sampled, kind="stable").tolist() if may_choose else range(len(rewrites))),
        version=reward.version,
        rewards=tuple(means.tolist()),
        deviations=tuple(deviations.tolist()),
        sampled=tuple(sampled.tolist()),
    )
