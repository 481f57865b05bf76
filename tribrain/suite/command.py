"""``tribrain suite run``: a refinement run for each prompt of a file, continued wherever it was ended."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
import orjson
from cloup import option_group
from rich.progress import Progress

from runner.loop.controller import ThompsonController
from runner.loop.refinement import RefinementLoop
from runner.loop.resume import run_or_resume
from runner.loop.shared_controller import SharedController
from runner.loop.suite import Prompts, Shard, SuiteTask, read_prompts, with_images
from streams.errors import BadInput
from streams.fail_points import reach
from streams.spool.place import other_spools, spool_of
from tribrain.run.commands import fields_of
from tribrain.run.critics import say_who_judges
from tribrain.run.generator_lines import GeneratorLines
from tribrain.run.looked_up import look_on_kafka
from tribrain.run.plan import CONFIG_NAME, contents_of, settings_of
from tribrain.run.refinement import PUBLISHED_TEXTS, Refinement, RefinementOptions, open_refinement
from tribrain.run.refinement_options import refinement_options, reward_name
from tribrain.run.sink import run_progress, run_sink
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.exit_codes import NothingMade
from tribrain.shell.interrupts import Interrupts
from tribrain.shell.option_types import PATH
from tribrain.shell.settings_sources import keep_config
from tribrain.suite.folder import SuiteFolder, SuitePlan, SuiteRun, contents_of_task
from tribrain.suite.outcome import in_words, tell_outcome, why_not_finished
from tribrain.suite.worlds import WORLD_OPTIONS, WorldFactory, world_factory, world_options

_NAME = re.compile(r"[A-Za-z0-9_.-]*[A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteOptions:
    """The values of the command's options, by their names."""

    prompts: Path
    out: Path
    images: Path | None
    shard: str
    suite_id: str | None
    seed: int
    controller: Path | None
    world: str
    as_json: bool
    of_world: Mapping[str, Any]
    """Values by the names in ``WORLD_OPTIONS``; None for an option that was not given."""
    refinement: RefinementOptions

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> SuiteOptions:
        own, rest = fields_of(cls, given)
        of_world = {name: rest.pop(name) for name in WORLD_OPTIONS}
        return cls(of_world=of_world, refinement=RefinementOptions(**rest), **own)


@click.command(
    cls=Command,
    epilog="Example: tribrain suite run --prompts benchmark_samples/generated_descriptions.jsonl "
    "--world simulated --iters 4 --out suites/a",
)
@option_group(
    "Suite",
    click.option(
        "--prompts",
        required=True,
        type=PATH,
        metavar="FILE",
        help="Prompts in JSON Lines, as WoW's benchmark has them: index, generated_description, and image "
        "where the world model needs a first frame.",
    ),
    options.out("Folder of the suite; an unfinished suite continues."),
    click.option(
        "--images",
        type=PATH,
        metavar="FOLDER",
        show_default="the folder of --prompts, then the current one",
        help="Folder that paths of images are relative to.",
    ),
    click.option("--shard", default="1/1", metavar="I/N", help="Run only part I of N, from 1."),
    click.option(
        "--suite-id",
        metavar="NAME",
        show_default="made of prompts, settings and folder",
        help="Prefix of the runs' ids.",
    ),
    options.seed(),
    click.option(
        "--controller",
        type=PATH,
        metavar="FILE",
        help="State of the prompt controller to start from; the suite updates OUT/controller.json.",
    ),
)
@world_options
@refinement_options
@reward_name("--reward-model")
def run_suite(**given: Any) -> None:
    """Refine a video for each prompt of a file, and write summary.json and report.html.

    If interrupted, run the same command again: it continues, makes no finished video again and loses no
    event. The shards of a job array may share the folder.
    """
    chosen = SuiteOptions.of(given)
    part = Shard.parse(chosen.shard)
    suite = read_prompts(chosen.prompts)
    if chosen.refinement.text_rm in PUBLISHED_TEXTS:
        raise BadInput(
            f"--text-reward {chosen.refinement.text_rm} follows a model on Kafka, and an interrupted run "
            "could not continue as it was; give a file or an adapter's folder"
        )
    lines = GeneratorLines()
    of_runs = {"seed": chosen.seed, "controller": chosen.controller, **chosen.of_world}
    settings = settings_of(of_runs | asdict(chosen.refinement))
    with ExitStack() as stack:
        stack.enter_context(Interrupts())
        worlds = world_factory(chosen.world, chosen.of_world, stack, lines)
        if worlds.needs_image:
            suite = with_images(
                suite, [chosen.images] if chosen.images is not None else [chosen.prompts.parent, Path()]
            )
            settings["first_frames"] = contents_of(
                task.image for task in suite.tasks if task.image is not None
            )
        refinement = open_refinement(stack, chosen.refinement)
        if chosen.controller is not None:  # reports a fault before anything is written
            ThompsonController.load(chosen.controller)
        tasks = part.take(suite.tasks)
        for task in tasks:  # reports what any of them lacks before anything is generated
            worlds.world(task.prompt, task.image, task.seed(chosen.seed))
        folder = SuiteFolder(chosen.out)
        wanted = _plan(suite, chosen.out, chosen.world, settings, chosen.suite_id)
        if refinement.given.dry_run:
            _say_plan(refinement, folder, wanted, tasks, chosen.as_json)
            return
        plan = folder.begin(wanted)
        keep_config(chosen.out / CONFIG_NAME, click.get_current_context())
        shared = SharedController(chosen.out / "controller.json")
        shared.start_from(chosen.controller)
        work = _Work(
            suite=suite,
            folder=folder,
            plan=plan,
            refinement=refinement,
            worlds=worlds,
            controller=shared,
            seed=chosen.seed,
            lines=lines,
            shown=stack.enter_context(run_progress()),
            says_lines=not chosen.as_json,
        )
        runs: list[SuiteRun] = []
        failed = 0  # in a row
        for number, task in enumerate(tasks, start=1):
            is_old = work.finished(task) is not None
            run = work.run(task)
            runs.append(run)
            if not chosen.as_json:
                click.echo(f"{number}/{len(tasks)}  {in_words(run, chosen.out)}", err=True)
            if why := work.cannot_continue.get(run.run_id):
                click.echo(f"{run.run_id}: cannot continue, as {why}", err=True)
            elif not is_old:
                failed = failed + 1 if run.failure else 0
            if failed == refinement.given.max_failures:
                break
    refinement.say_what_was_refused()
    if any(run.best_score is not None for run in runs):
        say_who_judges(refinement.critics)
    tell_outcome(folder, plan, as_json=chosen.as_json)
    is_over = failed > 0 and failed == refinement.given.max_failures
    if why := why_not_finished(runs, work.cannot_continue, in_a_row=failed if is_over else 0):
        raise NothingMade(f"{plan.suite}: {why}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """The state that the runs of a suite share."""

    suite: Prompts
    folder: SuiteFolder
    plan: SuitePlan
    refinement: Refinement
    worlds: WorldFactory
    controller: SharedController
    seed: int
    lines: GeneratorLines
    shown: Progress
    says_lines: bool
    cannot_continue: dict[str, str] = field(default_factory=dict)
    """Id of each run that failed or was given up for good, to the reason."""

    def finished(self, task: SuiteTask) -> SuiteRun | None:
        """The task's run; None while it has to be made, continued, or sent to Kafka once rescored."""
        run_id = task.run_id(self.plan.suite)
        run = self.folder.finished(run_id)
        if run is None or run.is_given_up:
            return None
        is_to_be_sent = self.refinement.settings is not None and self.folder.was_held_back(run_id)
        return None if is_to_be_sent else run

    def _waits_for_kafka(self, out: Path) -> bool:
        if self.refinement.settings is None:
            return False
        spool = spool_of(out, self.refinement.given.spool_dir)
        return spool.exists() or bool(other_spools(out, spool))

    def run(self, task: SuiteTask) -> SuiteRun:
        """Make the run, or the rest of it."""
        run_id = task.run_id(self.plan.suite)
        refinement = self.refinement
        with self.folder.held(run_id) as out:
            finished = self.finished(task)
            if finished is not None and not self._waits_for_kafka(out):
                return finished
            name = f"{run_id}: " if self.says_lines else None
            with run_sink(refinement, out, self.shown, lines=name) as sink:
                if finished is not None:
                    return finished  # what was left in its spool has been sent
                self.lines.shown_by(sink.show_line)
                seed = task.seed(self.seed)
                before = self.folder.finished(run_id)
                # If nothing could be made, nothing was learnt.
                anew = before is not None and before.best_score is None
                controller = self.controller.begin(out, anew=anew)
                result = run_or_resume(
                    RefinementLoop(
                        goal=task.prompt,
                        world=self.worlds.world(task.prompt, task.image, seed),
                        controller=controller,
                        seed=seed,
                        out_dir=out,
                        run_id=run_id,
                        task_id=self.suite.task_id(task),
                        sink=sink,
                        **refinement.of_loop,
                    ),
                    publisher=sink.publisher,
                    holds_failures=True,
                    look=look_on_kafka(refinement.settings, run_id),
                    before_end=partial(self.controller.add, out, run_id, controller),
                )
            if result.cannot_continue:
                self.cannot_continue[run_id] = result.cannot_continue
            reach("suite.run-recorded")
            run = self.folder.finish(task, result)
            reach("suite.run-finished")
        return run


def _say_plan(
    refinement: Refinement, folder: SuiteFolder, wanted: SuitePlan, tasks: Sequence[SuiteTask], as_json: bool
) -> None:
    begun = folder.begun(wanted)
    plan = begun or wanted
    runs = [folder.finished(task.run_id(plan.suite)) for task in tasks]
    finished = sum(run is not None and not run.is_given_up for run in runs)
    facts = {
        "suite": plan.suite,
        "world": plan.world,
        "out": str(folder.path),
        "prompts": len(tasks),
        "finished": finished,
    }
    verb = "begin" if begun is None else "go on with"
    refinement.say_plan(f"would {verb} a suite in {folder.path}", facts, as_json=as_json)


def _plan(suite: Prompts, out: Path, world: str, settings: dict[str, Any], suite_id: str | None) -> SuitePlan:
    """The plan, with a name of its own for each folder: of two runs with one id, the second is not learnt."""
    if suite_id is not None and not _NAME.fullmatch(suite_id):
        raise BadInput(f"the suite is called {suite_id!r}; expected letters, digits, -, _ and .")
    if suite_id is None and SuiteFolder.is_one(out):
        suite_id = SuiteFolder(out).plan().suite
    if suite_id is None:
        what = [suite.sha256, world, orjson.dumps(settings, option=orjson.OPT_SORT_KEYS).decode()]
        named = "\0".join([*what, str(out.absolute())]).encode(errors="surrogateescape")
        digest = hashlib.sha256(named).hexdigest()
        suite_id = f"{re.sub('[^A-Za-z0-9_-]+', '-', suite.path.stem)[:40]}-{digest[:8]}"
    return SuitePlan(
        suite=suite_id,
        prompts=str(suite.path),
        prompts_sha256=suite.sha256,
        n_tasks=len(suite.tasks),
        world=world,
        settings=settings,
        contents={str(task.index): contents_of_task(task) for task in suite.tasks},
    )
