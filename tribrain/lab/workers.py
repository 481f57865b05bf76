"""Computes the missing parts of an experiment on several processes, each a seed at a time."""

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
from typing import TypeVar

import click
import cv2
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tribrain.lab.folder import ExperimentFolder
from tribrain.shell.output import ProgressLines, progress

_POLL_S = 0.25

Result = TypeVar("Result")
SeedRun = Callable[[int], Callable[[str], Result]]
"""Function from a seed to one that computes a part of it. It is sent to other processes."""


def compute(
    folder: ExperimentFolder[Result],
    run: SeedRun[Result],
    seeds: Sequence[int],
    parts: Sequence[str],
    processes: int | None,
    shown_as: str,
    *,
    says_lines: bool = False,
) -> None:
    """Compute every missing part of every seed into the folder.

    Progress is a bar on a terminal, else lines if ``says_lines``. The results do not depend on ``processes``,
    by default one per core. Each may be ended at any moment, as files are whole or absent.
    """
    with progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ) as shown:
        total = len(seeds) * len(parts)
        bar = shown.add_task(shown_as, total=total)
        lines = ProgressLines(shown_as)

        def show(done: int) -> None:
            shown.update(bar, completed=done)
            if says_lines:
                lines.look(done, total)

        show(folder.finished(seeds, parts))
        _compute(folder, run, seeds, parts, processes or _cores(), show)


def _cores() -> int:
    """Number of cores that this process may use, where the system reports it; else of all cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _compute(
    folder: ExperimentFolder[Result],
    run: SeedRun[Result],
    seeds: Sequence[int],
    parts: Sequence[str],
    processes: int,
    on_progress: Callable[[int], None],
) -> None:
    units = [(seed, part) for seed in seeds for part in parts]
    missing = {seed: [part for part in parts if not folder.is_finished((seed, part))] for seed in seeds}
    # Never by fork: a copy of a process that has threads may hang.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        with _interrupts_blocked():
            pending: set[Future[None]] = {
                pool.submit(_run_seed, folder, run, seed, wanted)
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
        click.echo("tribrain: a process was killed; run the same command again to continue", err=True)
        raise click.exceptions.Exit(1) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block interrupts: processes started in here never get one, and the command gets it afterwards.

    A terminal's Ctrl-C reaches every process, but the command ends its own.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Set up a worker, which ends with the command: one thread for OpenCV, as each core has a process."""
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_the_command, daemon=True).start()


def _end_with_the_command() -> None:
    """Exit when the command has ended: if it is killed, it cannot stop its workers."""
    command = multiprocessing.parent_process()
    if command is not None:
        wait_for([command.sentinel])
        os._exit(1)


def _run_seed(
    folder: ExperimentFolder[Result], run: SeedRun[Result], seed: int, parts: Sequence[str]
) -> None:
    compute_part = run(seed)
    for part in parts:
        folder.write((seed, part), compute_part(part))
