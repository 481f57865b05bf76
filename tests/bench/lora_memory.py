"""Peak memory of one training of ``serve-lora``: ``python -m tests.bench.lora_memory [BASE]``.

The default recipe with texts of 256 tokens, of which half are the goal's. Without BASE it is a model of
DistilBERT's shape (66 million weights) with random weights, as memory does not depend on their values.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
from pathlib import Path

import torch

from tests.trainers.lora.tiny import WORDS, tiny_base
from trainers.lora.checkpoint import TrainingCheckpoint
from trainers.lora.inbox import Arrived
from trainers.lora.round import TrainingRecipe, parts_of, train_round
from trainers.lora.texts import TextPair

PAIRS, WORDS_OF_EACH = 80, 130
DISTILBERT = {"dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072, "max_position_embeddings": 512}


def arrived(rng: random.Random) -> list[Arrived]:
    """Each of a task of its own, so that about a fifth is kept apart."""

    def text() -> str:
        return " ".join(rng.choices(WORDS, k=WORDS_OF_EACH))

    return [
        Arrived(0, at, 0, TextPair(f"task-{at}", text(), text(), text(), "human", 1.0)) for at in range(PAIRS)
    ]


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        base = sys.argv[1] if len(sys.argv) > 1 else str(of_distilberts_shape(Path(folder) / "base"))
        recipe = TrainingRecipe(base)
        parts = parts_of(arrived(random.Random(0)), {}, recipe, warm=False)
        train_round(parts, recipe, TrainingCheckpoint(Path(folder) / "round"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"Peak memory {peak:.2f} GiB: {len(parts.train)} pairs learnt, {len(parts.held_out)} kept apart.")


def of_distilberts_shape(folder: Path) -> Path:
    return tiny_base(folder, "distilbert", DISTILBERT, vocabulary=30_522)


if __name__ == "__main__":
    main()
