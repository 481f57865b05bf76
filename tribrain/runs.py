"""One refinement run: of the simulated world model, or of any generator command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from runner.adapter_feed import AdapterFeed, LocalAdapter
from runner.controller import ThompsonController
from runner.critics.pixel import default_critics
from runner.interfaces import EventSink, TextRewardFeed, WorldModel
from runner.loop import RefinementLoop, RunResult, new_run_id
from runner.reward import PreferenceGate, PreferencePolicy
from runner.reward_file import FileRewardFeed
from runner.rewrites import MAX_REWRITES
from runner.stopping import StopRules
from runner.text_feeds import TextFileFeed, TextSnapshotFeed
from runner.worlds.simulated import SimulatedWorld
from runner.worlds.subprocess import SubprocessWorld
from streams.contracts import RunEnd, TraceEvent
from streams.errors import BadInput
from streams.feed import SnapshotFeed
from streams.publisher import TracePublisher
from streams.settings import Settings
from tribrain import options
from tribrain.generator_lines import GeneratorLines
from tribrain.interrupts import Interrupts
from tribrain.output import cache_folder, cannot_write, progress

# What has not left by then is safe in the spool.
_FLUSH_S = 5.0
_CLOSE_S = 1.0
_PUBLISHED = ("text", "lora")


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """What every run command takes, whatever world model it runs."""
    for option in reversed(
        [
            click.option("--goal", "--prompt", required=True, help="What the video is to show."),
            click.option(
                "--iters", type=click.IntRange(min=1), default=8, show_default=True, help="Iterations."
            ),
            click.option(
                "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Reproduces a run."
            ),
            click.option(
                "--out", required=True, type=options.PATH, help="The run's directory; must hold no run."
            ),
            click.option("--run-id", help="Name of the run; by default made of time, seed and folder."),
            click.option("--preference-rm", type=options.PATH, help="A bt_reward.json that steers this run."),
            click.option(
                "--preference-weight",
                type=options.FiniteFloat(min=0),
                default=0.25,
                show_default=True,
                help="Most by which preferences move the critics' reward.",
            ),
            click.option(
                "--preference-gate",
                type=click.Choice(["auto", "require", "ignore"]),
                default="auto",
                show_default=True,
                help="auto: a file steers at once, a snapshot from Kafka once it is active.",
            ),
            click.option(
                "--target-score", type=options.FiniteFloat(0, 1), help="Stop at this critics' score."
            ),
            click.option(
                "--patience", type=click.IntRange(min=1), help="Stop after so many iterations without gain."
            ),
            click.option(
                "--drift-threshold",
                type=options.FiniteFloat(0, 1),
                help="Stop when a failure mode twice falls by more than this while the score rises.",
            ),
            click.option("--max-wall", type=options.FiniteFloat(min=0), help="Stop after so many seconds."),
            click.option(
                "--controller", type=options.PATH, help="Controller state to start from and to save to."
            ),
            click.option(
                "--candidates",
                type=click.IntRange(1, MAX_REWRITES),
                default=1,
                show_default=True,
                help="Videos of an iteration, of as many prompts where there are any.",
            ),
            click.option(
                "--rewrites",
                type=click.IntRange(1, MAX_REWRITES),
                default=1,
                show_default=True,
                help="Prompts that are proposed for each iteration; --text-rm picks what is made.",
            ),
            click.option(
                "--text-rm",
                metavar="FILE|FOLDER|text|lora",
                help="A reward of prompts: a text_reward.json, an adapter's folder, or 'text' or 'lora' for "
                "what serve-text or serve-lora publishes. It is one more critic, and picks among --rewrites.",
            ),
            click.option(
                "--text-base-model",
                metavar="NAME|FOLDER",
                help="Where the base model of an adapter is, if it is not where it was when trained.",
            ),
            options.bootstrap_servers,
            options.as_json,
        ]
    ):
        command = option(command)
    return command


@click.command(
    epilog='Example: tribrain run-simulated --goal "move the red cube to the bowl" --seed 1 --out runs/a'
)
@run_options
@options.model
@click.option(
    "--outcome-share",
    type=options.FiniteFloat(0, 1),
    default=0.5,
    show_default=True,
    help="Share of iterations that the simulated validator judges.",
)
def run_simulated(goal: str, seed: int, outcome_share: float, **given: Any) -> None:
    """Refine a goal in the simulated world: real videos, pixel critics, a hidden truth.

    With --bootstrap-servers, every iteration is published to Kafka, and reward snapshots are picked up as
    they are published.
    """
    world = SimulatedWorld(goal, task_seed=seed, outcome_share=outcome_share)
    run_world(world, goal=goal, seed=seed, **given)


@click.command(
    epilog="Example: tribrain run-subprocess --goal 'pour the tea' --out runs/b "
    "--cmd 'python gen.py --prompt {prompt} --out {out_dir} --seed {seed}'"
)
@run_options
@options.model
@click.option(
    "--cmd", required=True, help="Generator; {prompt}, {out_dir} and {seed} are put in as arguments."
)
@click.option(
    "--timeout-s",
    type=options.FiniteFloat(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Longest time of one generation.",
)
def run_subprocess(cmd: str, timeout_s: float, **given: Any) -> None:
    """Refine a goal with any generator that writes a video into {out_dir}.

    Arguments are substituted after the command was split, never through a shell.
    """
    with Interrupts():
        run_world(SubprocessWorld(cmd, timeout_s=timeout_s), **given)


def run_world(
    world: WorldModel,
    *,
    lines: GeneratorLines | None = None,
    goal: str,
    iters: int,
    seed: int,
    out: Path,
    run_id: str | None,
    preference_rm: Path | None,
    preference_weight: float,
    preference_gate: PreferenceGate,
    target_score: float | None,
    patience: int | None,
    drift_threshold: float | None,
    max_wall: float | None,
    controller: Path | None,
    candidates: int,
    rewrites: int,
    text_rm: str | None,
    text_base_model: str | None,
    bootstrap_servers: str | None,
    model: str,
    as_json: bool,
) -> None:
    """One run of a world model with the options of ``run_options`` and ``--model``.

    ``lines`` are shown while it runs. Raises BadInput, and KeyboardInterrupt once the end is recorded.
    """
    policy = PreferencePolicy(
        weight=preference_weight, gate=preference_gate, given_by_user=preference_rm is not None
    )
    stop = StopRules(
        max_iters=iters,
        target_score=target_score,
        patience=patience,
        drift_threshold=drift_threshold,
        max_wall_s=max_wall,
    )
    state_file = controller or out / "controller.json"
    thompson = (
        ThompsonController.load(state_file) if controller and controller.exists() else ThompsonController()
    )
    settings = Settings.from_environment(bootstrap_servers) if bootstrap_servers else None
    critics = default_critics()
    names = [critic.name for critic in critics]
    with ExitStack() as stack:
        feed: FileRewardFeed | SnapshotFeed | None = None
        if preference_rm is not None:
            feed = FileRewardFeed(preference_rm, critics=names)
            if (snapshot := feed.latest()) is not None:
                click.echo(f"{preference_rm}: {snapshot.statement}", err=True)
        elif settings is not None:
            feed = stack.enter_context(SnapshotFeed(settings, model, critics=names))
        texts = _text_feed(text_rm, text_base_model, settings, model, stack)
        publisher: TracePublisher | None = None
        if settings is not None:
            publisher = TracePublisher(settings, out / "spool.sqlite")
            stack.callback(publisher.close, _CLOSE_S)
        sink = _Tee(publisher, stack.enter_context(_progress()), iters * candidates)
        if lines is not None:
            lines.shown_by(sink.show_line)
        result = RefinementLoop(
            goal=goal,
            world=world,
            critics=critics,
            controller=thompson,
            stop=stop,
            seed=seed,
            out_dir=out,
            run_id=run_id or new_run_id(datetime.now(UTC), seed, goal, world.name, str(out.absolute())),
            feed=feed,
            policy=policy,
            text_feed=texts,
            text_policy=PreferencePolicy(
                gate=preference_gate, given_by_user=text_rm not in (None, *_PUBLISHED)
            ),
            rewrites=rewrites,
            candidates=candidates,
            sink=sink,
        ).run()
        try:
            thompson.save(state_file)
        except OSError as error:
            raise cannot_write(state_file, error) from None
        if publisher is not None:
            publisher.flush(_FLUSH_S)
    if publisher is not None:
        _say_what_is_not_on_kafka(publisher, out)
    if feed is not None:
        _say_what_was_refused(feed.refused)
    if isinstance(texts, TextSnapshotFeed | AdapterFeed):
        _say_what_was_refused(texts.refused)
    _say(result, out, as_json)
    if result.stop_reason == "interrupted":
        raise KeyboardInterrupt


def _text_feed(
    text_rm: str | None, base: str | None, settings: Settings | None, model: str, stack: ExitStack
) -> TextRewardFeed | None:
    if text_rm is None:
        return None
    if text_rm in _PUBLISHED:
        if settings is None:
            raise BadInput(
                f"--text-rm {text_rm} follows what is published; give --bootstrap-servers, or a file"
            )
        if text_rm == "text":
            return stack.enter_context(TextSnapshotFeed(settings, model))
        return stack.enter_context(AdapterFeed(settings, model, cache=cache_folder() / "adapters", base=base))
    if Path(text_rm).is_dir():
        return LocalAdapter(Path(text_rm), base=base)
    texts = TextFileFeed(Path(text_rm))
    click.echo(f"{text_rm}: {texts.snapshot.statement}", err=True)
    return texts


class _Tee:
    """An event sink that shows progress and passes events on to the publisher, where there is one."""

    def __init__(self, publisher: EventSink | None, shown: Progress, videos: int) -> None:
        self._publisher = publisher
        self._shown = shown
        self._bar = shown.add_task("videos", total=videos, best="", line="")

    @property
    def show_line(self) -> Callable[[str], None] | None:
        """Shows a line beside the bar, where there is one."""
        return None if self._shown.disable else lambda line: self._shown.update(self._bar, line=line)

    def push(self, event: TraceEvent | RunEnd) -> None:
        if self._publisher is not None:
            self._publisher.push(event)
        if isinstance(event, TraceEvent):
            best = event.meta.get("best_score")
            self._shown.update(
                self._bar, advance=1, best="" if best is None else f"best critics' score {best:.3f}"
            )


def _progress() -> Progress:
    return progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[best]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[line]}", markup=False),
    )


def _say_what_is_not_on_kafka(publisher: TracePublisher, out: Path) -> None:
    refused = sum(publisher.refused.values())
    if kept := publisher.flush(0.0) - refused:
        click.echo(
            f"{kept} events have not reached Kafka; "
            f"send them with: tribrain spool flush {out / 'spool.sqlite'}",
            err=True,
        )
    if refused:
        click.echo(
            f"{refused} events are not in the spool: {publisher.problem}; "
            f"send them with: tribrain publish-trace {out / 'trace.jsonl'}",
            err=True,
        )


def _say_what_was_refused(refused: Mapping[str, int]) -> None:
    """Those of other models and the older ones are no news."""
    unusable = {reason: n for reason, n in refused.items() if reason not in ("other model", "not newer")}
    if unusable:
        counted = ", ".join(f"{n} {reason}" for reason, n in unusable.items())
        click.echo(f"reward snapshots that were refused: {counted}; the one in use stayed", err=True)


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
