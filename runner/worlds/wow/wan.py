"""WoW's models on Wan2.1: one process per GPU loads a model once and serves requests."""

from __future__ import annotations

import contextlib
import io
import json
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from runner.interfaces import GenerationRequest
from runner.worlds.group_lock import note_group
from runner.worlds.process import LOCK_NAME, LOG_NAME, Listener, ProcessGroups
from runner.worlds.wow import wan_driver
from runner.worlds.wow.names import ModelName
from runner.worlds.wow.settings import WowSettings
from runner.worlds.wow.wan_weights import TRANSFORMER_FILES
from runner.worlds.wow.world import VIDEO_NAME, Made, WowWorld, making_folders, taken
from streams.errors import BadInput
from streams.files import disk_is_full

DRIVER = Path(wan_driver.__file__)
_READ_BYTES = 1 << 16
_ENDS_WITHIN_S = 2.0


class Wan(WowWorld):
    """Uses ``wan_driver.py``, which keeps running between candidates, and is restarted if it has ended.

    The time-out applies to the loading and to each generation separately.
    """

    reserved: ClassVar[frozenset[str]] = frozenset({"--device", "--transformer", "--widen"})
    options: ClassVar[Mapping[str, str]] = {
        "persistent_gb": "--persistent-gb",
        "frames": "--num-frames",
        "steps": "--steps",
        "tiled": "--no-tiles",
    }
    frame_step: ClassVar[int] = 4
    driver_options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: WowSettings) -> None:
        super().__init__(settings)
        checkout = settings.checkout
        weights = checkout.wan_weights(self.model)
        command = [
            *(settings.python, str(DRIVER), "--diffsynth", str(checkout.diffsynth)),
            *("--base-model", str(weights.base), "--checkpoint", str(weights.checkpoint)),
            *("--transformer", ",".join(TRANSFORMER_FILES[self.model])),
            *("--sharing", str(settings.sharing)),
            *self.driver_options,
            *self.chosen(),
            *([] if settings.tiled in (None, True) else ["--no-tiles"]),
            *settings.extra,
        ]
        _require_arguments(command[2:])
        self._drivers = {
            gpu: WanDriver(
                command, checkout.repo, self.environment(gpu), self.groups, timeout_s=settings.timeout_s
            )
            for gpu in settings.slots
        }

    def close(self) -> None:
        super().close()
        for driver in self._drivers.values():
            driver.close()

    def jobs(self, requests: Sequence[GenerationRequest]) -> list[list[int]]:
        return [[place] for place in range(len(requests))]

    def make(self, requests: Sequence[GenerationRequest], gpu: str | None) -> list[Made]:
        return [self._make(request, self._drivers[gpu]) for request in requests]

    def _make(self, request: GenerationRequest, driver: WanDriver) -> Made:
        out_dir = Path(os.path.abspath(request.out_dir))
        with making_folders([request]) as (folder,):
            video = folder / VIDEO_NAME
            ending = driver.generate(
                prompt=request.prompt,
                seed=request.seed,
                image=self.settings.image,
                video=video,
                log=out_dir / LOG_NAME,
                lock=out_dir / LOCK_NAME,
                listener=self.listener(request),
            )
            return taken(video, request, ending)


class Wan14B(Wan):
    """WoW's model on Wan's image-to-video model."""

    model: ClassVar[ModelName] = "wan-14b"


class Wan1B3(Wan):
    """WoW's model on Wan's text-to-video model, which WoW has trained to take a first frame."""

    model: ClassVar[ModelName] = "wan-1.3b"
    driver_options: ClassVar[tuple[str, ...]] = ("--widen",)


def _require_arguments(given: Sequence[str]) -> None:
    """Raises BadInput for arguments that the driver would refuse, before it is started."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            wan_driver.arguments(given)
    except SystemExit:
        # Without "error", it was asked for its help.
        why = said.getvalue().rpartition("error: ")[2]
        raise BadInput(f"--wow-extra-args: {' '.join(why.split())}") from None


class WanDriver:
    """One driver process, started by the first request."""

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        groups: ProcessGroups,
        *,
        timeout_s: float,
    ) -> None:
        self._command = command
        self._cwd = cwd
        self._environment = environment
        self._groups = groups
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._last_id = 0
        self._busy = threading.Lock()

    def generate(
        self,
        *,
        prompt: str,
        seed: int,
        image: Path,
        video: Path,
        log: Path,
        lock: Path,
        listener: Listener | None,
    ) -> str:
        """Have one video made. Returns how that failed, or an empty string. Raises Stopped.

        The driver holds ``lock``, if the file exists, while it works on this video.
        """
        files = {"image": str(image), "video": str(video), "log": str(log), "lock": str(lock)}
        log.write_bytes(b"")
        with self._busy:
            try:
                if problem := self._ensure_started(log, lock, listener):
                    return problem
                assert self._process is not None
                note_group(lock, self._process.pid)
                self._last_id += 1
                self._send({"id": self._last_id, "prompt": prompt, "seed": seed, **files})
                return self._outcome(self._last_id, listener)
            except TimeoutError:
                self._end()
                return f"was stopped after {self._timeout_s:g} s"
            except BaseException:
                self._end()
                raise

    def _ensure_started(self, log: Path, lock: Path, listener: Listener | None) -> str:
        if self._process is not None and self._process.poll() is None:
            return ""
        self._end()
        if listener is not None:
            listener("loading the model")
        with log.open("wb") as output:
            try:
                self._process = self._groups.start(
                    self._command,
                    locks=[lock],  # while loading; later the driver takes each request's lock itself
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    cwd=self._cwd,
                    env=self._environment,
                )
            except OSError as error:
                if disk_is_full(error):
                    raise
                return f"could not be started: {error}"
        return self._outcome(None, listener)

    def _outcome(self, of: int | None, listener: Listener | None) -> str:
        """Wait until the driver is ready (``of`` None) or a request is done. Returns the failure, if any."""
        deadline = time.monotonic() + self._timeout_s
        while (message := self._next(deadline)) is not None:
            kind = message["type"]
            if kind in ("ready", "done") and message.get("id") == of:
                return ""
            if kind == "failed" and message["id"] == of:
                if message["ends"]:
                    self._end()
                return f"failed: {' '.join(str(message['why']).split())}"
            if kind == "progress" and listener is not None:
                listener(f"step {message['step']} of {message['steps']}")
        status = self._end(ends_itself=True)
        return f"ended with status {status}"

    def _send(self, request: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        # If the driver has ended meanwhile, the end of its messages shows it.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def _next(self, deadline: float) -> dict[str, Any] | None:
        """The next message; None if the driver has ended. Raises TimeoutError."""
        assert self._process is not None
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                read = os.read(self._process.stdout.fileno(), _READ_BYTES)
                if not read:
                    return None
                self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """End the driver. A caller waiting for an answer sees it end, and cleans up."""
        if self._busy.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._busy.release()

    def _end(self, *, ends_itself: bool = False) -> int | None:
        """Kill the driver if it is still running. Returns its exit status."""
        process, self._process, self._buffer = self._process, None, b""
        if process is None:
            return None
        status = process.poll()
        if status is None:
            # If its messages have ended, it is exiting with a status of its own.
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(_ENDS_WITHIN_S if ends_itself else 0.0)
        self._groups.end(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return process.returncode if status is None else status
