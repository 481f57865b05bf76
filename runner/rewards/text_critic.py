"""A reward of texts as one more critic: its score of a prompt, for the reward model to weigh."""

from __future__ import annotations

from runner.interfaces import TextReward
from streams.messages.contracts import TEXT_MODE, CriticResult
from trainers.bradley_terry.reward import sigmoid


def judge_text(name: str, reward: TextReward, goal: str, prompt: str) -> CriticResult:
    """P(this prompt is preferred to the bare goal), which is in [0, 1] and comparable across goals."""
    (of_prompt, of_goal), _ = reward.rewards(goal, (prompt, goal))
    return CriticResult(
        critic_name=name,
        scores={TEXT_MODE: sigmoid(float(of_prompt - of_goal))},
        extra={"version": reward.version, "gate": reward.gate},
    )
