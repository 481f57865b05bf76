"""Parts of every report: a headline, figures, and its runs, each with its own story; one file of HTML."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from streams.messages.contracts import TraceEvent
from tribrain.figures.templates import LOOK, data_uri, environment
from tribrain.shell.output import write_output
from tribrain.story.album import Album, album
from tribrain.story.course import course, version_of
from tribrain.story.steps import Film, Step, steps, why_it_stopped
from tribrain.story.traced_run import TracedRun
from tribrain.story.typical import typical_run

NAME = "report.html"
MOST_STORY_CHARS = 15_000_000
"""Characters of all stories together, without videos. Runs beyond it keep their rows and best videos."""
MOST_ROWS = 2000
_MOST_TITLE_CHARS = 400
_MACROS = "story/report_macros.html.j2"
_SCRIPT, _STYLE = (Path(__file__).parent / name for name in ("runs.js", "report.css"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A run with its title in a report."""

    run: TracedRun
    title: str
    label: str
    """A text in small type beside the title."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number shown large, ``value``, with its name above and its meaning below."""

    what: str
    value: str
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenReport:
    """What was written, as ``tribrain report --json`` prints it."""

    report: str
    kind: str
    runs: int
    videos: int
    videos_in_file: int
    stories: int
    """Number of runs that are shown iteration by iteration."""
    bytes: int

    @property
    def path(self) -> Path:
        return Path(self.report)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A run in the list."""

    anchor: str
    told: Told
    poster: str
    story: Markup
    is_whole: bool
    """Whether it is shown iteration by iteration."""

    @property
    def run(self) -> TracedRun:
        return self.told.run


def write_report(
    folder: Path,
    kind: str,
    template: str,
    told: Sequence[Told],
    *,
    headline: str,
    lead: Sequence[str],
    figures: Sequence[Figure],
    notes: Sequence[str] = (),
    **values: Any,
) -> WrittenReport:
    """Write ``report.html`` into ``folder``, replacing an earlier one.

    ``template`` (its path in the package) extends ``story/report_page.html.j2``, and ``values`` are for it
    alone. All values are escaped as text. The same folder gives the same bytes. Raises BadInput where the
    report cannot be written.
    """
    templates = environment()
    listed = told[:MOST_ROWS]
    with album(folder, [each.run for each in listed]) as videos:
        rows = _rows(templates, listed, videos)
        html = templates.get_template(template).render(
            kind=kind,
            headline=headline,
            lead=lead,
            figures=figures,
            notes=notes,
            rows=rows,
            n_runs=len(told),
            most_title_chars=_MOST_TITLE_CHARS,
            n_whole=sum(row.is_whole for row in rows),
            n_videos=len(videos.places),
            n_held=len(videos.held),
            typical=typical_run([each.run for each in listed], videos),
            has_truth=any(row.run.truths for row in rows),
            has_model=any(_knew_a_model(row.run) for row in rows),
            has_film=any(row.poster for row in rows),
            style=Markup((LOOK / "look.css").read_text()),
            own_style=Markup(_STYLE.read_text()),  # a file of this package
            icon=data_uri((LOOK / "icon.svg").read_bytes(), "image/svg+xml"),
            **_script(),
            **values,
        )
    content = html.encode(errors="replace")
    write_output(folder / NAME, content)
    return WrittenReport(
        report=str(folder / NAME),
        kind=kind,
        runs=len(told),
        videos=len(videos.places),
        videos_in_file=len(videos.held),
        stories=sum(row.is_whole for row in rows),
        bytes=len(content),
    )


def _knew_a_model(run: TracedRun) -> bool:
    return run.steered in ("partly", "throughout") or any(
        version_of(event) is not None for event in run.events
    )


def _script() -> Mapping[str, Any]:
    """The only script that the page may run, by its digest: a script in a name cannot run."""
    script = _SCRIPT.read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"script": Markup(script), "script_digest": digest}  # a file of this package


def _rows(templates: Environment, told: Sequence[Told], videos: Album) -> list[_Row]:
    rows, room = [], MOST_STORY_CHARS
    for number, each in enumerate(told, start=1):
        anchor, run = f"run-{number}", each.run
        story, is_whole, poster = Markup(), False, ""
        if room > 0:
            videos.look_at(run, run.events)
            made = _steps(run, videos, anchor)
            story = _story(templates, anchor, run, videos, made)
            poster = videos.still(run, run.best).poster if run.best is not None else ""
            size = len(story) - len(_best_film(run, videos).src) - sum(len(step.film.src) for step in made)
            size += len(poster)
            is_whole = size <= room
            room = room - size if is_whole else 0
        if not is_whole:
            story, poster = _story(templates, anchor, run, videos, None), ""
        rows.append(_Row(anchor=anchor, told=each, poster=poster, story=story, is_whole=is_whole))
    return rows


def _steps(run: TracedRun, videos: Album, anchor: str) -> list[Step]:
    """The steps of a run; that of the best video links to the head of the story, where it plays."""
    best = run.best

    def film(event: TraceEvent) -> Film:
        if event is best and videos.is_held(run, event):
            words = "Plays at the top of this run"
            return Film(poster=videos.still(run, event).poster, link=f"#{anchor}-best", words=words)
        return videos.film(run, event)

    return steps(run.events, film, lambda event: videos.still(run, event))


def _best_film(run: TracedRun, videos: Album) -> Film:
    return videos.film(run, run.best) if run.best is not None else Film()


def _story(
    templates: Environment, anchor: str, run: TracedRun, videos: Album, made: Sequence[Step] | None
) -> Markup:
    macros: Any = templates.get_template(_MACROS).module
    first = run.events[0] if run.events else None
    story: Markup = macros.story(
        anchor=anchor,
        run=run,
        best_film=_best_film(run, videos),
        first_frame=videos.first_frame(run, first) if first is not None else Film(),
        points=course(run.events) if made is not None else [],
        why=why_it_stopped(run.stop_reason),
        steps=made,
        has_video=videos.has_video(run),
    )
    return story
