"""What exchanging an adapter costs a running loop: ``python -m tests.bench.adapter_swap BASE`` prints it."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from tests.bench.lora_drift import SETTINGS, WAYS, of_round, pairs_of
from trainers.lora.adapter import read_adapter
from trainers.lora.checkpoint import TrainingCheckpoint
from trainers.lora.round import TrainingRecipe, parts_of, train_round
from trainers.lora.scorer import AdapterScorer

SWAPS = 200
GOAL, PROMPTS = "pour the tea", ("pour the tea, slowly", "pour the tea, as fast as it can")


def milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1_000 * (time.perf_counter() - started)


def main() -> None:
    pairs = of_round(pairs_of(32, [1.0] * len(WAYS), random.Random(0), 0), 0)
    with tempfile.TemporaryDirectory() as folder:
        adapters = []
        for seed in (0, 1):
            recipe = TrainingRecipe(sys.argv[1], replace(SETTINGS, seed=seed))
            work, out = Path(folder) / f"work-{seed}", Path(folder) / f"adapter-{seed}"
            of = train_round(parts_of(pairs, {}, recipe, warm=False), recipe, TrainingCheckpoint(work))
            out.mkdir()
            for name, content in of.files.items():
                (out / name).write_bytes(content)
            adapters.append(read_adapter(out))
        size = sum(path.stat().st_size for path in adapters[0].folder.iterdir())
        reward = AdapterScorer(adapters[0])
        one, other = adapters
        swaps = [milliseconds(partial(reward.swap, adapters[at % 2])) for at in range(1, SWAPS)]
        score = partial(reward.rewards_of, goal=GOAL, candidates=PROMPTS)
        same = [milliseconds(partial(score, other)) for _ in range(SWAPS)]
        both = [milliseconds(partial(score, (one, other)[at % 2])) for at in range(SWAPS)]
    print(f"folder of an adapter: {size:,} bytes")
    for name, of_it in (("swap", swaps), ("two prompts scored", same), ("swapped and scored", both)):
        print(f"{name}: median {np.median(of_it):.2f} ms, 99th percentile {np.percentile(of_it, 99):.2f} ms")


if __name__ == "__main__":
    main()
