"""``tribrain reward evaluate``: how good learners, or a finished model, are on held-out pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import click
import numpy as np
import orjson
from cloup import option_group
from msgspec.structs import replace
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

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
from trainers.extras import require_extra
from trainers.pairs.judgements import dimension_of
from trainers.pairs.weights import task_of, task_of_text
from trainers.pairs.withdrawn import standing
from tribrain.rewards.evaluation_table import Counts, print_table, warn
from tribrain.rewards.pair_files import read_current
from tribrain.rewards.result_plots import reliability_plot
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import PATH, Integer
from tribrain.shell.output import progress, write_output

_BY_DEFAULT = ("laplace", "river-logistic", BATCH, MEAN, SINGLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """The values of the command's options, by their names."""

    pairs: Path | None
    reward: Path | None
    base_model: str | None
    holdout: Path
    learners: tuple[str, ...]
    orders: int
    seed: int
    dimension: str
    plot: Path | None
    as_json: bool


@click.command(
    cls=Command,
    epilog="Example: tribrain reward evaluate --pairs runs/a/pairs.jsonl "
    "--holdout runs/b/pairs.jsonl --orders 4",
)
@option_group(
    "What to measure",
    click.option("--pairs", type=PATH, metavar="FILE", help="Preference pairs to learn from."),
    options.reward_file(
        "Reward model to measure, in place of --pairs: a bt_reward.json, a text_reward.json or the "
        "folder of a LoRA text reward model.",
        metavar="FILE|FOLDER",
        old=("--model",),
    ),
    click.option(
        "--base-model",
        metavar="NAME|FOLDER",
        show_default="where it was in training",
        help="Base model of a LoRA text reward model.",
    ),
    click.option(
        "--holdout", required=True, type=PATH, metavar="FILE", help="Held-out pairs, of other tasks."
    ),
    options.dimension,
)
@option_group(
    "Learners",
    click.option(
        "--learner",
        "learners",
        multiple=True,
        type=click.Choice(COMPARED),
        show_default="all",
        help="Learning algorithm to measure (repeatable).",
    ),
    click.option(
        "--orders",
        type=Integer(min=1),
        default=8,
        help="Random orders of the tasks for each online learner.",
    ),
    options.seed("Random seed of orders and folds."),
)
@option_group("Output", options.plot, options.as_json)
def evaluate_rm(**given: Any) -> None:
    """Measure accuracy, log loss and calibration error on held-out pairs, with 95% intervals.

    Online learners see each pair once; batch is scikit-learn's optimum over all pairs (L2 chosen by
    cross-validation over tasks). With --pairs, each critic's 1st to 99th percentile in the training pairs is
    mapped to [0, 1]. log_loss_after_100 is after 100 random pairs. Intervals are from a bootstrap over tasks,
    so one task has none. Ties count only in "with ties", the log loss of three answers. On labels that are
    the critics' own scores, the figures say how well a model imitates its critics.
    """
    chosen = EvaluationOptions(**given)
    if (chosen.pairs is None) == (chosen.reward is None):
        raise BadInput("give either --pairs to learn from or --reward to measure")
    if chosen.reward is not None:
        if chosen.learners:
            raise BadInput("--learner is for --pairs; with --reward nothing is learnt: leave it out")
        unseen, measured, n_train = _of_model(
            chosen.reward, chosen.base_model, chosen.holdout, chosen.dimension
        )
        n_shared = None
    else:
        assert chosen.pairs is not None
        known, unseen = _pairs(chosen.pairs, chosen.dimension), _pairs(chosen.holdout, chosen.dimension)
        n_train = len(known)
        n_shared = len({task_of(pair) for pair in known} & {task_of(pair) for pair in unseen})
        train, of_holdout = tables(known, unseen)
        measured = _measure(chosen.learners or _BY_DEFAULT, train, of_holdout, chosen.orders, chosen.seed)
    tasks, ties = task_numbers(unseen), ties_of(unseen)
    results = {name: figures(one, tasks, ties, seed=chosen.seed) for name, one in measured.items()}
    if chosen.plot is not None:
        curves = {name: reliability(one, ties) for name, one in measured.items()}
        write_output(chosen.plot, reliability_plot(curves).png)
    counts = Counts(
        n_train=n_train,
        n_test=len(unseen),
        n_ties=int(ties.sum()),
        n_critic_labels=sum(pair.label_source == "critic" for pair in unseen),
        n_shared_tasks=n_shared,
    )
    if chosen.as_json:
        click.echo(orjson.dumps({**asdict(counts), "learners": results}))
    else:
        print_table(results, counts)
    warn(results, counts)


def _of_model(
    model: Path, base: str | None, holdout: Path, dimension: str
) -> tuple[list[PreferencePair], dict[str, Measured], int]:
    """The held-out pairs, the model's predictions, and how many pairs it has learnt. Raises BadInput."""
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
        raise BadInput(
            f"{model}: has no reward.json; expected a folder that tribrain reward train-lora has written"
        )
    require_extra("lora")

    from trainers.lora.scorer import open_reward

    of_texts = open_reward(model, base=base)
    unseen, p = _predicted(of_texts, holdout)
    return unseen, {of_texts.reward.model: Measured(p[None, :], None)}, of_texts.reward.pairs.train


class _RewardOfTexts(Protocol):
    def prob_prefer(
        self, goals: Sequence[str], chosen: Sequence[str], rejected: Sequence[str]
    ) -> NDArray[np.float64]: ...


def _predicted(reward: _RewardOfTexts, holdout: Path) -> tuple[list[PreferencePair], NDArray[np.float64]]:
    """The held-out pairs, each with its task, and P(chosen ≻ rejected) (n,) of each. Raises BadInput."""
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
    """Like ``_of_model``, for a model that ``serve text`` or ``reward train-text`` has made."""
    from trainers.text.reward import NgramReward

    reward = NgramReward(snapshot)
    unseen, p = _predicted(reward, holdout)
    return unseen, {snapshot.model: Measured(p[None, :], None)}, sum(snapshot.labels.values())


def _pairs(
    path: Path, dimension: str = "", read: Callable[[Path], list[PairMessage]] = read_pairs
) -> list[PreferencePair]:
    """The file's pairs on the dimension, each with a task: its own, or else its run.

    Raises BadInput.
    """
    messages = standing(read_current([path], read))
    of_any = [message for message in messages if isinstance(message, PreferencePair)]
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
    # A pair without a task gets its run as the task.
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
