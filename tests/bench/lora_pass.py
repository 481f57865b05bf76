"""One measurement of the LoRA benchmark in a process of its own, so that none warms up another.

``python -m tests.bench.lora_pass JOB JSON`` prints JSON. On one thread.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from streams.messages.contracts import PreferencePair

if TYPE_CHECKING:
    from trainers.lora.prepare import Prepared
    from trainers.lora.settings import LoraSettings
    from trainers.lora.tokens import Tokens

_TOKENS = range(50, 71)
_REWRITES, _TIMES = 8, 20


def ours(pairs: str, base: str, n: int, layers: str, pooling: str = "auto") -> dict[str, float]:
    """CPU seconds of learning the first ``n`` training pairs once, and the peak memory of the process."""
    from trainers.lora.architectures import targets_of
    from trainers.lora.checkpoint import TrainingCheckpoint
    from trainers.lora.low_rank import with_peft
    from trainers.lora.model import build
    from trainers.lora.processes import join_processes
    from trainers.lora.training import Trainer

    prepared = _prepared(pairs, base, n, layers=layers, pooling=pooling, evaluations=1)
    settings = prepared.settings
    built = build(prepared.base, prepared.pooling, settings.seed)
    model = with_peft(
        built,
        rank=settings.rank,
        alpha=settings.rank * settings.scale,
        targets=targets_of(prepared.base.model_type),
        layers=settings.layer_numbers(built.n_layers),
    )
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        trainer = Trainer(model, built, prepared.encoded_train, prepared.encoded_held_out, settings)
        trainer.run(join_processes("cpu", (), out), TrainingCheckpoint(out), lambda step: None)
    return {"cpu_seconds": trainer.progress.cpu_seconds, "peak_bytes": _peak()}


def trl(pairs: str, base: str, n: int, layers: str, grouped: bool) -> dict[str, float]:
    """The same of TRL's RewardTrainer."""
    from tests.bench.lora_trl import train_with_trl

    _, seconds = train_with_trl(_prepared(pairs, base, n, layers=layers), grouped=grouped)
    return {"cpu_seconds": seconds, "peak_bytes": _peak()}


def train(pairs: str, base: str, n: int | None, seed: int, out: str) -> dict[str, Any]:
    """The default recipe with everything that ``train-lora-rm`` does; gives its ``reward.json``."""
    from trainers.lora import job
    from trainers.lora.checkpoint import TrainingCheckpoint
    from trainers.lora.processes import join_processes

    accelerator = join_processes("cpu", (), Path(out))
    prepared = _prepared(pairs, base, n, seed=seed, evaluations=1)
    return job.train(prepared, "bench", TrainingCheckpoint(Path(out)), accelerator, _say, lambda reward: b"")


def accuracy_of_trl(pairs: str, base: str, n: int | None, seed: int) -> dict[str, float]:
    """Held-out accuracy and log loss of TRL with the same recipe, the same layers and the same pairs."""
    import numpy as np

    from tests.bench.lora_trl import rewards_of, train_with_trl

    prepared = _prepared(pairs, base, n, seed=seed)
    model, _ = train_with_trl(prepared, grouped=True)
    held_out = prepared.encoded_held_out
    found = rewards_of(model, [*held_out.chosen, *held_out.rejected])
    chosen, rejected = np.split(found, 2)
    loss = np.logaddexp(0.0, rejected - chosen)
    return {"accuracy": float(np.mean(chosen > rejected)), "log_loss": float(np.mean(loss))}


def first_score(folder: str) -> dict[str, float]:
    """The whole process is what is timed."""
    from trainers.lora.scorer import open_reward

    return {"reward": float(open_reward(Path(folder)).rewards([("goal", "a first text")])[0])}


def bare_import() -> dict[str, float]:
    """What nobody who uses them can avoid."""
    import torch  # noqa: F401
    import transformers  # noqa: F401

    return {}


def in_use(pairs: str, folder: str) -> dict[str, float]:
    """Median milliseconds of scoring eight rewrites of one goal, as a run does before it generates, and of
    exchanging the adapter with reading its file."""
    import torch

    from trainers.lora.adapter import read_adapter
    from trainers.lora.base_model import find_base
    from trainers.lora.scorer import open_reward
    from trainers.lora.tokens import Tokens, load_tokenizer

    torch.set_num_threads(1)
    adapter = read_adapter(Path(folder))
    reward = open_reward(Path(folder))
    tokens = Tokens(load_tokenizer(find_base(reward.reward.base_model.name)), reward.reward.length)
    known = _read(pairs)
    goal = next(one.goal_instruction for one in known if _fits(tokens, one.goal_instruction, one))
    texts = [one.chosen_prompt for one in known if _fits(tokens, goal, one)][:_REWRITES]
    lengths = [len(one.ids) for one in tokens.encode([(goal, text) for text in texts])]
    return {
        "texts": len(texts),
        "tokens": sum(lengths) / len(texts),
        "score_ms": _median_ms(lambda: reward.rewards_of(adapter, goal, texts)),
        "swap_ms": _median_ms(lambda: reward.swap(read_adapter(Path(folder)))),
    }


def _fits(tokens: Tokens, goal: str, pair: PreferencePair) -> bool:
    return len(tokens.encode([(goal, pair.chosen_prompt)])[0].ids) in _TOKENS


def _median_ms(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(_TIMES + 1):
        started = time.perf_counter()
        work()
        taken.append(1e3 * (time.perf_counter() - started))
    return sorted(taken[1:])[_TIMES // 2]


def _prepared(pairs: str, base: str, n: int | None, **recipe: Any) -> Prepared:
    """With the first ``n`` training pairs; None for all."""
    import torch

    from trainers.lora.prepare import prepare
    from trainers.lora.settings import LoraSettings
    from trainers.lora.training import EncodedPairs

    torch.set_num_threads(1)
    settings: LoraSettings = replace(LoraSettings(), **recipe)
    prepared = prepare(_read(pairs), base, settings)
    whole = prepared.encoded_train
    part = EncodedPairs(whole.chosen[:n], whole.rejected[:n], whole.weights[:n])
    return replace(prepared, train=prepared.train[:n], encoded_train=part)


def _read(pairs: str) -> list[PreferencePair]:
    from streams.messages.files import read_text_pairs

    return [one for one in read_text_pairs(Path(pairs)) if isinstance(one, PreferencePair)]


def _say(step: Any) -> None:
    if step.step % 10 == 0 or step.step == step.steps:
        print(f"step {step.step} of {step.steps}, loss {step.loss:.3f}", file=sys.stderr)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


JOBS: Mapping[str, Callable[..., Mapping[str, Any]]] = {
    job.__name__: job for job in (ours, trl, train, accuracy_of_trl, first_score, bare_import, in_use)
}

if __name__ == "__main__":
    print(orjson.dumps(JOBS[sys.argv[1]](**orjson.loads(sys.argv[2]))).decode())
