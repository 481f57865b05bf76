"""The process of an entry point critic: ``python -m runner.critics.serve_entry_point NAME SOCKET``.

It is asked through the socket, a JSON object each, until that is closed. What the critic prints goes to
standard error, as its answer is no part of it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from runner.critics.entry_point import GROUP


def main() -> None:
    """Load the critic, then answer until nobody asks any more."""
    name, descriptor = sys.argv[1], int(sys.argv[2])
    os.set_inheritable(descriptor, False)
    line = Connection(descriptor)
    threading.Thread(target=_end_with_the_caller, args=(descriptor,), daemon=True).start()
    judge: Callable[..., Any] | None = None
    while True:
        try:
            request = json.loads(line.recv_bytes())
        except EOFError:
            return
        try:
            if judge is None:
                (entry_point,) = entry_points(group=GROUP, name=name)
                judge = entry_point.load()()
            said = judge(Path(request["video"]), prompt=request["prompt"], goal=request["goal"])
            if not isinstance(said, Mapping):
                raise TypeError(f"it returned a {type(said).__name__}; expected scores by failure mode")
            scores = {str(mode): value for mode, value in said.items()}
            if len(scores) < len(said):
                raise ValueError(f"it returned two scores of one name, among {', '.join(map(str, said))}")
            answer = json.dumps({"said": scores}, default=float)
        except Exception as error:
            traceback.print_exc()
            answer = json.dumps({"error": f"{type(error).__name__}: {error}"})
        line.send_bytes(answer.encode())


def _end_with_the_caller(descriptor: int) -> None:
    """One that was killed has closed the socket, and could not end what is still at work for it."""
    socket = select.poll()
    socket.register(descriptor, 0)  # that it was closed is told in any case
    socket.poll()
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
