"""How well the learners learn: ``python -m tests.bench.learning`` writes ``trainers/RESULTS.md``.

Figures on human preferences need ``TRIBRAIN_DATA``, the folder with ``preferences/NAME.dev.pairs.jsonl`` and
``….candidates.jsonl``. Everything is seeded: the same data and versions give the same table.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from inspect import cleandoc
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from rich.console import Console

from streams.files import write_atomically
from streams.messages.contracts import PairsEnd, PreferencePair
from trainers.bradley_terry.estimators import LEARNERS, LearnerName, PairEstimator, Recipe
from trainers.bradley_terry.laplace import Laplace
from trainers.bradley_terry.normalise import CriticRanges
from trainers.bradley_terry.vocabulary import Vocabulary
from trainers.compiled import Array
from trainers.evidence.evaluate import BATCH, MEAN, Ints, PairTable, figures, measure, tables
from trainers.online.learner import OnlineLearner
from trainers.pairs.weights import weight_of_each

OUT = Path(__file__).parents[2] / "trainers" / "RESULTS.md"
SETS = ("tvge_video", "tifa160_image", "viescore_image", "summeval_text", "wmt19_text")
SPLITS, _ORDERS = 4, 8
_HELD_OUT = 0.25
_BOOTSTRAPS = 200
_STREAM, _FEATURES, _SEEDS = 20_000, 12, 10
_UNIT = 0.25
_NULL_RUNS, _NULL_TASKS, _PAIRS_PER_TASK = 200, 150, 5
_SPEED_PAIRS = 300_000


def preferences(folder: Path, name: str, *, ties: bool = False) -> list[PreferencePair]:
    """The pairs of a data set, ties only where they are asked for, with critics' scores and nothing else."""
    return [
        replace(pair, context={}, chosen_context={}, rejected_context={})
        for pair in with_contexts(folder, name)
        if ties or not pair.tie
    ]


def with_contexts(folder: Path, name: str) -> list[PreferencePair]:
    """With the domain of the task, and who made each side."""
    critics = {}
    for line in (folder / f"{name}.dev.candidates.jsonl").read_text().splitlines():
        one = json.loads(line)
        critics[one["task_id"], one["candidate_id"]] = one["critic_scores"]
    pairs = map(json.loads, (folder / f"{name}.dev.pairs.jsonl").read_text().splitlines())
    return [
        PreferencePair(
            task_id=one["task_id"],
            label_source="human",
            tie=one["tie"],
            context={"domain": one["domain"]},
            chosen_critics=critics[one["task_id"], one["chosen"]],
            rejected_critics=critics[one["task_id"], one["rejected"]],
            chosen_context={"generator": one["chosen"]},
            rejected_context={"generator": one["rejected"]},
        )
        for one in pairs
    ]


def split(pairs: list[PreferencePair], seed: int) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """Three quarters of the tasks, and the rest."""
    tasks = sorted({pair.task_id for pair in pairs})
    held_out = set(np.random.default_rng(seed).permutation(tasks)[: round(_HELD_OUT * len(tasks))])
    known = [pair for pair in pairs if pair.task_id not in held_out]
    return known, [pair for pair in pairs if pair.task_id in held_out]


def against_batch(folder: Path) -> Iterator[str]:
    """Held-out log loss of one online pass minus that of the batch optimum."""
    yield "| set | learner | Δ log loss | SD over task orders | accuracy | ECE | after 100 pairs |"
    yield "|---|---|---|---|---|---|---|"
    worst: dict[str, list[float]] = {name: [] for name in LEARNERS}
    early: dict[str, list[float]] = {name: [] for name in LEARNERS}
    for data in SETS:
        parts = [tables(*split(preferences(folder, data), seed)) for seed in range(SPLITS)]
        batch = [_figures(BATCH, *part) for part in parts]
        for name in LEARNERS:
            of = [_figures(name, *part) for part in parts]
            delta = float(np.mean([a["log_loss"] - b["log_loss"] for a, b in zip(of, batch, strict=True)]))
            mean = {key: float(np.mean([one[key] for one in of])) for key in of[0]}
            worst[name].append(delta)
            early[name].append(mean["log_loss_after_100"])
            yield (
                f"| {data} | {name} | {delta:+.4f} | {mean['log_loss_sd_over_orders']:.4f} | "
                f"{mean['accuracy']:.3f} | {mean['ece']:.3f} | {mean['log_loss_after_100']:.3f} |"
            )
        yield f"| {data} | batch optimum | | | {np.mean([b['accuracy'] for b in batch]):.3f} | | |"
    for name in LEARNERS:
        yield (
            f"| **worst / mean** | **{name}** | **{max(worst[name]):+.4f}** | | | | "
            f"**{np.mean(early[name]):.4f}** |"
        )


def contexts(folder: Path) -> Iterator[str]:
    """Held-out log loss and accuracy of one pass of laplace: with critics alone, with what else is known."""
    yield "| set | known beside the critics | log loss | accuracy |"
    yield "|---|---|---|---|"
    for data in SETS:
        pairs = [pair for pair in with_contexts(folder, data) if not pair.tie]
        kinds: dict[str, Callable[[PreferencePair], PreferencePair]] = {
            "nothing": lambda pair: replace(pair, context={}, chosen_context={}, rejected_context={})
        }
        if len({pair.context["domain"] for pair in pairs}) > 1:
            kinds["the domain of the task"] = lambda pair: replace(
                pair, chosen_context={}, rejected_context={}
            )
        if len({pair.chosen_context["generator"] for pair in pairs}) < 50:
            kinds["who made each side"] = lambda pair: replace(pair, context={})
        for kind, known in kinds.items():
            parts = [tables(*split([known(pair) for pair in pairs], seed)) for seed in range(SPLITS)]
            of = [_figures("laplace", *part) for part in parts]
            yield (
                f"| {data} | {kind} | {np.mean([one['log_loss'] for one in of]):.4f} "
                f"| {np.mean([one['accuracy'] for one in of]):.3f} |"
            )


def three_answers(folder: Path) -> Iterator[str]:
    """Held-out log loss of first, second or neither, of the sets that have ties; the learners learn them.

    To the others ν is fitted.
    """
    compared = [*LEARNERS, BATCH, MEAN]
    yield f"| set | ties | {' | '.join(compared)} |"
    yield f"|---|---|{'---|' * len(compared)}"
    for data in SETS:
        pairs = preferences(folder, data, ties=True)
        parts = [tables(*split(pairs, seed)) for seed in range(SPLITS)]
        if not all(holdout.ties.any() for _, holdout in parts):
            continue
        losses = []
        for name in compared:
            of = []
            for train, holdout in parts:
                *_, last = measure(name, train, holdout, orders=_ORDERS)
                of.append(figures(last, holdout.tasks, holdout.ties)["log_loss_with_ties"])
            losses.append(f"{np.mean(of):.4f}")
        share = np.mean([pair.tie for pair in pairs])
        yield f"| {data} | {share:.0%} | {' | '.join(losses)} |"


def _figures(name: str, train: PairTable, holdout: PairTable) -> dict[str, float]:
    *_, last = measure(name, train, holdout, orders=_ORDERS)
    found = figures(last, holdout.tasks)
    return {
        key: found[key] or 0.0
        for key in ("log_loss", "accuracy", "ece", "log_loss_sd_over_orders", "log_loss_after_100")
    }


def honest_uncertainty(folder: Path) -> Iterator[str]:
    """Posterior SD of laplace over its SD when the tasks are drawn again."""
    yield "| set | tasks | median over the critics |"
    yield "|---|---|---|"
    for data in SETS:
        pairs = preferences(folder, data)
        ranges = CriticRanges.of_pairs(pairs)
        table = PairTable.of(pairs, ranges, Vocabulary(ranges.ends))
        rows = [np.flatnonzero(table.tasks == task) for task in range(table.n_tasks)]
        w = [np.full(len(of_task), weight_of_each(len(of_task))) for of_task in rows]

        def fitted(tasks: Ints) -> Laplace:
            model = Laplace(drift_delta=0.0).with_features(table.features)  # noqa: B023
            order = np.concatenate([rows[task] for task in tasks])  # noqa: B023
            model.learn_many_differences(table.X[order], np.concatenate([w[task] for task in tasks]))  # noqa: B023
            return model

        rng = np.random.default_rng(0)
        posterior = np.sqrt(np.diag(fitted(rng.permutation(table.n_tasks)).covariance))
        drawn = [
            list(fitted(rng.integers(0, table.n_tasks, table.n_tasks)).weights.values())
            for _ in range(_BOOTSTRAPS)
        ]
        ratio = posterior / np.std(drawn, axis=0, ddof=1)
        yield f"| {data} | {table.n_tasks} | {np.median(ratio):.2f} |"


def drifting(kind: str, seed: int) -> tuple[Array, Array]:
    """Differences in favour of what was preferred, and the true probability of that."""
    rng = np.random.default_rng(seed)
    X = rng.normal(0, _UNIT, (_STREAM, _FEATURES))
    before, after = rng.normal(0.12, 0.35, (2, _FEATURES))
    time_ = np.arange(_STREAM) / _STREAM
    share = {"none": 0.0 * time_, "abrupt": (time_ >= 0.5) * 1.0, "gradual": time_}[kind]
    weights = before + share[:, None] * (after - before)
    p = 1 / (1 + np.exp(-(X / _UNIT * weights).sum(axis=1)))
    prefers = rng.random(_STREAM) < p
    return np.where(prefers[:, None], X, -X), np.where(prefers, p, 1 - p)


def drift() -> Iterator[str]:
    """Test-then-train log loss over that of the true probabilities, one setting for all."""
    yield "| drift | learner | excess log loss | alarms in all streams |"
    yield "|---|---|---|---|"
    names = [f"c{j}" for j in range(_FEATURES)]
    for kind in ("none", "abrupt", "gradual"):
        streams = [drifting(kind, seed) for seed in range(_SEEDS)]
        for learner in LEARNERS:
            excess, alarms = [], 0
            for X, truth in streams:
                model = Recipe(learner=learner).new().with_features(names)
                p = model.learn_many_differences(X, np.ones(len(X)))
                excess.append(np.mean(np.log(truth) - np.log(p)))
                alarms += model.alarms
            yield f"| {kind} | {learner} | {np.mean(excess):.4f} | {alarms} |"


def null_tasks(seed: int, noise: bool) -> Iterator[PreferencePair | PairsEnd]:
    """Outcomes that follow the critics' mean, or nothing at all: no model can beat the mean."""
    rng = np.random.default_rng(seed)
    names = ("a.x", "b.y", "c.z", "d.w")
    for task in range(_NULL_TASKS):
        run = f"run-{task}"
        for number in range(_PAIRS_PER_TASK):
            a, b = rng.uniform(0, 1, (2, 4))
            p = 0.5 if noise else 1 / (1 + np.exp(-8 * (a.mean() - b.mean())))
            chosen, rejected = (a, b) if rng.random() < p else (b, a)
            yield PreferencePair(
                pair_id=f"{task}.{number}", run_id=run, task_id=run, label_source="outcome",
                chosen_critics=dict(zip(names, map(float, chosen), strict=True)),
                rejected_critics=dict(zip(names, map(float, rejected), strict=True)),
            )  # fmt: skip
        yield PairsEnd(run_id=run, task_id=run, n_pairs=_PAIRS_PER_TASK, n_candidates=4)


def gate() -> Iterator[str]:
    """Runs in which the gate was open at any moment although the model is no better than the mean."""
    yield "| learner | null runs | opened in error |"
    yield "|---|---|---|"
    for learner in LEARNERS:
        opened = sum(_ever_open(learner, seed) for seed in range(_NULL_RUNS))
        yield f"| {learner} | {_NULL_RUNS} | {opened} ({opened / _NULL_RUNS:.1%}) |"


def _ever_open(learner: LearnerName, seed: int) -> bool:
    model = OnlineLearner(recipe=Recipe(learner=learner))
    model.on_messages(list(null_tasks(seed, noise=seed % 2 == 0)))
    return model.is_active or model.snapshot().metrics["gate"]["closed_times"] > 0


def speed() -> Iterator[str]:
    """Pairs a second at twelve critics, on one core."""
    X = np.random.default_rng(0).normal(0, _UNIT, (_SPEED_PAIRS, _FEATURES))
    names = [f"c{j}" for j in range(_FEATURES)]
    rows = [dict(zip(names, map(float, row), strict=True)) for row in X[:5_000]]
    yield "| what | pairs/s |"
    yield "|---|---|"
    for learner in LEARNERS:
        new = Recipe(learner=learner).new
        new().with_features(names).learn_many_differences(X[:64], np.ones(64))
        model = new().with_features(names)
        taken = _seconds(lambda: model.learn_many_differences(X, np.ones(len(X))))  # noqa: B023
        yield f"| {learner}, arrays | {len(X) / taken:,.0f} |"
    for learner in LEARNERS:
        one = Recipe(learner=learner).new()
        taken = _seconds(lambda: _learn_all(one, rows))  # noqa: B023
        yield f"| {learner}, dicts | {len(rows) / taken:,.0f} |"


def _learn_all(estimator: PairEstimator, rows: Sequence[Mapping[str, float]]) -> None:
    for row in rows:
        estimator.learn_one(row, True)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    console = Console(stderr=True)
    folder = Path(os.environ["TRIBRAIN_DATA"]) / "preferences" if "TRIBRAIN_DATA" in os.environ else None
    sections: list[tuple[str, Callable[[], Iterator[str]]]] = [
        ("Drift", drift), ("The gate", gate), ("Speed", speed)
    ]  # fmt: skip
    if folder is None:
        console.print("TRIBRAIN_DATA is not set: without figures on human preferences")
    else:
        sections[:0] = [
            ("One online pass against the batch optimum", partial(against_batch, folder)),
            ("Three answers", partial(three_answers, folder)),
            ("Posterior SD over cluster-bootstrap SD", partial(honest_uncertainty, folder)),
            ("What contexts are worth", partial(contexts, folder)),
        ]
    lines = [
        "# How well the learners learn", "",
        "Written by `make results`; every figure is what that command printed.", "",
        f"Python {platform.python_version()}, numpy {version('numpy')}, river {version('river')}, "
        f"scikit-learn {version('scikit-learn')}, numba {version('numba')}.", "",
    ]  # fmt: skip
    for title, rows in sections:
        doc = rows.func.__doc__ if isinstance(rows, partial) else rows.__doc__
        with console.status(title):
            lines += [f"## {title}", "", cleandoc(doc or ""), "", *rows(), ""]
        console.print(f"{title}: done")
    write_atomically(OUT, "\n".join(lines).rstrip().encode() + b"\n")
    console.print(f"written to {OUT.name}")


if __name__ == "__main__":
    main()
