"""Writes a process's metrics to a file for the textfile collector of Prometheus' node_exporter."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.errors import BadInput
from streams.files import write_atomically
from streams.metrics.instruments import Instruments

log = logging.getLogger(__name__)

SUFFIX = ".prom"
"""node_exporter reads no other files."""
_EVERY_S = 15.0


@contextmanager
def writing_metrics(instruments: Instruments, path: Path | None, every_s: float = _EVERY_S) -> Iterator[None]:
    """Write the file at once, every ``every_s`` seconds and at the end; nothing if ``path`` is None.

    Process metrics are left out: node_exporter uses the same names for its own. A file that cannot be written
    raises BadInput at the start; later it is logged once, until it can be written again.
    """
    if path is None:
        yield
        return
    if path.suffix != SUFFIX:
        raise BadInput(f"{path}: node_exporter reads only files named *{SUFFIX}; give such a name")
    try:
        _write(instruments, path)
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be written: {error.strerror}; choose another --metrics-file"
        ) from None
    ending = threading.Event()
    thread = threading.Thread(
        target=_write_on, args=(instruments, path, every_s, ending), name="metrics-file", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def _write_on(instruments: Instruments, path: Path, every_s: float, ending: threading.Event) -> None:
    failed = is_last = False
    while not is_last:
        is_last = ending.wait(every_s)
        try:
            _write(instruments, path)
        except OSError as error:
            if not failed:
                log.warning("%s: the metrics cannot be written: %s", path, error.strerror)
            failed = True
        else:
            failed = False


def _write(instruments: Instruments, path: Path) -> None:
    write_atomically(path, instruments.text(with_process=False))
