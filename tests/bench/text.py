"""``python -m tests.bench.text``: the online text learner beside batch character TF-IDF, in one run."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import orjson
from numpy.typing import NDArray

from streams.messages.codec import encode
from streams.messages.contracts import PreferencePair
from streams.messages.files import read_text_pairs
from trainers.lora.baselines import TFIDF, baselines
from trainers.lora.texts import TextPair
from trainers.pairs.weights import task_of_text
from trainers.text.reward import NgramReward
from trainers.text.train import train_on_texts
from tribrain.shell import options

ONLINE = "one online pass"
_SET = "hh_harmless.dev.jsonl"
_WARM_UP = 20


@click.command(epilog="Example: TRIBRAIN_DATA=data python -m tests.bench.text --seeds 3")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Shuffles of the tasks."
)
@click.option("--folds", type=click.IntRange(min=2), default=5, show_default=True, help="Parts, by task.")
@options.as_json
def bench(seeds: int, folds: int, as_json: bool) -> None:
    """Accuracy, log loss, pairs learnt per CPU second and bytes of the snapshot, cross-validated by task.

    The pairs are those of TRIBRAIN_DATA/text. Both models learn on the same parts, in a random order of the
    tasks, and are measured on the same rest. The figures of TF-IDF are of its whole fit, texts included.
    """
    data = os.environ.get("TRIBRAIN_DATA")
    if not data:
        raise click.ClickException("set TRIBRAIN_DATA to the folder of real preferences")
    pairs = [p for p in read_text_pairs(Path(data) / "text" / _SET) if isinstance(p, PreferencePair)]
    train_on_texts(pairs[:_WARM_UP])  # compiling is no part of the figures
    rows: dict[str, list[list[float]]] = {ONLINE: [], TFIDF: []}
    for seed in range(seeds):
        for train, holdout in _folds(pairs, folds, seed):
            rows[ONLINE].append(_online(train, holdout))
            rows[TFIDF].append(_tfidf(train, holdout))
    summary = {name: _summary(np.array(of)) for name, of in rows.items()}
    difference = np.array(rows[ONLINE])[:, :2] - np.array(rows[TFIDF])[:, :2]
    if as_json:
        click.echo(orjson.dumps({"pairs": len(pairs), "models": summary}))
        return
    click.echo(f"{len(pairs)} pairs, {folds} folds by task, {seeds} shuffles")
    for name, of in summary.items():
        size = f"{of['bytes']:,.0f} bytes" if of["bytes"] else "no snapshot"
        click.echo(
            f"  {name:18} accuracy {of['accuracy']:.4f} (SD of folds {of['accuracy_sd']:.4f}), log loss "
            f"{of['log_loss']:.4f}, {of['pairs_per_cpu_s']:,.0f} pairs per CPU second, {size}"
        )
    accuracy, log_loss = difference.mean(axis=0)
    click.echo(f"  online minus TF-IDF: accuracy {accuracy:+.4f}, log loss {log_loss:+.4f}")


def _folds(
    pairs: Sequence[PreferencePair], folds: int, seed: int
) -> list[tuple[list[PreferencePair], list[PreferencePair]]]:
    rng = np.random.default_rng(seed)
    tasks = sorted({task_of_text(pair) for pair in pairs})
    part = dict(zip(tasks, rng.permutation(len(tasks)) % folds, strict=True))
    shuffled = [pairs[i] for i in rng.permutation(len(pairs))]
    return [
        (
            [pair for pair in shuffled if part[task_of_text(pair)] != fold],
            [pair for pair in shuffled if part[task_of_text(pair)] == fold],
        )
        for fold in range(folds)
    ]


def _online(train: Sequence[PreferencePair], holdout: Sequence[PreferencePair]) -> list[float]:
    started = time.process_time()
    snapshot = train_on_texts(train)
    spent = time.process_time() - started
    goals, chosen, rejected = zip(
        *((p.goal_instruction, p.chosen_prompt, p.rejected_prompt) for p in holdout), strict=True
    )
    p = NgramReward(snapshot).prob_prefer(goals, chosen, rejected)
    return [*_scores(p), len(train) / spent, len(encode(snapshot))]


def _tfidf(train: Sequence[PreferencePair], holdout: Sequence[PreferencePair]) -> list[float]:
    known, unseen = (
        [
            TextPair(task_of_text(p), p.goal_instruction, p.chosen_prompt, p.rejected_prompt, "critic", 1.0)
            for p in part
        ]
        for part in (train, holdout)
    )
    started = time.process_time()
    p = baselines(known, unseen)[TFIDF]
    return [*_scores(p), len(train) / (time.process_time() - started), 0.0]


def _scores(p: NDArray[np.float64]) -> tuple[float, float]:
    return float(np.mean((p > 0.5) + 0.5 * (p == 0.5))), float(-np.log(p).mean())


def _summary(rows: NDArray[np.float64]) -> dict[str, Any]:
    accuracy, log_loss, speed, size = rows.mean(axis=0)
    return {
        "accuracy": float(accuracy),
        "accuracy_sd": float(rows[:, 0].std()),
        "log_loss": float(log_loss),
        "pairs_per_cpu_s": float(speed),
        "bytes": float(size),
    }


if __name__ == "__main__":
    bench()
