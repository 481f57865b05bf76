"""``tribrain evaluate-rm``: how good learners, or a finished model, are on pairs kept apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import click
import numpy as np
import orjson
from msgspec.structs import replace
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from streams.errors import BadInput
from streams.messages.contracts import OVERALL, PairMessage, PreferencePair, RewardSnapshot, TextSnapshot
from streams.messages.dimensions import dimension_called
from streams.messages.files import read_pairs, read_reward, read_text_pairs
from trainers.bradley_terry.reward import reward_on
from trainers.evidence.evaluate import (
    BATCH,
    COMPARED,
    MEAN,
    SINGLE,
    Measured,
    PairTable,
    figures,
    measure,
    measure_snapshot,
    reliability,
    tables,
    task_numbers,
    ties_of,
)
from trainers.lora.extra import require_extra
from trainers.pairs.judgements import dimension_of
from trainers.pairs.weights import task_of, task_of_text
from trainers.pairs.withdrawn import standing
from tribrain.rewards.result_plots import reliability_plot
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import PATH
from tribrain.shell.output import progress, write_output

_BY_DEFAULT = ("laplace", "river-logistic", BATCH, MEAN, SINGLE)


@click.command(
    cls=Command,
    epilog="Example: tribrain reward evaluate --pairs runs/a/pairs.jsonl "
    "--holdout runs/b/pairs.jsonl --orders 4",
)
@click.option("--pairs", type=PATH, help="Pairs to learn from.")
@click.option(
    "--model",
    type=PATH,
    help="A bt_reward.json, a text_reward.json, or the folder of a LoRA text reward model, to measure rather "
    "than learning.",
)
@click.option(
    "--base-model",
    metavar="NAME|FOLDER",
    help="Where a text reward model's base is, if it is not where it was when trained.",
)
@click.option("--holdout", required=True, type=PATH, help="Pairs to be measured on, of other tasks.")
@click.option(
    "--learner",
    "learners",
    multiple=True,
    type=click.Choice(COMPARED),
    help="Measure only these (repeatable); by default all.",
)
@click.option(
    "--orders",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Random orders of the tasks that each online learner learns in.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of orders and folds.")
@options.dimension
@options.plot
@options.as_json
def evaluate_rm(
    pairs: Path | None,
    model: Path | None,
    base_model: str | None,
    holdout: Path,
    learners: tuple[str, ...],
    orders: int,
    seed: int,
    dimension: str,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Accuracy, log loss and calibration error on pairs that were not learnt, with intervals.

    Online learners see each pair once; batch is the optimum that scikit-learn finds with all of them at hand
    (L2 chosen by cross-validation over tasks). With --pairs, each critic's 1st to 99th percentile of the
    training pairs is mapped to [0, 1]. log_loss_after_100 is after a hundred pairs drawn at random.
    Intervals are 95% ones of a bootstrap over tasks; one task has none. Online learners learn ties, too: with
    ties is the log loss of three answers. All other figures are of pairs that are no ties.
    """
    if (pairs is None) == (model is None):
        raise BadInput("give either --pairs to learn from or --model to measure")
    if model is not None:
        if learners:
            raise BadInput("--learner says who learns from --pairs; with --model nothing is learnt")
        unseen, measured, n_train = _of_model(model, base_model, holdout, dimension)
        n_shared = None
    else:
        assert pairs is not None
        known, unseen = _pairs(pairs, dimension), _pairs(holdout, dimension)
        n_train = len(known)
        n_shared = len({task_of(pair) for pair in known} & {task_of(pair) for pair in unseen})
        train, of_holdout = tables(known, unseen)
        measured = _measure(learners or _BY_DEFAULT, train, of_holdout, orders, seed)
    tasks, ties = task_numbers(unseen), ties_of(unseen)
    results = {name: figures(one, tasks, ties, seed=seed) for name, one in measured.items()}
    if plot is not None:
        curves = {name: reliability(one, ties) for name, one in measured.items()}
        write_output(plot, reliability_plot(curves).png)
    if as_json:
        n_ties = int(ties.sum())
        counted = {"n_train": n_train, "n_test": len(unseen), "n_ties": n_ties, "n_shared_tasks": n_shared}
        click.echo(orjson.dumps({**counted, "learners": results}))
        return
    _say(results, n_train, len(unseen), int(ties.sum()), n_shared)


def _of_model(
    model: Path, base: str | None, holdout: Path, dimension: str
) -> tuple[list[PreferencePair], dict[str, Measured], int]:
    """The pairs kept apart, what the model predicts of them, and how many it has learnt. Raises BadInput."""
    snapshot = None if model.is_dir() else read_reward(model)
    if dimension and not isinstance(snapshot, RewardSnapshot):
        raise BadInput(
            f"{model}: a reward of texts is learnt of the whole; --dimension is for a bt_reward.json"
        )
    if snapshot is not None:
        if isinstance(snapshot, TextSnapshot):
            return _of_text_model(snapshot, holdout)
        unseen = _pairs(holdout, dimension)
        reward = reward_on(snapshot, dimension)
        return unseen, {snapshot.model: measure_snapshot(reward, unseen)}, sum(reward.labels.values())
    if not (model / "reward.json").is_file():
        raise BadInput(f"{model}: has no reward.json; expected a folder that train-lora-rm has written")
    require_extra()

    from trainers.lora.scorer import open_reward

    of_texts = open_reward(model, base=base)
    unseen, p = _predicted(of_texts, holdout)
    return unseen, {of_texts.reward.model: Measured(p[None, :], None)}, of_texts.reward.pairs.train


class _RewardOfTexts(Protocol):
    def prob_prefer(
        self, goals: Sequence[str], chosen: Sequence[str], rejected: Sequence[str]
    ) -> NDArray[np.float64]: ...


def _predicted(reward: _RewardOfTexts, holdout: Path) -> tuple[list[PreferencePair], NDArray[np.float64]]:
    """The pairs kept apart, each with its task, and P(chosen ≻ rejected) (n,) of them. Raises BadInput."""
    unseen = [
        replace(pair, run_id="", task_id=task_of_text(pair)) for pair in _pairs(holdout, read=read_text_pairs)
    ]
    p = reward.prob_prefer(
        [pair.goal_instruction for pair in unseen],
        [pair.chosen_prompt for pair in unseen],
        [pair.rejected_prompt for pair in unseen],
    )
    return unseen, p


def _of_text_model(
    snapshot: TextSnapshot, holdout: Path
) -> tuple[list[PreferencePair], dict[str, Measured], int]:
    """As ``_of_model``, of one that serve-text or train-text-rm has made."""
    from trainers.text.reward import NgramReward

    reward = NgramReward(snapshot)
    unseen, p = _predicted(reward, holdout)
    return unseen, {snapshot.model: Measured(p[None, :], None)}, sum(snapshot.labels.values())


def _pairs(
    path: Path, dimension: str = "", read: Callable[[Path], Sequence[PairMessage]] = read_pairs
) -> list[PreferencePair]:
    """Those on the dimension, with names of tasks that tell models and files apart left as they are.

    Raises BadInput.
    """
    of_any = [message for message in standing(read(path)) if isinstance(message, PreferencePair)]
    if not of_any:
        raise BadInput(f"{path}: holds no pairs; expected one a line")
    counts = Counter(dimension_of(pair) or OVERALL for pair in of_any)
    wanted = dimension_called(dimension) or OVERALL
    found = [pair for pair in of_any if (dimension_of(pair) or OVERALL) == wanted]
    others = ", ".join(f"{name} ({n})" for name, n in counts.items() if name != wanted)
    if not found:
        raise BadInput(f"{path}: none of its pairs is on {wanted!r}; give --dimension: {others}")
    if others:
        click.echo(f"{path}: pairs on {others} are left out; --dimension measures one of them", err=True)
    # A run is a task where the pairs say no other.
    return [replace(pair, task_id=pair.task_id or pair.run_id) for pair in found]


def _measure(
    learners: Sequence[str], train: PairTable, holdout: PairTable, orders: int, seed: int
) -> dict[str, Measured]:
    done = {}
    with progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    ) as bar:
        for name in dict.fromkeys(learners):
            task = bar.add_task(name, total=1 if name in (BATCH, MEAN, SINGLE) else orders)
            for one in measure(name, train, holdout, orders=orders, seed=seed):
                done[name] = one
                bar.advance(task)
    return done


def _say(
    results: dict[str, dict[str, Any]], n_train: int, n_test: int, n_ties: int, n_shared: int | None
) -> None:
    of_which = f" ({n_ties} of them ties)" if n_ties else ""
    table = Table(title=f"measured on {n_test} pairs{of_which}, after {n_train} learnt")
    with_ties = ("with ties",) if n_ties else ()
    for column in ("", "accuracy", "log loss [95%]", "ECE", "after 100", "SD of orders", *with_ties):
        table.add_column(column)
    for name, of in results.items():
        after = of["log_loss_after_100"]
        table.add_row(
            name,
            f"{of['accuracy']:.3f}",
            _with_interval(of["log_loss"], of["log_loss_ci95"]),
            f"{of['ece']:.3f}",
            _or_dash(after),
            "–" if after is None else f"{of['log_loss_sd_over_orders']:.4f}",
            *[_or_dash(of["log_loss_with_ties"]) for _ in with_ties],
        )
    Console().print(table)
    if any(of["log_loss_ci95"] is None for of in results.values()):
        click.echo("all pairs are of one task, which has no intervals", err=True)
    if n_shared:
        click.echo(f"tasks in both files: {n_shared}, so the figures flatter; keep tasks apart", err=True)


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _with_interval(value: float, interval: Sequence[float] | None) -> str:
    if interval is None:
        return f"{value:.3f}"
    low, high = np.round(interval, 3)
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"
