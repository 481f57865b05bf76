"""One controller that many runs learn into, one after the other or at the same time.

A run begins with what the file knows, learns for itself, and adds at its end what it has learnt. Its folder
keeps how it began and how it ended, so a run that is gone on with begins as it began, whatever others have
added since, and is added once.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.loop.controller import ThompsonController

_BEGUN = "controller-begun.json"
_ENDED = "controller.json"


class SharedController:
    """The state in ``path``, which need not be there yet; a lock lies beside it.

    Methods raise BadInput for a file that is no controller's state, and OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def known(self) -> ThompsonController:
        """What runs have learnt by now."""
        return ThompsonController.load(self._path) if self._path.exists() else ThompsonController()

    def begin(self, run_dir: Path) -> ThompsonController:
        """For the run of this folder, which exists: as it began, if it did."""
        kept = run_dir / _BEGUN
        if not kept.exists():
            self.known().save(kept)
        return ThompsonController.load(kept)

    def add(self, run_dir: Path, run_id: str, ended: ThompsonController) -> None:
        """Add what the run has learnt since it began; nothing happens the second time."""
        ended.save(run_dir / _ENDED)
        with self._locked():
            self.known().with_run(run_id, ThompsonController.load(run_dir / _BEGUN), ended).save(self._path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Waits for whoever is adding."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_name(f"{self._path.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
