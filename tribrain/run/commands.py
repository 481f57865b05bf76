"""One refinement run: of the simulated world model, or of any generator command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from textwrap import indent
from typing import Any, TypeVar

import click
import orjson
from cloup import option_group
from cloup.typing import Decorator

from runner.interfaces import GenerationFailed, WorldModel
from runner.loop.refinement import RefinementLoop, new_run_id
from runner.loop.refiner import PromptState
from runner.loop.result import RunResult
from runner.loop.resume import INTERRUPTED, run_or_resume
from runner.loop.shared_controller import SharedController
from runner.loop.stopping import MAX_FAILURES, stop_in_words
from runner.video import read_first_frame
from runner.worlds.simulated import SimulatedWorld
from runner.worlds.simulated_checkpoint import read_checkpoint
from runner.worlds.subprocess import SubprocessWorld
from streams.errors import BadInput, counted
from tribrain.run.critics import say_who_judges
from tribrain.run.folder import RUN_LOCK, RunFolder
from tribrain.run.generator_lines import GeneratorLines
from tribrain.run.looked_up import look_on_kafka
from tribrain.run.plan import CONFIG_NAME, RunPlan, settings_of
from tribrain.run.refinement import Refinement, RefinementOptions, open_refinement
from tribrain.run.refinement_options import refinement_options, reward_name
from tribrain.run.sink import run_progress, run_sink
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.exclusive_lock import exclusive_lock
from tribrain.shell.exit_codes import NothingMade
from tribrain.shell.interrupts import Interrupts
from tribrain.shell.option_types import PATH, FiniteFloat, Seconds
from tribrain.shell.settings_sources import keep_config

_C = TypeVar("_C", bound=Callable[..., Any])
_TAKEN = "another process is at work on the run in it; wait for it, or choose another --out"


_TASK = option_group(
    "Task",
    click.option("--goal", "--prompt", required=True, help="What the video has to show."),
    options.seed(),
    options.out("Folder of the run; an unfinished run continues."),
    click.option("--fresh", is_flag=True, help="Remove the run in --out, if any, and start anew."),
    click.option("--run-id", metavar="NAME", show_default="time, seed and folder", help="Name of the run."),
    click.option(
        "--controller",
        type=PATH,
        metavar="FILE",
        help="State of the prompt controller to start from and to update; runs may share it.",
    ),
)


def run_options(*world: Decorator, name_on_kafka: str = "--model") -> Callable[[_C], _C]:
    """The options of every command of one run; ``world`` are those of its world model.

    ``name_on_kafka`` is the earlier spelling of the reward model's name there.
    """

    def add(command: _C) -> _C:
        command = refinement_options(reward_name(name_on_kafka)(command))
        return _TASK(option_group("World model", *world)(command))

    return add


@click.command(
    cls=Command,
    epilog='Example: tribrain run simulated --goal "move the red cube to the bowl" --seed 1 --out runs/a',
)
@run_options(
    click.option(
        "--outcome-share",
        type=FiniteFloat(0, 1),
        default=0.5,
        help="Share of iterations with a judgement of the simulated validator.",
    ),
    click.option(
        "--checkpoint", type=PATH, metavar="FOLDER", help="Fine-tuned checkpoint of the simulated world."
    ),
    click.option(
        "--write-truth",
        is_flag=True,
        help="Write each video's hidden failures beside it, for the simulated training.",
    ),
)
def run_simulated(
    goal: str, seed: int, outcome_share: float, checkpoint: Path | None, write_truth: bool, **given: Any
) -> None:
    """Refine a video in the simulated world, where the true quality is known.

    With --bootstrap-servers each iteration is published to Kafka, and the run follows the newest reward
    model there.
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
@run_options(
    click.option(
        "--cmd",
        required=True,
        metavar="COMMAND",
        help="Generator command; {prompt}, {out_dir}, {seed} and {image} become arguments.",
    ),
    click.option("--image", type=PATH, metavar="FILE", help="First frame, for {image} in --cmd."),
    click.option(
        "--timeout-s", type=Seconds(min=0, min_open=True), default="10m", help="Time limit of one video."
    ),
)
def run_subprocess(cmd: str, image: Path | None, timeout_s: float, **given: Any) -> None:
    """Refine a video with any generator that writes one into {out_dir}.

    The command is split into arguments before they are filled in; no shell runs it.
    """
    world = SubprocessWorld(cmd, timeout_s=timeout_s, image=image)
    if image is not None:
        if not image.is_file():
            raise BadInput(f"{image}: no such file; check the path of the image")
        if not world.takes_image:
            raise BadInput(
                "--image has no effect without {image} in --cmd; add it there, or leave --image out"
            )
        try:
            read_first_frame(image)
        except GenerationFailed as error:
            raise BadInput(f"--image {error}; give an image, or a video that starts with it") from None
    with Interrupts():
        run_world(world, RunOptions.of(given))


def fields_of(kind: Any, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split ``given`` into the values for fields of the dataclass ``kind``, and the rest."""
    names = {field.name for field in fields(kind)}
    own = {name: value for name, value in given.items() if name in names}
    return own, {name: value for name, value in given.items() if name not in names}


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
        own, rest = fields_of(cls, given)
        return cls(refinement=RefinementOptions(**rest), **own)


def run_world(world: WorldModel, given: RunOptions, lines: GeneratorLines | None = None) -> None:
    """Run a world model, or finish a run that was begun. ``lines`` are shown meanwhile.

    Raises BadInput, NothingMade, and KeyboardInterrupt once the end is recorded.
    """
    goal, seed, out, run_id = given.goal, given.seed, given.out, given.run_id
    PromptState(goal)  # raises BadInput before anything is written, as the next lines do
    shared = SharedController(given.controller)
    shared.known()
    context = click.get_current_context()
    settings = settings_of(context.params | {"controller": None})
    with ExitStack() as stack:
        refinement = open_refinement(stack, given.refinement)
        folder = RunFolder(out)
        folder.require_own(fresh=given.fresh)
        new_id = run_id or new_run_id(datetime.now(UTC), seed, goal, world.name, str(out.absolute()))
        wanted = RunPlan(run_id=new_id, world=world.name, settings=settings)
        if given.refinement.dry_run:
            _say_plan(refinement, folder, wanted, given)
            return
        shared.require_writable()
        stack.enter_context(exclusive_lock(out, "--out", _TAKEN, name=RUN_LOCK))
        plan = folder.begin(wanted, run_id=run_id, fresh=given.fresh)
        keep_config(out / CONFIG_NAME, context)
        shown = stack.enter_context(run_progress())
        sink = stack.enter_context(run_sink(refinement, out, shown, lines=None if given.as_json else ""))
        if lines is not None:
            lines.shown_by(sink.show_line)
        thompson = shared.begin(out)
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
            publisher=sink.publisher,
            look=look_on_kafka(refinement.settings, plan.run_id, is_named=run_id is not None),
            before_end=partial(shared.add, out, plan.run_id, thompson),
        )
    refinement.say_what_was_refused()
    if result.cannot_continue and not (result.failure and result.stop_reason):
        how = {"": "", INTERRUPTED: "was interrupted and "}.get(result.stop_reason, "was given up and ")
        raise BadInput(f"{out}: the run {how}{_cannot_continue(result, is_named=run_id is not None)}")
    if result.best_score is not None:
        say_who_judges(refinement.critics)
    _say(result, out, given.as_json)
    if result.stop_reason == INTERRUPTED:
        raise KeyboardInterrupt
    if result.failure:
        again = ""
        if result.cannot_continue:
            again = f"; it {_cannot_continue(result, is_named=run_id is not None)}"
        elif refinement.settings is not None:
            rescore = f"tribrain run rescore {out} judges what it has, " if result.critic_failed else ""
            again = f"; its end is for Kafka, where it is final: {rescore}--fresh begins anew"
        raise NothingMade(f"{result.run_id}: {_why_it_failed(result)}; at last {result.failure}{again}")


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


def _cannot_continue(result: RunResult, *, is_named: bool) -> str:
    anew = "begin anew with --fresh, or choose another --out"
    if is_named:
        anew += ", and give another --run-id"
    return f"cannot continue, as {result.cannot_continue}; {anew}"


def _why_it_failed(result: RunResult) -> str:
    if result.best_score is None:
        return "no video could be judged" if result.critic_failed else "nothing could be made"
    if result.stop_reason != MAX_FAILURES:
        return "a critic failed on every video"
    return f"given up, as {'a critic' if result.critic_failed else 'videos'} kept failing"


def _say(result: RunResult, out: Path, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(result))
        return
    several = result.candidates > result.iterations
    kind, videos = ("candidate", f" of {result.candidates:,} candidates") if several else ("iteration", "")
    best = "no candidate could be judged"
    if result.best_score is not None:
        best = f"best is {kind} {result.best_iter} with critics' score {result.best_score:.3f}"
    click.echo(
        f"{result.run_id}: {counted(result.iterations, 'iteration')}{videos}, {best}; "
        f"{stop_in_words(result.stop_reason)}; in {out}"
    )
    if result.best_video is not None and result.best_prompt is not None:
        click.echo(f"{out / result.best_video}\n{indent(result.best_prompt, '  ')}")
