"""Starts the peers' programs, each in the environment that has it, and reads what they found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.learning_peers import OWN

_ROOT = Path(__file__).parents[3]
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Job:
    """Several files for one program."""

    name: str
    task: str
    sources: Sequence[Path]
    targets: Sequence[Path]


@dataclass(frozen=True, slots=True)
class Programs:
    """How they are started."""

    peers_python: Path
    """The Python that has the peers; TriBrain's own learners run under this one."""
    at_once: int = os.cpu_count() or 1
    """Programs at a time, of one thread each."""

    def run(self, jobs: Iterable[Job], done: Callable[[Job], None] = lambda _: None) -> None:
        """Those of which a target is missing. Raises CalledProcessError with its words where one fails."""

        def work(job: Job) -> None:
            self._run_one(job)
            done(job)

        with ThreadPoolExecutor(self.at_once) as pool:
            missing = (job for job in jobs if not all(target.exists() for target in job.targets))
            list(pool.map(work, missing))

    def _run_one(self, job: Job) -> None:
        python = Path(sys.executable) if job.name in OWN else self.peers_python
        files = [",".join(map(str, paths)) for paths in (job.sources, job.targets)]
        command = [str(python), "-m", "tests.bench.learning_peers.run", job.name, job.task, *files]
        ended = subprocess.run(
            command, cwd=_ROOT, env=os.environ | _ONE_THREAD, check=False, capture_output=True, text=True
        )
        if ended.returncode:
            raise subprocess.CalledProcessError(ended.returncode, command, ended.stdout, ended.stderr[-2000:])


def arrays_of(path: Path) -> dict[str, Any]:
    """What a ``predict`` wrote."""
    with np.load(path) as file:
        return dict(file)


def numbers_of(path: Path) -> dict[str, float]:
    """What any other task wrote."""
    found: dict[str, float] = json.loads(path.read_text())
    return found
