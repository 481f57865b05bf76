"""One controller that many runs update, one after the other or at the same time.

A run starts from the state in the file, learns on its own, and adds at its end what it has learnt. Its folder
keeps its starting state, so a resumed run starts from the same one, whatever others have added since.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.loop.controller import ThompsonController
from streams.errors import BadInput

BEGUN = "controller_begun.json"
ADDED = "controller_added.json"
"""The run's state when it was last added, if it was."""
_ENDED = "controller.json"


class SharedController:
    """The state in ``path``, which need not exist yet, with a lock file beside it.

    Without a path every run starts from the prior, and its folder gets what it has learnt. Methods raise
    BadInput for a file that is not a controller's state or cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def known(self) -> ThompsonController:
        """The state that runs have learnt so far."""
        if self._path is None or not self._path.exists():
            return ThompsonController()
        return ThompsonController.load(self._path)

    def require_writable(self) -> None:
        """Check before a run that what it learns can be stored at its end. Makes the lock file."""
        if self._path is not None:
            with _locked(self._path):
                pass

    def start_from(self, state: Path | None) -> None:
        """Start from ``state``, unless the file already has one."""
        if state is not None and self._path is not None:
            with _locked(self._path):
                if not self._path.exists():
                    _save(ThompsonController.load(state), self._path)

    def begin(self, run_dir: Path, *, anew: bool = False) -> ThompsonController:
        """The starting state for the run in this existing folder: its earlier one, unless ``anew``."""
        kept = run_dir / BEGUN
        if anew:
            for path in (run_dir / ADDED, kept):
                path.unlink(missing_ok=True)
        if not kept.exists():
            _save(self.known(), kept)
        return ThompsonController.load(kept)

    def add(self, run_dir: Path, run_id: str, ended: ThompsonController) -> None:
        """Add what the run has learnt since it started or was last added; nothing is added twice."""
        if self._path is None:
            _save(ended, run_dir / _ENDED)
            return
        begun, added = ThompsonController.load(run_dir / BEGUN), run_dir / ADDED
        before = ThompsonController.load(added) if added.exists() else begun
        with _locked(self._path):
            known = self.known()
            if known.added_of(run_id) == before.rounds - begun.rounds:
                _save(known.plus(run_id, before, ended), self._path)
        _save(ended, added)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Waits for other processes that are adding to the file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock").open("ab")
    except OSError as error:
        raise _cannot_write(path, error) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise BadInput(
                f"{path}: its file system has no locks ({error.strerror}); choose another --controller"
            ) from None
        yield


def _save(controller: ThompsonController, path: Path) -> None:
    try:
        controller.save(path)
    except OSError as error:
        raise _cannot_write(path, error) from None


def _cannot_write(path: Path, error: OSError) -> BadInput:
    return BadInput(f"{path}: cannot be written: {error.strerror}; choose another --controller or --out")
