"""The videos and stills in a report that is to be sent: as many as fit, and links to the others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from streams.messages.contracts import TraceEvent
from tribrain.figures.templates import data_uri
from tribrain.story.steps import Film
from tribrain.story.stills import Stills, stills_of
from tribrain.story.traced_run import TracedRun

MOST_VIDEO_BYTES = 12_000_000
"""Bytes of all videos in a report together; they take a third more as text. With everything else in it, the
report can still be sent by mail."""
_MEDIA_TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg", ".mov": "video/quicktime"}
"""Types of the files that browsers may play; others are linked. Computers' own tables of types differ."""


Name = tuple[Path, str, int]
"""Folder, run id and iteration of a video; the folder, because a run may have a copy."""


@dataclass(frozen=True, slots=True)
class Place:
    """The file of an iteration's video."""

    path: Path
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Album:
    """The videos of a report's runs; ``held`` are in the file."""

    folder: Path
    places: Mapping[Name, Place]
    held: frozenset[Name]
    pool: ThreadPoolExecutor
    stills: dict[Name, Stills | None] = field(default_factory=dict)

    def has_video(self, run: TracedRun) -> bool:
        return any(self.is_there(run, event) for event in run.events)

    def is_there(self, run: TracedRun, event: TraceEvent) -> bool:
        return _name(run, event) in self.places

    def is_held(self, run: TracedRun, event: TraceEvent) -> bool:
        return _name(run, event) in self.held

    def look_at(self, run: TracedRun, events: Iterable[TraceEvent]) -> None:
        """Make stills of these videos, several at a time: decoding releases the interpreter lock."""
        names = [_name(run, event) for event in events]
        new = [name for name in names if name in self.places and name not in self.stills]
        found = self.pool.map(stills_of, (self.places[name].path for name in new))
        self.stills.update(zip(new, found, strict=True))

    def first_frame(self, run: TracedRun, event: TraceEvent) -> Film:
        stills = self.stills.get(_name(run, event))
        return Film(poster=_image(stills.first)) if stills else Film()

    def still(self, run: TracedRun, event: TraceEvent) -> Film:
        stills = self.stills.get(_name(run, event))
        return Film(poster=_image(stills.telling)) if stills else Film()

    def film(self, run: TracedRun, event: TraceEvent) -> Film:
        """The video: played in the page if the report holds it, else a link to its file beside the report."""
        name = _name(run, event)
        place, poster = self.places.get(name), self.still(run, event).poster
        if place is None:
            return Film()
        if name in self.held:
            return Film(src=data_uri(place.path.read_bytes(), _media_type(place.path)), poster=poster)
        link = quote(os.fsencode(place.path.relative_to(self.folder.resolve())))
        return Film(poster=poster, link=link, words=f"Open the video ({size_text(place.size)})")


@contextmanager
def album(folder: Path, runs: Sequence[TracedRun]) -> Iterator[Album]:
    """The album of a report in ``folder``: the best video of each run, then the others, while they fit."""
    places: dict[Name, Place] = {}
    for run in runs:
        for event in run.events:
            path = run.video(event)
            if path is not None and path.is_relative_to(folder.resolve()):
                places[_name(run, event)] = Place(path, path.stat().st_size)
    best = [_name(run, run.best) for run in runs if run.best is not None]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield Album(folder=folder, places=places, held=_that_fit(places, best), pool=pool)


def _name(run: TracedRun, event: TraceEvent) -> Name:
    return run.folder, run.run_id, event.iter_idx


def _that_fit(places: Mapping[Name, Place], best: Sequence[Name]) -> frozenset[Name]:
    """The videos that fit; one that is too large does not keep out those after it."""
    held, room = set(), MOST_VIDEO_BYTES
    for name in dict.fromkeys((*best, *places)):
        place = places.get(name)
        if place is not None and place.size <= room and _media_type(place.path):
            room -= place.size
            held.add(name)
    return frozenset(held)


def size_text(n_bytes: int) -> str:
    """The size for people, in units of 1,000 bytes."""
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{max(1, round(n_bytes / 1e3))} kB"


def _media_type(path: Path) -> str:
    return _MEDIA_TYPES.get(path.suffix.lower(), "")


def _image(webp: bytes) -> str:
    return data_uri(webp, "image/webp")
