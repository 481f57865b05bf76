"""``tribrain reward train-lora``: trains a LoRA text reward model on preference pairs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import click
import orjson
from cloup import option_group
from rich.console import Console
from rich.table import Table

from streams.errors import BadInput, counted
from streams.messages.codec import ContractError
from streams.messages.contracts import LabelSource, PreferencePair
from streams.messages.files import read_text_pairs
from trainers.extras import require_extra
from trainers.lora.settings import LoraSettings, Pooling, Precision
from trainers.pairs.withdrawn import standing
from tribrain.rewards.pair_files import read_current
from tribrain.rewards.training_plot import training_plot
from tribrain.shell import lora_options, options
from tribrain.shell.command import Command
from tribrain.shell.option_types import FiniteFloat, Integer
from tribrain.shell.step_progress import steps_shown

if TYPE_CHECKING:
    from trainers.lora.training import TrainingStep

_TRACKERS = ("tensorboard", "mlflow", "wandb")
_DEFAULT = LoraSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraTrainingOptions:
    """The values of the command's options, by their names."""

    pairs: tuple[Path, ...]
    base_model: str
    out: Path
    sources: tuple[str, ...]
    model: str
    as_json: bool
    pooling: Pooling | Literal["auto"]
    rank: int
    alpha: float | None
    targets: str | None
    layers: str
    length: int
    lr: float
    epochs: int
    batch: int
    seed: int
    held_out: float
    evaluations: int
    patience: int | None
    checkpoint_every: int
    resume: bool
    trackers: tuple[str, ...]
    device: str
    precision: Precision
    threads: int | None

    @property
    def training(self) -> LoraSettings:
        return LoraSettings(
            pooling=self.pooling,
            rank=self.rank,
            alpha=self.alpha,
            targets=tuple(sorted({name.strip() for name in (self.targets or "").split(",") if name.strip()})),
            layers=self.layers,
            length=self.length,
            lr=self.lr,
            epochs=self.epochs,
            batch=self.batch,
            seed=self.seed,
            held_out=self.held_out,
            evaluations=self.evaluations,
            patience=self.patience,
            checkpoint_every=self.checkpoint_every,
            precision=self.precision,
            threads=self.threads or _cores(),
        )


@click.command(
    cls=Command,
    epilog="Example: tribrain reward train-lora --pairs runs/a/pairs.jsonl "
    "--base-model distilbert-base-uncased --out runs/lora_rm",
)
@option_group(
    "Data and output",
    options.pairs_files,
    options.out("Folder to write; it must not exist.", old=("--out-dir",)),
    click.option(
        "--label-source",
        "sources",
        multiple=True,
        type=click.Choice(get_args(LabelSource)),
        show_default="outcome and human, where there are any; else all",
        help="Learn only labels of this source (repeatable).",
    ),
    options.model,
    options.as_json,
)
@option_group(
    "Model",
    options.base_model,
    click.option(
        "--pooling",
        type=click.Choice(["auto", "candidate", "mean", "native"]),
        default="auto",
        help="How tokens become one score: mean over the candidate's tokens, which reads a goal once for all "
        "its candidates; mean over all tokens; or the architecture's own head, which Transformers and TRL "
        "load. auto is candidate where the architecture can, else mean.",
    ),
    lora_options.rank,
    click.option(
        "--alpha", type=FiniteFloat(min=0, min_open=True), show_default="twice the rank", help="LoRA alpha."
    ),
    click.option(
        "--targets",
        metavar="NAME[,NAME…]",
        show_default="all of a block",
        help="Linear layers to adapt, e.g. q_proj,v_proj.",
    ),
    lora_options.layers,
    lora_options.length,
)
@option_group(
    "Training",
    lora_options.lr,
    lora_options.epochs,
    lora_options.batch,
    options.seed("Random seed of split, initial weights and order."),
    click.option(
        "--held-out",
        type=FiniteFloat(min=0, max=1, min_open=True, max_open=True),
        default=_DEFAULT.held_out,
        help="Share of tasks held out for evaluation.",
    ),
    click.option(
        "--evaluations",
        type=Integer(min=1),
        default=_DEFAULT.evaluations,
        help="Number of evaluations on the held-out tasks.",
    ),
    click.option(
        "--patience",
        type=Integer(min=1),
        help="Stop after this many evaluations without a lower held-out log loss, and keep the best.",
    ),
    click.option(
        "--checkpoint-every",
        type=Integer(min=1),
        default=_DEFAULT.checkpoint_every,
        metavar="STEPS",
        help="Steps between checkpoints, in OUT.checkpoint.",
    ),
    click.option("--resume", is_flag=True, help="Continue from the checkpoint of an interrupted training."),
    click.option(
        "--report-to",
        "trackers",
        multiple=True,
        type=click.Choice(_TRACKERS),
        help="Also log loss and accuracy there (repeatable); TensorBoard's files go to OUT.logs.",
    ),
)
@option_group(
    "Hardware",
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        help="auto is cuda where there is one; only cpu gives the same bytes each time.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["fp32", "bf16"]),
        default="fp32",
        help="Number format; bf16 is faster on some processors and very slow on others.",
    ),
    click.option("--threads", type=Integer(min=1), show_default="all cores", help="Processor threads."),
)
def train_lora_rm(**given: Any) -> None:
    """Train a LoRA text reward model, which scores prompts for a goal.

    The loss is −log σ(r(chosen) − r(rejected)), weighted by pair and label source. On the same held-out tasks
    the model is compared with character TF-IDF, text length and chance. A pair needs goal_instruction,
    chosen_prompt and rejected_prompt. On one processor the same seed gives the same bytes, also after an
    interruption and --resume.

    Several processes can share each batch, on processors as well: accelerate launch --multi_gpu
    --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no -m tribrain.cli
    reward train-lora … --device cpu
    """
    chosen = LoraTrainingOptions(**given)
    settings = chosen.training
    # Not at the top: --help needs none of it.
    from trainers.lora.texts import select, split_by_task

    messages = _pairs(chosen.pairs)
    selected = select(messages, chosen.sources)
    train, held_out = split_by_task(selected.pairs, settings.held_out, settings.seed)
    require_extra("lora")
    if lacking := [name for name in chosen.trackers if find_spec(name) is None]:
        raise BadInput(f"--report-to {lacking[0]}: the package is not there; pip install {lacking[0]}")

    from trainers.lora import job
    from trainers.lora.checkpoint import TrainingCheckpoint
    from trainers.lora.prepare import prepare_parts
    from trainers.lora.processes import join_processes, reported

    checkpoint = TrainingCheckpoint(chosen.out)
    accelerator = join_processes(chosen.device, chosen.trackers, chosen.out)
    is_main = accelerator.is_main_process
    prepared = prepare_parts(selected, train, held_out, chosen.base_model, settings)
    settings.layer_numbers(_n_layers(prepared.base.config))
    plan = prepared.plan(accelerator.num_processes, accelerator.device.type)
    finished = checkpoint.check(plan, resume=chosen.resume)
    accelerator.wait_for_everyone()
    if finished:
        reward = orjson.loads((chosen.out / "reward.json").read_bytes())
        checkpoint.remove()
    else:
        if is_main and not chosen.as_json:
            for note in prepared.notes():
                click.echo(note)
        with (
            reported(accelerator, chosen.trackers, plan) as report,
            steps_shown(is_main, says_lines=not chosen.as_json) as show,
        ):

            def on_step(step: TrainingStep) -> None:
                show(step)
                report(step)

            reward = job.train(prepared, chosen.model, checkpoint, accelerator, on_step, _draw)
    if not is_main:
        return
    if chosen.as_json:
        click.echo(orjson.dumps({"out": str(chosen.out), **reward}))
    else:
        _say(reward, chosen.out)


def _pairs(paths: Sequence[Path]) -> list[PreferencePair]:
    try:
        messages = standing(read_current(paths, read_text_pairs))
        return [pair for pair in messages if isinstance(pair, PreferencePair)]
    except ContractError as error:
        raise BadInput(f"{error}; a pair has goal_instruction, chosen_prompt and rejected_prompt") from None


def _cores() -> int:
    """Number of cores that this process may use, where the system reports it; else of all cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _n_layers(config: Mapping[str, Any]) -> int:
    return int(config.get("num_hidden_layers") or config.get("n_layers") or 10**6)


def _draw(reward: Mapping[str, Any]) -> bytes:
    models = reward["metrics"]["models"]
    others = {name: of["accuracy"] for name, of in models.items() if name != "LoRA"}
    return training_plot(reward["history"], others).png


def _say(reward: Mapping[str, Any], out: Path) -> None:
    pairs, metrics, training = reward["pairs"], reward["metrics"], reward["training"]
    table = Table(
        title=f"{counted(pairs['held_out'], 'pair')} "
        f"of {counted(pairs['held_out_tasks'], 'task')} kept apart, "
        f"{pairs['train']:,} learnt"
    )
    for column in ("", "accuracy [95%]", "log loss [95%]", "ECE"):
        table.add_column(column)
    for name, of in metrics["models"].items():
        measured = (_with_interval(of[what], of[f"{what}_ci95"]) for what in ("accuracy", "log_loss"))
        table.add_row(name, *measured, f"{of['ece']:.3f}")
    console = Console()
    console.print(table)
    for statement in metrics["statements"]:
        console.print(statement, soft_wrap=True, highlight=False)
    console.print(
        f"{training['pairs_per_cpu_s']:.2f} pairs per CPU second; {out}: an adapter of "
        f"{reward['adapter']['bytes']:,} bytes",
        soft_wrap=True,
        highlight=False,
    )


def _with_interval(value: float, interval: list[float] | None) -> str:
    if interval is None:
        return f"{value:.3f}"
    low, high = interval
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"
