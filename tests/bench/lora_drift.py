"""Warm or afresh, when the taste turns over: ``python -m tests.bench.lora_drift [BASE]`` prints a table.

Four rounds of pairs come in, and each is followed by a training, as ``serve-lora`` does it. People like some
ways in which a thing is done and dislike others; in one stream that turns over after the second round, in the
other it stays. Each adapter is measured on pairs of unseen tasks by the taste of its own time. Without BASE
it is a tiny random encoder that knows a dozen words, and eight seeds rather than one.
"""

from __future__ import annotations

import math
import random
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from tests.trainers.lora.tiny import tiny_base
from trainers.lora.adapter import Adapter, read_adapter
from trainers.lora.checkpoint import TrainingCheckpoint
from trainers.lora.inbox import Arrived
from trainers.lora.round import Parts, Start, TrainingRecipe, parts_of, train_round
from trainers.lora.settings import LoraSettings
from trainers.lora.texts import TextPair, is_held_out

ROUNDS, PER_ROUND, TEST_PAIRS, SEEDS = 4, 96, 150, 8
TURN = ROUNDS // 2
SHARPNESS = 1.5
SETTINGS = LoraSettings(length=64, evaluations=1)
TINY_SETTINGS = LoraSettings(length=32, evaluations=1, rank=4, lr=0.02)
WAYS = (
    ("slowly", "at a gentle pace"),
    ("in one quick move", "as fast as it can"),
    ("with the camera held still", "seen from a fixed viewpoint"),
    ("while the camera circles", "with a turning view"),
    ("in warm evening light", "lit by a low sun"),
    ("under bright white lamps", "in a glaring hall"),
    ("with the fingers closing softly", "gripping with care"),
    ("with a firm grip", "clutching it tightly"),
)
"""Liked and disliked in turn, each in two wordings."""
TINY_WAYS = tuple((word, word) for word in ("slowly", "now", "good", "bad", "please", "red", "a", "to"))
GOALS = ("move the red cube to the bowl", "pour the tea", "fold the towel", "open the drawer")


Ways = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Strategy:
    name: str
    start: Start
    replay: float = 0.0
    rounds: int = ROUNDS
    """Newest rounds that are used."""


STRATEGIES = (
    Strategy("afresh, all pairs", "afresh"),
    Strategy("afresh, the newest two rounds", "afresh", rounds=2),
    Strategy("warm, no replay", "warm"),
    Strategy("warm, half replayed", "warm", 0.5),
    Strategy("warm, three quarters replayed", "warm", 0.75),
)


def pairs_of(
    n: int, tastes: Sequence[float], rng: random.Random, first_task: int, ways: Ways = WAYS
) -> list[TextPair]:
    """Pairs of a task each, labelled by people with this taste for each of the ways."""
    pairs = []
    for at in range(n):
        goal = rng.choice(GOALS)
        sides = [rng.sample(range(len(ways)), 3) for _ in range(2)]
        texts = [f"{goal}, {', '.join(rng.choice(ways[way]) for way in side)}" for side in sides]
        gap = sum(tastes[way] for way in sides[0]) - sum(tastes[way] for way in sides[1])
        first = int(rng.random() > 1 / (1 + math.exp(-SHARPNESS * gap)))
        pairs.append(TextPair(f"task-{first_task + at}", goal, texts[first], texts[1 - first], "human", 1.0))
    return pairs


def log_losses(
    base: str, strategy: Strategy, turns: bool, seed: int, work: Path, settings: LoraSettings, ways: Ways
) -> list[float]:
    """Held-out log loss after each round."""
    rng = random.Random(seed)
    tastes = [1.0 if way % 2 == 0 else -1.0 for way in range(len(ways))]
    known: list[Arrived] = []
    before: Adapter | None = None
    found = []
    for number in range(ROUNDS):
        if turns and number == TURN:
            tastes = [-taste for taste in tastes]
        known += of_round(pairs_of(PER_ROUND, tastes, rng, 0, ways), number)
        test = pairs_of(TEST_PAIRS, tastes, random.Random(1_000 * seed + number), 10_000, ways)
        recipe = TrainingRecipe(
            base, replace(settings, seed=seed), strategy.start, strategy.replay, PER_ROUND * strategy.rounds
        )
        stamp = {0: PER_ROUND * number}
        chosen = parts_of(
            known[-recipe.most_pairs :], stamp, recipe, warm=strategy.start == "warm" and before is not None
        )
        parts = Parts(chosen.train, tuple(test), chosen.known, chosen.n_new)
        of = train_round(
            parts,
            recipe,
            TrainingCheckpoint(work / "round"),
            start=before if strategy.start == "warm" else None,
            baselines=lambda known, held_out: {},
        )
        found.append(of.metrics["models"]["LoRA"]["log_loss"])
        folder = Path(tempfile.mkdtemp(dir=work))
        for name, content in of.files.items():
            (folder / name).write_bytes(content)
        before = read_adapter(folder)
        TrainingCheckpoint(work / "round").remove()
    return found


def of_round(pairs: Sequence[TextPair], number: int) -> list[Arrived]:
    """Tasks with names of which none is kept apart, but for one, as a training wants any."""
    first = PER_ROUND * number
    learnt = iter(name for n in range(10**6) if not is_held_out(name := f"round-{number}-{n}"))
    apart = next(name for n in range(10**6) if is_held_out(name := f"round-{number}-{n}"))
    return [
        Arrived(0, first + at, 0, replace(pair, task=apart if at == 0 else next(learnt)))
        for at, pair in enumerate(pairs)
    ]


def main() -> None:
    console = Console(stderr=True)
    tiny = tempfile.TemporaryDirectory()
    base = sys.argv[1] if len(sys.argv) > 1 else str(tiny_base(Path(tiny.name) / "bert", "bert"))
    settings, ways = (SETTINGS, WAYS) if len(sys.argv) > 1 else (TINY_SETTINGS, TINY_WAYS)
    seeds = 1 if len(sys.argv) > 1 else SEEDS
    print("| strategy | taste | " + " | ".join(f"round {n + 1}" for n in range(ROUNDS)) + " | seconds |")
    print("|---" * (ROUNDS + 3) + "|")
    for strategy in STRATEGIES:
        for turns in (False, True):
            started = time.perf_counter()
            with console.status(strategy.name), tempfile.TemporaryDirectory() as work:
                rows = [
                    log_losses(base, strategy, turns, seed, Path(work), settings, ways)
                    for seed in range(seeds)
                ]
            taken = (time.perf_counter() - started) / seeds
            cells = " | ".join(f"{value:.3f}" for value in np.mean(rows, axis=0))
            print(
                f"| {strategy.name} | {'turns over' if turns else 'stays'} | {cells} | {taken:.0f} |",
                flush=True,
            )
    tiny.cleanup()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\nPeak memory {peak:.2f} GiB.")


if __name__ == "__main__":
    main()
