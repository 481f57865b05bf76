"""Proposes several rewrites of a prompt, and chooses one to make a video of.

A video costs minutes, a text reward milliseconds. So the refiner proposes K rewrites, and the reward of texts
gives each one's value and uncertainty. The one that is best in a sample of the possible values is made
(Thompson 1933, "On the likelihood that one unknown probability exceeds another"), so an uncertain reward
still explores.
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
class RewriteChoice:
    """The chosen rewrite, and the text reward's values for all of them."""

    rewrites: tuple[Rewrite, ...]
    order: tuple[int, ...]
    """Indices of the rewrites, best first."""
    version: int | None = None
    """Version of the text reward; null without one."""
    rewards: tuple[float, ...] = ()
    """Rewards in nats, relative to the mean of the rewrites."""
    deviations: tuple[float, ...] = ()
    """Standard deviations of the rewards."""
    sampled: tuple[float, ...] = ()
    """Sampled values that decided the order; empty if the reward may not choose."""

    @property
    def rewrite(self) -> Rewrite:
        """The best rewrite."""
        return self.rewrites[self.order[0]]

    def made(self, k: int) -> tuple[Rewrite, ...]:
        """The ``k`` best rewrites; if there are fewer, they repeat."""
        return tuple(self.rewrites[i] for i in islice(cycle(self.order), k))

    @classmethod
    def as_proposed(cls, rewrites: Sequence[Rewrite]) -> RewriteChoice:
        return cls(tuple(rewrites), tuple(range(len(rewrites))))

    def meta(self) -> dict[str, Any]:
        """Entries for the ``meta`` of trace events."""
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
    """Distinct prompts from ``k`` draws of the controller; its own choice is the first.

    The surer the controller's posterior, the more its draws agree: if it knows what to fix there is little to
    choose from, and it does not propose an arm that it does not believe in.
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
) -> RewriteChoice:
    """The order as proposed if the reward may not choose; its values are recorded all the same."""
    if reward is None:
        return RewriteChoice.as_proposed(rewrites)
    means, covariance = reward.rewards(goal, [rewrite.state.text for rewrite in rewrites])
    # Only differences matter, so what all rewrites share is removed before sampling.
    centre = np.eye(len(rewrites)) - 1.0 / len(rewrites)
    means, covariance = centre @ means, centre @ covariance @ centre
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    sampled = rng.multivariate_normal(means, covariance, method="eigh") if may_choose else np.empty(0)
    return RewriteChoice(
        rewrites=tuple(rewrites),
        order=tuple(np.argsort(-sampled, kind="stable").tolist() if may_choose else range(len(rewrites))),
        version=reward.version,
        rewards=tuple(means.tolist()),
        deviations=tuple(deviations.tolist()),
        sampled=tuple(sampled.tolist()),
    )
