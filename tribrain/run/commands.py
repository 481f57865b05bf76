"""One refinement run: of the simulated world model, or of any generator command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent
from typing import Any

import click
import orjson

from runner.interfaces import WorldModel
from runner.loop.refinement import RefinementLoop, RunResult, new_run_id
from runner.loop.refiner import PromptState
from runner.loop.resume import INTERRUPTED, run_or_resume
from runner.loop.shared_controller import SharedController
from runner.worlds.simulated import SimulatedWorld
from runner.worlds.simulated_checkpoint import read_checkpoint
from runner.worlds.subprocess import SubprocessWorld
from streams.errors import BadInput
from tribrain.run.critics import say_who_judges
from tribrain.run.generator_lines import GeneratorLines
from tribrain.run.plan import CONFIG_NAME, RunFolder, RunPlan, settings_of
from tribrain.run.refinement import Refinement, RefinementOptions, open_refinement, refinement_options
from tribrain.run.sink import run_progress, run_sink
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.exclusive_lock import exclusive_lock
from tribrain.shell.exit_codes import NothingMade
from tribrain.shell.interrupts import Interrupts
from tribrain.shell.option_types import PATH, FiniteFloat
from tribrain.shell.settings_sources import keep_config

_TAKEN = "another process is at work on the run in it; wait for it, or choose another --out"


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """What every command of one run takes, whatever world model it runs."""
    command = refinement_options(command)
    for option in reversed(
        [
            click.option("--goal", "--prompt", required=True, help="What the video is to show."),
            click.option(
                "--seed",
                type=click.IntRange(0, 2**63 - 1),
                default=0,
                show_default=True,
                help="Reproduces a run.",
            ),
            click.option(
                "--out",
                required=True,
                type=PATH,
                help="The run's folder; one that was begun goes on.",
            ),
            click.option(
                "--fresh", is_flag=True, help="Remove the run in --out, if there is one, and begin anew."
            ),
            click.option("--run-id", help="Name of the run; by default made of time, seed and folder."),
            click.option(
                "--controller",
                type=PATH,
                help="Controller state to start from and to learn into; runs may share it.",
            ),
        ]
    ):
        command = option(command)
    return command


@click.command(
    cls=Command,
    epilog='Example: tribrain run simulated --goal "move the red cube to the bowl" --seed 1 --out runs/a',
)
@run_options
@options.model
@click.option(
    "--outcome-share",
    type=FiniteFloat(0, 1),
    default=0.5,
    show_default=True,
    help="Share of iterations that the simulated validator judges.",
)
@click.option(
    "--checkpoint",
    type=PATH,
    help="Folder of a fine-tuned simulated world; by default it is as it was made.",
)
@click.option(
    "--write-truth",
    is_flag=True,
    help="Write each video's hidden failures beside it, for the simulated training; nothing else reads them.",
)
def run_simulated(
    goal: str, seed: int, outcome_share: float, checkpoint: Path | None, write_truth: bool, **given: Any
) -> None:
    """Refine a goal in the simulated world: real videos, pixel critics, a hidden truth.

    With --bootstrap-servers, every iteration is published to Kafka, and reward snapshots are picked up as
    they are published.
    """
    world = SimulatedWorld(
        goal,
        task_seed=seed,
        outcome_share=outcome_share,
        write_truth=write_truth,
        checkpoint=read_checkpoint(checkpoint) if checkpoint is not None else None,
    )
    with Interrupts():
        run_world(world, RunOptions.of({"goal": goal, "seed": seed, **given}))


@click.command(
    cls=Command,
    epilog="Example: tribrain run subprocess --goal 'pour the tea' --out runs/b "
    "--cmd 'python gen.py --prompt {prompt} --out {out_dir} --seed {seed}'",
)
@run_options
@options.model
@click.option(
    "--cmd",
    required=True,
    help="Generator; {prompt}, {out_dir}, {seed} and {image} are put in as arguments.",
)
@click.option("--image", type=PATH, help="The first frame, for {image} in --cmd.")
@click.option(
    "--timeout-s",
    type=FiniteFloat(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Longest time of one generation.",
)
def run_subprocess(cmd: str, image: Path | None, timeout_s: float, **given: Any) -> None:
    """Refine a goal with any generator that writes a video into {out_dir}.

    Arguments are substituted after the command was split, never through a shell.
    """
    if image is not None and not image.is_file():
        raise BadInput(f"{image}: no such file; check the path of the image")
    with Interrupts():
        run_world(SubprocessWorld(cmd, timeout_s=timeout_s, image=image), RunOptions.of(given))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The values of ``run_options``, but for those of the refinement; each by the name of its option."""

    goal: str
    seed: int
    out: Path
    run_id: str | None
    controller: Path | None
    fresh: bool
    as_json: bool
    refinement: RefinementOptions

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> RunOptions:
        own = {field.name for field in fields(cls)}
        rest = {name: value for name, value in given.items() if name not in own}
        return cls(
            refinement=RefinementOptions(**rest),
            **{name: value for name, value in given.items() if name in own},
        )


def run_world(world: WorldModel, given: RunOptions, lines: GeneratorLines | None = None) -> None:
    """One run of a world model, or what is left of it. ``lines`` are shown while it runs.

    Raises BadInput, NothingMade, and KeyboardInterrupt once the end is recorded.
    """
    goal, seed, out, run_id = given.goal, given.seed, given.out, given.run_id
    PromptState(goal)  # says what is wrong with it before anything is written, as the next lines do
    shared = SharedController(given.controller)
    shared.known()
    context = click.get_current_context()
    settings = settings_of(context.params | {"controller": None})
    with ExitStack() as stack:
        refinement = open_refinement(stack, given.refinement)
        folder = RunFolder(out)
        if not given.fresh:
            folder.require_own()
        new_id = run_id or new_run_id(datetime.now(UTC), seed, goal, world.name, str(out.absolute()))
        wanted = RunPlan(run_id=new_id, world=world.name, settings=settings)
        if given.refinement.dry_run:
            _say_plan(refinement, folder, wanted, given)
            return
        stack.enter_context(exclusive_lock(out, "--out", _TAKEN, name="run.lock"))
        plan = folder.begin(wanted, run_id=run_id, fresh=given.fresh)
        keep_config(out / CONFIG_NAME, context)
        shown = stack.enter_context(run_progress())
        sink = stack.enter_context(run_sink(refinement, out, shown, lines=None if given.as_json else ""))
        if lines is not None:
            lines.shown_by(sink.show_line)
        thompson = shared.begin(out)
        went_on = False

        def keep() -> None:
            nonlocal went_on
            went_on = True
            shared.add(out, plan.run_id, thompson)

        result = run_or_resume(
            RefinementLoop(
                goal=goal,
                world=world,
                controller=thompson,
                seed=seed,
                out_dir=out,
                run_id=plan.run_id,
                sink=sink,
                **refinement.of_loop,
            ),
            interrupt_ends=True,
            is_told=refinement.settings is not None,
            before_end=keep,
        )
    refinement.say_what_was_refused()
    if result.stop_reason == INTERRUPTED and not went_on:
        raise BadInput(
            f"{out}: the run was interrupted, and cannot go on, as its end is on Kafka or it was rescored; "
            "begin anew with --fresh"
        )
    if result.best_score is not None:
        say_who_judges(refinement.critics)
    _say(result, out, given.as_json)
    if result.stop_reason == INTERRUPTED:
        raise KeyboardInterrupt
    if result.failure:
        raise NothingMade(f"{result.run_id}: {_why_it_failed(result)}; at last {result.failure}")


def _say_plan(refinement: Refinement, folder: RunFolder, wanted: RunPlan, given: RunOptions) -> None:
    begun = None if given.fresh else folder.begun(wanted, given.run_id)
    recorded = folder.recorded() if begun is not None else 0
    verb = "begin" if begun is None else "go on with"
    facts = {
        "run": (begun or wanted).run_id,
        "world": wanted.world,
        "out": str(folder.path),
        "events_recorded": recorded,
    }
    refinement.say_plan(f"would {verb} a run in {folder.path}", facts, as_json=given.as_json)


def _why_it_failed(result: RunResult) -> str:
    if result.best_score is None:
        return "no video could be judged" if result.critic_failed else "nothing could be made"
    return f"given up, as {'a critic' if result.critic_failed else 'videos'} kept failing"


def _say(result: RunResult, out: Path, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(result))
        return
    several = result.candidates > result.iterations
    kind, videos = ("candidate", f" of {result.candidates} candidates") if several else ("iteration", "")
    best = "no candidate could be judged"
    if result.best_score is not None:
        best = f"best is {kind} {result.best_iter} with critics' score {result.best_score:.3f}"
    click.echo(
        f"{result.run_id}: {result.iterations} iterations{videos}, {best}; stopped by {result.stop_reason}; "
        f"in {out}"
    )
    if result.best_video is not None and result.best_prompt is not None:
        click.echo(f"{out / result.best_video}\n{indent(result.best_prompt, '  ')}")
