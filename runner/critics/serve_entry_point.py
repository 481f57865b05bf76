"""The process of an entry point critic: ``python -m runner.critics.serve_entry_point NAME SOCKET``.

Requests come through the socket, one JSON object each, until it closes. What the critic prints goes to
standard error, apart from its answers.
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
    """Load the critic, then answer requests until the socket closes."""
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
                raise ValueError(f"it returned two scores with one name, among {', '.join(map(str, said))}")
            answer = json.dumps({"said": scores}, default=float)
        except Exception as error:
            traceback.print_exc()
            answer = json.dumps({"error": f"{type(error).__name__}: {error}"})
        line.send_bytes(answer.encode())


def _end_with_the_caller(descriptor: int) -> None:
    """End this process group once the caller has closed the socket, because a killed caller cannot do so."""
    socket = select.poll()
    socket.register(descriptor, 0)  # poll always reports that it was closed
    socket.poll()
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
