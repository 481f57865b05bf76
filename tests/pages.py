"""``tribrain ui`` as a process of its own, over small runs whose films tell them apart by colour."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from runner.video import write_video
from streams.kafka.settings import BOOTSTRAP_SERVERS_VARIABLE, TOPIC_PREFIX_VARIABLE, Settings
from streams.messages.codec import encode
from streams.messages.contracts import TraceEvent
from tests import factories
from tests.services import Service
from tests.waiting import wait_until

FPS = 12.0
_START_S = 60.0
_END_S = 60.0
_SIDE = 32


@dataclass(slots=True)
class PageServer:
    """A running page; ``start`` again on the same port after it was ended."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    port: int
    process: Service | None = field(default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, **environment: str) -> None:
        self.process = Service(self.arguments, {**self.environment, **environment}, None)
        process = self.process
        wait_until(lambda: self.answers() or process.poll() is not None, _START_S)
        assert process.poll() is None, process.said

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(_END_S)

    def answers(self) -> bool:
        try:
            self.request("GET", "/static/icon.svg")
        except OSError:
            return False
        return True

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by lower-case name, and body; the path goes out as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.putrequest(method, path, skip_host="Host" in (headers or {}))
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()


@contextmanager
def page_server(
    folder: Path, *options: str, settings: Settings | None = None, **environment: str
) -> Iterator[PageServer]:
    """The page over the runs in ``folder/runs``, all that it keeps in ``folder``, until the block is left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"PATH": "", "XDG_CACHE_HOME": str(folder / "cache"), "XDG_STATE_HOME": str(folder / "state")}
    if settings is not None:
        own |= {
            BOOTSTRAP_SERVERS_VARIABLE: settings.bootstrap_servers,
            TOPIC_PREFIX_VARIABLE: settings.topic_prefix,
        }
    arguments = ("ui", "--runs", str(folder / "runs"), "--port", str(port), *options)
    server = PageServer(arguments, own, port)
    server.start(**environment)
    try:
        yield server
    finally:
        server.stop()


def colour_of(run: int, iteration: int) -> tuple[int, int, int]:
    """Far from every other one, also after the encoder."""
    return 20 + 70 * (run % 3), 20 + 50 * iteration, 230 if run >= 3 else 30


def run_id(run: int) -> str:
    return f"secret-run-{run}"


def write_runs(
    folder: Path,
    *,
    runs: int = 2,
    iterations: int = 3,
    frames: Sequence[int] = (12,),
    goal: str = "put the cup on the shelf",
    prompt: str = "a secret prompt",
    task: str = "secret-task",
    critics: Callable[[int, int], Mapping[str, float]] | None = None,
) -> None:
    """Runs of one task (or of ``"task-{run}"``, or of the three ``"task-{third}"``).

    The films of the first six have a colour each, and one of the lengths. ``critics`` are the scores of a run
    and an iteration.
    """
    for run in range(runs):
        place = folder / "runs" / f"secret-folder-{run}"
        events = [
            _event(run, i, goal, f"{prompt} {i}", task, critics(run, i) if critics else None)
            for i in range(iterations)
        ]
        for event in events:
            length = frames[(run * iterations + event.iter_idx) % len(frames)]
            pixels = np.empty((length, _SIDE, _SIDE, 3), np.uint8)
            pixels[:] = colour_of(run, event.iter_idx)
            path = place / event.artifact_path
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, pixels, FPS)
        end = factories.run([0.5] * iterations, run_id(run))[-1]
        (place / "trace.jsonl").write_bytes(b"".join(encode(m) + b"\n" for m in (*events, end)))


def _event(
    run: int, iteration: int, goal: str, prompt: str, task: str, critics: Mapping[str, float] | None
) -> TraceEvent:
    event = factories.event(
        iteration,
        0.3 + 0.1 * iteration,
        run_id=run_id(run),
        critics=critics,
        context={"world_model": "secret-world"},
    )
    meta = event.meta | {"goal_instruction": goal, "candidate_context": {"arm": "secret-arm"}}
    if task:
        meta["task_id"] = task.format(run=run, third=run % 3)
    return replace(event, prompt=prompt, meta=meta)
