"""The demo's runs of the simulated world, several at a time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import count
from pathlib import Path
from random import Random

import numpy as np

from runner.critics.pixel import default_critics
from runner.interfaces import Generation
from runner.loop.controller import ThompsonController, Vector
from runner.loop.refinement import RefinementLoop
from runner.loop.refiner import Arm
from runner.loop.stopping import StopRules
from runner.rewards.preference import PreferencePolicy
from runner.worlds.simulated import SimulatedWorld, random_goal
from streams.kafka.settings import Settings
from tribrain.demo.lora import REWRITES
from tribrain.demo.progress import DemoRun, Monitor
from tribrain.demo.results import DemoPlan
from tribrain.shell.interrupts import Interrupts

_DRAIN_S = 60.0
_CLOSE_S = 1.0
_POLL_S = 0.25
_WAIT_FOR_ADAPTER_S = 600.0
_BETWEEN_S = 5.0
"""Seconds from the end of a run to the next one, once the planned runs are done."""


def run_tasks(plan: DemoPlan, settings: Settings, monitor: Monitor, interrupts: Interrupts) -> None:
    """Make all runs, ``plan.parallel`` at a time, in threads: the heavy work holds no interpreter lock.

    With ``plan.page``, more follow after that, one at a time with pauses, until an interrupt.
    """
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
            world=_Interruptible(goal, plan.seed * 100_003 + task, plan.outcome_share, stop),
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
        monitor.run_finished(DemoRun(goal, loop.run()))

    pool = ThreadPoolExecutor(plan.parallel, thread_name_prefix="run")
    try:
        pending: set[Future[None]] = set()
        tasks = count()
        ended_s = 0.0
        while True:
            while _is_next_due(plan, monitor, len(pending), ended_s):
                monitor.started += 1
                pending.add(pool.submit(run, next(tasks), random_goal(rng)))
            if pending:
                done, pending = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    ended_s = time.monotonic()
            elif plan.page:
                stop.wait(_POLL_S)
            else:
                break
            with interrupts.held():
                monitor.keep_alive()
        publisher.flush(_DRAIN_S)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        publisher.close(_CLOSE_S)


def _is_next_due(plan: DemoPlan, monitor: Monitor, running: int, ended_s: float) -> bool:
    """Whether to start another run.

    After the planned runs, more are due until one adopts an adapter; with a page, one now and then until
    interrupted.
    """
    if monitor.started < plan.tasks or _waits_for_adapter(monitor):
        return running < plan.parallel
    return plan.page and running == 0 and time.monotonic() - ended_s > _BETWEEN_S


def _waits_for_adapter(monitor: Monitor) -> bool:
    adapters = monitor.adapters
    return adapters is not None and not adapters.was_taken_up and monitor.elapsed_s < _WAIT_FOR_ADAPTER_S


class _Interruptible(SimulatedWorld):
    """Ends its run, as a Ctrl-C would, when the demo is ending: signals reach the main thread alone."""

    def __init__(self, goal: str, task_seed: int, outcome_share: float, stop: threading.Event) -> None:
        super().__init__(goal, task_seed, outcome_share, write_truth=True)
        self._stop = stop

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        if self._stop.is_set():
            raise KeyboardInterrupt
        return super().generate(prompt, seed=seed, out_dir=out_dir)


class _SharedController:
    """One controller that all runs share."""

    def __init__(self) -> None:
        self._controller = ThompsonController()
        self._lock = threading.Lock()

    def choose(self, context: Vector, rng: np.random.Generator) -> Arm:
        with self._lock:
            return self._controller.choose(context, rng)

    def update(self, context: Vector, arm: Arm, reward: float) -> None:
        with self._lock:
            self._controller.update(context, arm, reward)
