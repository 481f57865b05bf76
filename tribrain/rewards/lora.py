"""``tribrain train-lora-rm``: a LoRA text reward model of preference pairs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import orjson
from rich.console import Console
from rich.table import Table

from streams.errors import BadInput
from streams.messages.codec import ContractError
from streams.messages.contracts import LabelSource, PreferencePair
from streams.messages.files import read_text_pairs
from trainers.lora.extra import require_extra
from trainers.lora.settings import ALL, TOP_HALF, LoraSettings
from trainers.pairs.withdrawn import standing
from tribrain.rewards.training_plot import training_plot
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.option_types import PATH, FiniteFloat
from tribrain.shell.step_progress import steps_shown

if TYPE_CHECKING:
    from trainers.lora.training import Step

_TRACKERS = ("tensorboard", "mlflow", "wandb")
_DEFAULT = LoraSettings()


@click.command(
    cls=Command,
    epilog="Example: tribrain reward train-lora --pairs runs/a/pairs.jsonl "
    "--base-model distilbert-base-uncased --out-dir runs/lora_rm",
)
@click.option("--pairs", required=True, multiple=True, type=PATH, help="A pairs file (repeatable).")
@click.option(
    "--base-model",
    required=True,
    metavar="NAME|FOLDER",
    help="The pretrained model to adapt: a name on the hub, or a folder with config.json, "
    "model.safetensors and tokenizer.json.",
)
@click.option(
    "--out-dir", "--out", "out", required=True, type=PATH, help="The folder to write; not there yet."
)
@click.option(
    "--label-source",
    "sources",
    multiple=True,
    type=click.Choice(get_args(LabelSource)),
    help="Learn from labels of this source (repeatable); by default from outcome and human where there are "
    "any, else from all.",
)
@click.option(
    "--pooling",
    type=click.Choice(["auto", "candidate", "mean", "native"]),
    default="auto",
    show_default=True,
    help="Mean over the candidate's tokens, with the goal read once for all its candidates; mean over all "
    "tokens; or the architecture's own head, which Transformers and TRL load. Auto is candidate where the "
    "architecture can, else mean.",
)
@click.option(
    "--rank", type=click.IntRange(min=1), default=_DEFAULT.rank, show_default=True, help="Of LoRA's matrices."
)
@click.option(
    "--alpha", type=FiniteFloat(min=0, min_open=True), help="LoRA's scale; by default twice the rank."
)
@click.option(
    "--targets",
    metavar="NAME[,NAME…]",
    help="Linear layers to adapt, e.g. q_proj,v_proj; by default all of a block.",
)
@click.option(
    "--layers",
    default=TOP_HALF,
    show_default=True,
    metavar=f"{TOP_HALF}|{ALL}|N",
    help="Which layers are adapted; N counts from the top.",
)
@click.option(
    "--lr",
    type=FiniteFloat(min=0, min_open=True),
    default=_DEFAULT.lr,
    show_default=True,
    help="Highest learning rate.",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=1, show_default=True, help="Passes over the pairs."
)
@click.option(
    "--batch", type=click.IntRange(min=1), default=_DEFAULT.batch, show_default=True, help="Pairs a step."
)
@click.option(
    "--length",
    type=click.IntRange(min=16),
    default=_DEFAULT.length,
    show_default=True,
    help="Tokens of goal and candidate together; what is too long is cut from the beginning of the goal.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16"]),
    default="fp32",
    show_default=True,
    help="bf16 is quicker on some processors and very slow on others.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto is cuda where there is one. The same bytes every time are promised on cpu only.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of split, start, order."
)
@click.option("--threads", type=click.IntRange(min=1), help="Of the processor; by default all cores.")
@click.option(
    "--held-out",
    type=FiniteFloat(min=0, max=1, min_open=True, max_open=True),
    default=_DEFAULT.held_out,
    show_default=True,
    help="Share of the tasks that is kept apart.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    help="Stop after so many evaluations without a better held-out log loss, and keep the best.",
)
@click.option(
    "--evaluations",
    type=click.IntRange(min=1),
    default=_DEFAULT.evaluations,
    show_default=True,
    help="How often the held-out part is measured.",
)
@click.option(
    "--checkpoint-every",
    type=click.IntRange(min=1),
    default=_DEFAULT.checkpoint_every,
    show_default=True,
    metavar="STEPS",
    help="How often a checkpoint is written, into OUT-DIR.checkpoint.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint of a training that was ended.")
@click.option(
    "--report-to",
    "trackers",
    multiple=True,
    type=click.Choice(_TRACKERS),
    help="Log loss and accuracy there, too (repeatable); tensorboard's files go into OUT-DIR.logs.",
)
@options.model
@options.as_json
def train_lora_rm(
    pairs: tuple[Path, ...],
    base_model: str,
    out: Path,
    sources: tuple[str, ...],
    device: str,
    targets: str | None,
    threads: int | None,
    resume: bool,
    trackers: tuple[str, ...],
    model: str,
    as_json: bool,
    **recipe: Any,
) -> None:
    """Adapt a pretrained language model to say which of two prompts for a goal is preferred.

    The loss is −log σ(r(chosen) − r(rejected)), weighted by the pair and by its label source. On the same
    held-out tasks it is compared with character TF-IDF, the length of the text and chance. A line needs
    goal_instruction, chosen_prompt and rejected_prompt. On one processor the same seed gives the same bytes,
    also when the training was killed and went on with --resume.

    Several processes share each batch; on processors, too, --multi_gpu is what starts them: accelerate launch
    --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no -m tribrain.cli
    train-lora-rm … --device cpu
    """
    settings = LoraSettings(
        targets=tuple(sorted({name.strip() for name in (targets or "").split(",") if name.strip()})),
        threads=threads or _cores(),
        **recipe,
    )
    # Not at the top: --help needs none of it.
    from trainers.lora.texts import select, split_by_task

    messages = [pair for path in pairs for pair in _pairs(path)]
    selected = select(messages, sources)
    train, held_out = split_by_task(selected.pairs, settings.held_out, settings.seed)
    require_extra()
    if lacking := [name for name in trackers if find_spec(name) is None]:
        raise BadInput(f"--report-to {lacking[0]}: the package is not there; pip install {lacking[0]}")

    from trainers.lora import job
    from trainers.lora.checkpoint import Checkpoint
    from trainers.lora.prepare import prepare_parts
    from trainers.lora.processes import join_processes, reported

    checkpoint = Checkpoint(out)
    accelerator = join_processes(device, trackers, out)
    is_main = accelerator.is_main_process
    prepared = prepare_parts(selected, train, held_out, base_model, settings)
    settings.layer_numbers(_n_layers(prepared.base.config))
    plan = prepared.plan(accelerator.num_processes, accelerator.device.type)
    finished = checkpoint.check(plan, resume=resume)
    accelerator.wait_for_everyone()
    if finished:
        reward = orjson.loads((out / "reward.json").read_bytes())
        checkpoint.remove()
    else:
        if is_main and not as_json:
            for note in prepared.notes():
                click.echo(note)
        with reported(accelerator, trackers, plan) as report, steps_shown(is_main) as show:

            def on_step(step: Step) -> None:
                show(step)
                report(step)

            reward = job.train(prepared, model, checkpoint, accelerator, on_step, _draw)
    if not is_main:
        return
    if as_json:
        click.echo(orjson.dumps({"out": str(out), **reward}))
    else:
        _say(reward, out)


def _pairs(path: Path) -> list[PreferencePair]:
    try:
        return [pair for pair in standing(read_text_pairs(path)) if isinstance(pair, PreferencePair)]
    except ContractError as error:
        raise BadInput(f"{error}; a pair has goal_instruction, chosen_prompt and rejected_prompt") from None


def _cores() -> int:
    """Those that this process may use, where the system can tell."""
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
        title=f"{pairs['held_out']} pairs of {pairs['held_out_tasks']} tasks kept apart, "
        f"{pairs['train']} learnt"
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
