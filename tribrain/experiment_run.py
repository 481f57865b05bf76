"""Computes what is missing in an experiment's folder, on several processes, a seed at a time on each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for

import click
import cv2

from runner.experiment import SeedExperiment
from runner.experiment_plan import Condition, Plan
from tribrain.experiment_folder import ExperimentFolder

_POLL_S = 0.25


def compute(
    folder: ExperimentFolder,
    plan: Plan,
    seeds: Sequence[int],
    conditions: Sequence[Condition],
    processes: int,
    on_progress: Callable[[int], None],
) -> None:
    """Until every seed and condition is in the folder; ``on_progress`` is told how many of them are.

    The results do not depend on ``processes``. Each may be ended at any moment, as files are whole or absent.
    """
    units = [(seed, condition) for seed in seeds for condition in conditions]
    missing = {seed: [c for c in conditions if not folder.is_finished((seed, c))] for seed in seeds}
    # Never by fork: a copy of a process with threads of its own may hang.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        with _interrupts_blocked():
            pending: set[Future[None]] = {
                pool.submit(_run_seed, folder, plan, seed, wanted)
                for seed, wanted in missing.items()
                if wanted
            }
        while pending:
            done, pending = wait(pending, timeout=_POLL_S)
            for future in done:
                future.result()
            on_progress(sum(folder.is_finished(unit) for unit in units))
    except BaseException as error:
        for child in multiprocessing.active_children():
            child.terminate()
        if not isinstance(error, BrokenProcessPool):
            raise
        click.echo("tribrain: a process was killed; the same command goes on from here", err=True)
        raise click.exceptions.Exit(1) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A terminal's Ctrl-C reaches every process, but the command ends its own.

    Processes that are started in here never hear of it, and the command does afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """In each process: they are as many as the cores already, and end with the command."""
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_the_command, daemon=True).start()


def _end_with_the_command() -> None:
    """A command that was killed cannot say so."""
    command = multiprocessing.parent_process()
    if command is not None:
        wait_for([command.sentinel])
        os._exit(1)


def _run_seed(folder: ExperimentFolder, plan: Plan, seed: int, conditions: Sequence[Condition]) -> None:
    experiment = SeedExperiment(plan, seed)
    for condition in conditions:
        folder.write((seed, condition), experiment.run(condition))
