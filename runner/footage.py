"""Videos of the simulated world without files: drawn, seen by the critics, and remembered.

Encoding and decoding are left out, which take a third of the time; the critics see the frames as they were
drawn. That this changes little of what they say is held by a test.
"""

from __future__ import annotations

from collections.abc import Sequence

from runner.interfaces import Critic
from runner.worlds.scene import FPS, Failures
from runner.worlds.simulated import SimulatedWorld
from streams.contracts import CriticResult

Seen = tuple[Failures, tuple[CriticResult, ...]]


class Footage:
    """The videos of one task, each drawn and judged once, whoever asks for it."""

    def __init__(self, world: SimulatedWorld, critics: Sequence[Critic]) -> None:
        self.world = world
        self.critics = critics
        self._seen: dict[tuple[str, int], Seen] = {}

    def see(self, prompt: str, seed: int) -> Seen:
        """The video of this prompt and generation seed: its hidden failures, and what the critics say."""
        if (prompt, seed) not in self._seen:
            failures = self.world.failures(prompt, seed=seed)
            frames = self.world.frames(failures, seed=seed)
            goal = self.world.goal
            results = tuple(critic.judge(frames, fps=FPS, goal=goal) for critic in self.critics)
            self._seen[prompt, seed] = failures, results
        return self._seen[prompt, seed]
