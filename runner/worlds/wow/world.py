"""Shared by WoW's models: work for each GPU, and videos that count only if they are complete."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from copy import copy
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import ClassVar, Self

from runner.interfaces import FailuresInARow, Generation, GenerationFailed, GenerationRequest
from runner.video import read_video, require_whole
from runner.worlds.process import LOG_NAME, Listener, ProcessGroups, Stopped, awaited, log_tail
from runner.worlds.wow.checkout import require
from runner.worlds.wow.first_frame import image_problem
from runner.worlds.wow.names import ModelName
from runner.worlds.wow.settings import WowSettings, refuse_reserved
from streams.errors import BadInput

VIDEO_NAME = "video.mp4"
LARGEST_SEED = 2**32 - 1
"""NumPy's limit; WoW's programs pass the seed to NumPy."""
_OF_A_KILLED_PROCESS = "was at work for a process that was ended"

Made = Generation | GenerationFailed


class WowWorld(ABC):
    """A model of WoW. Its generators are processes, which ``close`` and every way out of a call end.

    Only the file counts, because WoW's programs can end with exit status 0 and no video. A video that decodes
    to its end is a candidate, whatever the exit status or a time-out says (``meta`` records that). Anything
    else is a failure. A video is made in its own folder beside the candidate's other files, and is moved only
    when it is known to be complete. So it is recognised even if this process was killed in between
    (``runner.worlds.kept``).

    Raises BadInput, naming all that is missing, before anything is generated.
    """

    model: ClassVar[ModelName]
    reserved: ClassVar[frozenset[str]]
    """Options of the generator that differ between candidates."""
    options: ClassVar[Mapping[str, str]] = {}
    """This model's share of the optional settings, and their names in its generator."""
    frame_step: ClassVar[int] = 1
    """The number of frames is one more than a multiple of this …"""
    most_frames: ClassVar[int | None] = None
    """… and at most this."""

    def __init__(self, settings: WowSettings) -> None:
        refuse_reserved(settings.extra, self.reserved)
        self._check_options(settings)
        require(
            settings.checkout,
            self.model,
            image=settings.image,
            python=settings.python,
            extra=settings.extra,
        )
        self.name = f"wow-{self.model}"
        self.settings = settings
        self.groups = ProcessGroups()

    def _check_options(self, settings: WowSettings) -> None:
        for name in settings.chosen():
            flag = "--" + name.replace("_", "-")
            if name not in self.options:
                raise BadInput(f"{flag} does not apply to WoW's {self.model}; leave it out")
            if self.options[name] in {argument.partition("=")[0] for argument in settings.extra}:
                raise BadInput(
                    f"--wow-extra-args has {self.options[name]}, which {flag} also sets; give one of them"
                )
        frames, step, most = settings.frames, self.frame_step, self.most_frames
        if frames is None or (frames % step == 1 and (most is None or frames <= most)):
            return
        below = (min(frames, most or frames) - 1) // step * step + 1
        near = f"{below}" if most is not None and below + step > most else f"{below} or {below + step}"
        raise BadInput(
            f"--frames is {frames}; WoW's {self.model} makes one more than a multiple of {step}"
            f"{f', up to {most}' if most is not None else ''}: give {near}"
        )

    def chosen(self) -> list[str]:
        """The numeric options among these as the generator's arguments."""
        return [
            f"{self.options[name]}={value}"
            for name, value in self.settings.chosen().items()
            if not isinstance(value, bool)
        ]

    @abstractmethod
    def jobs(self, requests: Sequence[GenerationRequest]) -> list[list[int]]:
        """Groups the requests by index; one GPU makes each group."""

    @abstractmethod
    def make(self, requests: Sequence[GenerationRequest], gpu: str | None) -> list[Made]:
        """Makes the videos of one job; runs in a thread, in parallel with jobs on other GPUs.

        The results may be fewer than the requests if the program was cut short at the last of them; the rest
        is asked for again.
        """

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        """Make one video. Raises GenerationFailed, with the end of the generator's log."""
        (made,) = self.generate_all([GenerationRequest(prompt=prompt, seed=seed, out_dir=out_dir)])
        if isinstance(made, GenerationFailed):
            raise made
        return made

    def generate_all(
        self, requests: Sequence[GenerationRequest], *, failures: FailuresInARow | None = None
    ) -> list[Made]:
        """Make several videos, as many at a time as there are GPUs; those under way count as begun.

        Ctrl-C, and any error that is not a candidate's own, ends every process and closes the world. Raises
        BadInput for a seed that WoW's programs do not accept.
        """
        for request in requests:
            if not 0 <= request.seed <= LARGEST_SEED:
                raise BadInput(
                    f"the seed is {request.seed}; WoW takes whole numbers from 0 to {LARGEST_SEED}"
                )
        free: SimpleQueue[str | None] = SimpleQueue()
        for slot in self.settings.slots:
            free.put(slot)

        counted = failures or FailuresInARow()

        def work(places: list[int]) -> list[Made]:
            gpu, done = free.get(), list[Made]()
            try:
                while left := places[len(done) :]:
                    if (refusal := counted.refusal()) is not None:
                        return done + [refusal] * len(left)
                    results = self.make([requests[place] for place in left], gpu)
                    counted.add(results)
                    done += results
                return done
            except Stopped:
                return done + [GenerationFailed("the generator was ended")] * (len(places) - len(done))
            finally:
                free.put(gpu)

        jobs = self.jobs(requests)
        made: dict[int, Made] = {}
        # Uses threads even for one job: signals reach only the main thread, so none can come between the
        # start of a process and its registration.
        with ThreadPoolExecutor(len(self.settings.slots), thread_name_prefix=self.name) as pool:
            try:
                under_way = [pool.submit(work, places) for places in jobs]
                for places, future in zip(jobs, under_way, strict=True):
                    results = awaited(future)
                    made.update(zip(places, results, strict=True))
            except BaseException:
                self.groups.stop()
                raise
        return [made[place] for place in range(len(requests))]

    def recovered(self, request: GenerationRequest) -> Generation | None:
        """The video that was made for a killed process, whose generator's end is unknown.

        A video that was still being written does not count, nor does a container that does not show this.
        """
        log, video = request.out_dir / LOG_NAME, request.out_dir / VIDEO_NAME
        if log.is_symlink():
            _copy(log.resolve(), log)
        made = video if video.is_file() else _making_folder(request) / VIDEO_NAME
        try:
            require_whole(made)
        except GenerationFailed:
            return None
        made.replace(video)
        shutil.rmtree(_making_folder(request), ignore_errors=True)
        return Generation(video=video, meta={"generator_log": LOG_NAME, "ending": _OF_A_KILLED_PROCESS})

    def with_image(self, image: Path) -> Self:
        """This world with another first frame; both share the running processes. Raises BadInput."""
        if problem := image_problem(self.model, image):
            raise BadInput(f"WoW's {self.model} cannot run: {problem}")
        other = copy(self)
        other.settings = replace(self.settings, image=image)
        return other

    def close(self) -> None:
        """End every process; nothing can be generated afterwards."""
        self.groups.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def environment(self, gpu: str | None) -> dict[str, str]:
        return self.settings.checkout.environment(self.model, self.settings.python, gpu, os.environ)

    def listener(self, request: GenerationRequest) -> Listener | None:
        heard = self.settings.listener
        return None if heard is None else lambda line: heard(request.out_dir, line)


@contextmanager
def making_folders(requests: Sequence[GenerationRequest]) -> Iterator[list[Path]]:
    """A temporary folder per generation, inside the candidate's and so on its disk; absolute paths.

    Recovery after a kill finds the folders by their names.
    """
    folders = [_making_folder(request) for request in requests]
    with ExitStack() as stack:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folders


def taken(made: Path, request: GenerationRequest, ending: str) -> Made:
    """The video at ``made`` as the candidate's, if it is complete; ``ending`` is how the program failed."""
    how = f"the generator {ending or 'ended'}"
    log = request.out_dir / LOG_NAME
    if not made.is_file():
        return GenerationFailed(f"{how} and left no video; {log_tail(log)}")
    if made.stat().st_size == 0:
        return GenerationFailed(f"{how} and left an empty file; {log_tail(log)}")
    try:
        # A program that was ended may have been writing.
        require_whole(made) if ending else read_video(made)
    except GenerationFailed as error:
        return GenerationFailed(f"{how} and left no whole video: {error}; {log_tail(log)}")
    video = request.out_dir / VIDEO_NAME
    made.replace(video)
    return Generation(video=video, meta={"generator_log": LOG_NAME, **({"ending": ending} if ending else {})})


@contextmanager
def log_for_all(requests: Sequence[GenerationRequest]) -> Iterator[Path]:
    """The log of a process that makes several videos: in the first candidate's folder, and linked in each.

    The links become copies when the process has ended.
    """
    log, *others = [Path(os.path.abspath(request.out_dir)) / LOG_NAME for request in requests]
    for other in others:
        other.unlink(missing_ok=True)
        with suppress(OSError):  # on a file system without links
            other.symlink_to(os.path.relpath(log, other.parent))
    try:
        yield log
    finally:
        for other in others:
            _copy(log, other)


def _making_folder(request: GenerationRequest) -> Path:
    return Path(os.path.abspath(request.out_dir)) / ".making"


def _copy(log: Path, to: Path) -> None:
    """Copies the file even if ``to`` is a link to ``log``."""
    if log.exists():
        beside = to.with_name(f".{to.name}.tmp")
        shutil.copyfile(log, beside)
        beside.replace(to)
    else:
        to.unlink(missing_ok=True)
