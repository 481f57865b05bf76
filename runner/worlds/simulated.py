"""The built-in world model: not a model at all, but a drawing whose failures are known.

It draws a coloured thing on its way to a target (``runner.worlds.scene``). Every task has hidden tendencies
to fail in five ways, every generation varies around them, and the prompt shifts them. A directive lowers its
own failure with diminishing returns; a prompt that is long or asks for many different things raises others.
So choosing what to fix matters, as with a real world model, and runs take milliseconds. The simulation shows
that the loop and the learning work. It says nothing about any real model's videos. Since the failures are
known, so is a person's opinion of a video: ``true_quality`` weighs them. Critics and the loop never see it. A
fraction of the generations carries a noisy judgement of it as outcome, in place of a validator or a person.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import orjson

from runner.interfaces import Generation
from runner.video import write_video
from runner.worlds.scene import FPS, Failures, Shot, draw, make_scene, make_shot
from runner.worlds.simulated_checkpoint import FAILURES, WorldCheckpoint
from streams.errors import BadInput

CUES: dict[str, tuple[str, ...]] = {
    "physics": ("physics", "teleport", "interpenetrat", "contact", "gravity", "solid", "float", "vanish"),
    "task": ("task", "complete", "goal", "final state", "instruction", "every step", "half done"),
    "smoothness": ("smooth", "steady", "shak", "viewpoint", "gradual", "sudden"),
    "quality": ("quality", "sharp", "flicker", "exposure", "blur", "texture", "detail"),
}
"""Failure mode to word beginnings that mark a clause of the prompt as its directive."""

TRUE_WEIGHTS: Mapping[str, float] = {
    "task": 0.40,
    "physics": 0.35,
    "shake": 0.15,
    "flicker": 0.05,
    "blur": 0.05,
}
"""How much each failure lowers a person's opinion: task and physics count far more than the look."""

JUDGEMENT_NOISE = 0.03
"""Standard deviation of a judgement around the true quality."""
_FREE_WORDS = 45
"""Words of directives that a prompt may have before the model loses track."""
_FREE_MODES = 2
"""Number of different directives that do not yet interfere with each other."""

_COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
_LOWERED_BY = ("physics", "task", "smoothness", "quality", "quality")
_DIRECTIVE_EFFECT = 1.9
"""Limit of many directives of one mode, on the log-odds of its failures; one alone has half the effect."""
_SIDE_EFFECT = 0.35
"""Side effect of asking for calm or for pretty pictures: the motion becomes timid and careless."""
_CROWDING = np.array([0.30, 0.30, 0.10, 0.10, 0.10])
"""Log-odds for each different directive above the free number."""
_LENGTH = np.array([0.010, 0.020, 0.005, 0.005, 0.005])
"""Log-odds for each word above the free number."""
_TASK_MEAN = np.array([0.1, 0.0, 0.2, 0.2, 0.2])
_TASK_SPREAD = np.array([0.8, 0.8, 1.0, 1.0, 1.0])
_SPREAD = np.array([0.80, 0.85, 0.80, 0.80, 0.80])
_EDGE = 1e-9
"""Failures closer than this to 0 or 1 get the log-odds at this distance."""
_BOLDNESS = np.array([-0.33, -0.38, 0.42, 0.42, 0.42])
"""A bold generation arrives, but shakes and flickers on the way; a timid one looks good and fails."""

# Random streams that must be independent of each other.
_LAYOUT, _TENDENCIES, _VARIATION, _DRAWING, _JUDGEMENT = range(5)


@dataclass(frozen=True, slots=True)
class PromptReading:
    """What the world reads in a prompt besides the goal."""

    directives: dict[str, int]
    """Failure mode to the number of clauses that ask for it."""
    words: int


def read_prompt(prompt: str, goal: str) -> PromptReading:
    """Counts the directives in a prompt without its goal; a clause counts for its strongest mode only."""
    rest = prompt.replace(goal, " ", 1).lower()
    directives = dict.fromkeys(CUES, 0)
    for clause in re.split(r"[.;!?\n]+", rest):
        hits = {mode: sum(_has_cue(clause, cue) for cue in cues) for mode, cues in CUES.items()}
        mode = max(hits, key=hits.__getitem__)
        directives[mode] += hits[mode] > 0
    return PromptReading(directives, len(rest.split()))


def true_quality(failures: Failures, weights: Mapping[str, float] = TRUE_WEIGHTS) -> float:
    """A person's opinion of the video, in [0, 1]; one severe failure costs more than two half as severe.

    ``weights``, by failure, sum to 1.
    """
    loss = sum(weight * _felt(getattr(failures, name)) for name, weight in weights.items())
    return 1.0 - loss


def judgement(
    quality: float, rng: np.random.Generator, *, share: float, noise: float
) -> dict[str, Any] | None:
    """The outcome of a video of this true quality; null outside the fraction that is judged."""
    if rng.random() >= share:
        return None
    score = quality + noise * rng.standard_normal()
    return {"score": float(np.clip(score, 0.0, 1.0)), "source": "simulated validator"}


def random_goal(rng: Random) -> str:
    """A goal that the world draws well: thing and target have different colours."""
    thing, place = rng.sample(_COLOURS, 2)
    return f"move the {thing} {rng.choice(['cube', 'ball'])} to the {place} bowl"


class SimulatedWorld:
    """A world model whose videos, failures and judges are simulated; see the module.

    ``task_seed`` decides the scene and its tendencies to fail. The same goal, ``task_seed``, prompt and seed
    give the same video, byte for byte. A fraction ``outcome_share`` of the generations, chosen by their
    seeds, carries an outcome. ``write_truth`` writes the failures and the true quality to ``truth.json``
    beside each video, for studies; nothing in the loop reads it. ``judgement_noise`` is the standard
    deviation of an outcome around the true quality. ``checkpoint`` is the result of a fine-tuning. Raises
    BadInput for a share outside [0, 1].
    """

    name = "simulated"

    def __init__(
        self,
        goal: str,
        task_seed: int,
        outcome_share: float = 0.5,
        *,
        write_truth: bool = False,
        true_weights: Mapping[str, float] = TRUE_WEIGHTS,
        judgement_noise: float = JUDGEMENT_NOISE,
        checkpoint: WorldCheckpoint | None = None,
    ) -> None:
        if not 0.0 <= outcome_share <= 1.0:
            raise BadInput(f"outcome_share is {outcome_share}; it must be between 0 and 1")
        self.goal = goal
        self._task_seed = task_seed
        self._outcome_share = outcome_share
        self._write_truth = write_truth
        self._true_weights = true_weights
        self._judgement_noise = judgement_noise
        self.scene = make_scene(goal, self._random(_LAYOUT))
        self._tendencies = _TASK_MEAN + _TASK_SPREAD * self._random(_TENDENCIES).standard_normal(
            len(FAILURES)
        )
        if checkpoint is not None:
            self._tendencies += np.array([checkpoint.shifts[name] for name in FAILURES])

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        """Draw ``video.mp4`` into ``out_dir``."""
        failures = self.failures(prompt, seed=seed)
        video = out_dir / "video.mp4"
        write_video(video, draw(self.scene, self.shot(failures, seed=seed)), FPS)
        quality = true_quality(failures, self._true_weights)
        if self._write_truth:
            truth = {"true_quality": quality, "failures": failures.as_dict()}
            (out_dir / "truth.json").write_bytes(orjson.dumps(truth))
        return Generation(
            video=video, outcome=self._outcome(quality, seed), meta={"task_seed": self._task_seed}
        )

    def failures(self, prompt: str, *, seed: int) -> Failures:
        """The failures that ``generate`` draws for this prompt and seed; hidden from the loop and critics."""
        rng = self._random(_VARIATION, seed)
        boldness = rng.standard_normal()
        variation = _BOLDNESS * boldness + _SPREAD * rng.standard_normal(len(FAILURES))
        log_odds = self._tendencies + variation + _prompt_effect(read_prompt(prompt, self.goal))
        return Failures(*(float(value) for value in 1.0 / (1.0 + np.exp(-log_odds))))

    def surprise(self, failures: Failures, caption: str) -> dict[str, float]:
        """A video's log-odds above this world's average for the caption, by failure."""
        usual = self._tendencies + _prompt_effect(read_prompt(caption, self.goal))
        shown = np.clip([getattr(failures, name) for name in FAILURES], _EDGE, 1.0 - _EDGE)
        beyond = np.log(shown / (1.0 - shown)) - usual
        return {name: float(value) for name, value in zip(FAILURES, beyond, strict=True)}

    def shot(self, failures: Failures, *, seed: int) -> Shot:
        """The motion and look of the video with these failures."""
        return make_shot(self.scene, failures, self._random(_DRAWING, seed))

    def _outcome(self, quality: float, seed: int) -> dict[str, Any] | None:
        rng = self._random(_JUDGEMENT, seed)
        return judgement(quality, rng, share=self._outcome_share, noise=self._judgement_noise)

    def _random(self, stream: int, seed: int = 0) -> np.random.Generator:
        # NumPy takes no negative seeds, and Python's hash() differs between processes.
        return np.random.default_rng([stream, self._task_seed % 2**64, seed % 2**64])


def _prompt_effect(reading: PromptReading) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The prompt's shift of the failures' log-odds."""
    strength = {mode: 1.0 - 0.5**count for mode, count in reading.directives.items()}
    effect = np.array([-_DIRECTIVE_EFFECT * strength[mode] for mode in _LOWERED_BY])
    effect[:2] += _SIDE_EFFECT * (strength["smoothness"] + strength["quality"])
    crowd = max(0, sum(count > 0 for count in reading.directives.values()) - _FREE_MODES)
    excess = max(0, reading.words - _FREE_WORDS)
    return np.asarray(effect + crowd * _CROWDING + excess * _LENGTH)


def _has_cue(clause: str, cue: str) -> bool:
    return re.search(rf"\b{cue}", clause) is not None


def _felt(failure: float) -> float:
    return failure * (0.7 + 0.3 * failure)
