"""Computes what is missing in an experiment's folder, on several processes, a seed at a time on each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from multiprocessing.synchronize import Event

import click
import cv2

from runner.experiment import SeedExperiment
from runner.experiment_plan import Condition, Plan
from tribrain.experiment_folder import ExperimentFolder

_POLL_S = 0.25


class _Ended(Exception):
    """The command was told to end before this seed was done."""


def compute(
    folder: ExperimentFolder,
    plan: Plan,
    seeds: Sequence[int],
    conditions: Sequence[Condition],
    processes: int,
    on_progress: Callable[[int], None],
) -> None:
    """Until every seed and condition is in the folder; ``on_progress`` is told how many of them are.

    The results do not depend on ``processes``. After an interrupt, each process ends with its current run.
    """
    units = [(seed, condition) for seed in seeds for condition in conditions]
    missing = {seed: [c for c in conditions if not folder.is_finished((seed, c))] for seed in seeds}
    # Never by fork: a copy of a process with threads of its own may hang.
    context = multiprocessing.get_context("spawn")
    end = context.Event()
    with ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(end,)) as pool:
        pending: set[Future[None]] = {
            pool.submit(_run_seed, folder, plan, seed, wanted) for seed, wanted in missing.items() if wanted
        }
        try:
            while pending:
                done, pending = wait(pending, timeout=_POLL_S)
                for future in done:
                    future.result()
                on_progress(sum(folder.is_finished(unit) for unit in units))
        except BrokenProcessPool:
            click.echo("tribrain: a process was killed; the same command goes on from here", err=True)
            raise click.exceptions.Exit(1) from None
        finally:
            end.set()
            pool.shutdown(wait=True, cancel_futures=True)


_end: Event | None = None


def _begin(end: Event) -> None:
    """In each process: Ctrl-C is the command's business, and the processes are as many as the cores."""
    global _end
    _end = end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_the_command, daemon=True).start()


def _end_with_the_command() -> None:
    """A command that was killed cannot say so. Files are whole at any moment, so no care is needed."""
    command = multiprocessing.parent_process()
    if command is not None:
        wait_for([command.sentinel])
        os._exit(1)


def _run_seed(folder: ExperimentFolder, plan: Plan, seed: int, conditions: Sequence[Condition]) -> None:
    experiment = SeedExperiment(plan, seed)
    for condition in conditions:
        folder.write((seed, condition), experiment.run(condition, _check_whether_to_go_on))


def _check_whether_to_go_on() -> None:
    if _end is not None and _end.is_set():
        raise _Ended
