"""Runs the user's training command, one process at a time, even if the caller was killed and restarted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runner.worlds.group_lock import end_left_behind
from runner.worlds.process import Listener, ProcessGroups, interruptibly, log_tail, run_to_end

LOG = "training.log"
_LOCK = "training.lock"


class TrainingFailed(Exception):
    """A training made no checkpoint; the message says why. Trying again may help."""


def run_training(
    arguments: Sequence[str], folder: Path, out: Path, *, timeout_s: float, listener: Listener | None
) -> None:
    """Run a training to its end, which must fill ``out``. Its output goes to ``LOG`` in ``folder``.

    The process and its children are killed on every way out. A process that a killed caller left behind is
    ended first. Raises TrainingFailed if it cannot start, fails, runs out of time or leaves nothing, and
    BadInput if that process is on another machine or does not end.
    """
    groups, lock = ProcessGroups(), folder / _LOCK
    end_left_behind(lock)
    lock.touch()

    def run() -> str:
        return run_to_end(
            arguments,
            folder / LOG,
            timeout_s=timeout_s,
            groups=groups,
            listener=listener,
            locks=(lock,),
        )

    ending = interruptibly(groups, run)
    if not ending and not any(out.iterdir()):
        ending = "left nothing in {out}"
    if ending:
        raise TrainingFailed(f"{folder / LOG}: the training {ending}; {log_tail(folder / LOG)}")
