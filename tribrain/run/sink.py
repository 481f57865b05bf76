"""Handles the events of a run while it runs: to Kafka through its spool, and as progress on screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from runner.critics.opinion import is_missing
from streams.errors import counted
from streams.messages.contracts import RunEnd, TraceEvent, TraceMessage
from streams.messages.no_score import critic_failed, why_failed
from streams.messages.revisions import newest_revisions
from streams.spool.place import spool_of
from tribrain.run.metrics import RunMetrics
from tribrain.run.publishing import not_on_kafka, publishing
from tribrain.run.refinement import Refinement
from tribrain.shell.output import progress

if TYPE_CHECKING:
    from streams.spool.publisher import TracePublisher


class RunSink:
    """An event sink that shows progress and counts failed critics. ``publisher`` is the way to Kafka.

    Where ``shown`` has no terminal, each step is a line on standard error that begins with ``lines``, unless
    that is None. Revisions of a rescored run do not count as progress, as they make no video.
    """

    def __init__(
        self,
        publisher: TracePublisher | None,
        shown: Progress,
        *,
        steps: int,
        candidates: int,
        lines: str | None,
        metrics: RunMetrics,
    ) -> None:
        self.publisher = publisher
        self._metrics = metrics
        self._shown = shown
        self._bar = shown.add_task("videos", total=steps * candidates, best="", line="")
        self._lines = lines if shown.disable else None
        self._candidates = candidates
        self._step: list[TraceEvent] = []
        self._messages: list[TraceMessage] = []

    @property
    def show_line(self) -> Callable[[str], None] | None:
        """Function that shows a line beside the bar; None where there is no bar."""
        return None if self._shown.disable else lambda line: self._shown.update(self._bar, line=line)

    def push(self, event: TraceEvent | RunEnd) -> None:
        self._messages.append(event)
        if isinstance(event, TraceEvent) and not event.revision:
            self._metrics.took(event)
            best = event.meta.get("best_score")
            self._shown.update(
                self._bar, advance=1, best="" if best is None else f"best critics' score {best:.3f}"
            )
            self._step.append(event)
            if len(self._step) == self._candidates:
                if self._lines is not None:
                    click.echo(self._lines + _in_words(self._step), err=True)
                self._step.clear()

    def finish(self) -> None:
        """Remove the bar, and report which critics failed in the newest revision of the run."""
        self._shown.remove_task(self._bar)
        for line in _failures_in_words(self._messages):
            click.echo(line, err=True)


def run_progress() -> Progress:
    """The progress display for the bars of runs."""
    return progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[best]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[line]}", markup=False),
    )


@contextmanager
def run_sink(refinement: Refinement, out: Path, shown: Progress, *, lines: str | None) -> Iterator[RunSink]:
    """The sink of a run in ``out``; at the end it reports events that have not reached Kafka."""
    publisher = spool = None
    metrics = refinement.metrics
    with ExitStack() as stack:
        stack.callback(metrics.end)
        if (settings := refinement.settings) is not None:
            spool = spool_of(out, refinement.given.spool_dir)
            if spool.parent != out:
                click.echo(f"events wait for Kafka in {spool}, on this computer", err=True)
            publisher = stack.enter_context(publishing(settings, out, spool))
        sink = RunSink(
            publisher,
            shown,
            steps=refinement.given.iters,
            candidates=refinement.given.candidates,
            lines=lines,
            metrics=metrics,
        )
        stack.callback(sink.finish)
        metrics.begin(out, publisher, spool)
        yield sink
    if publisher is not None and spool is not None:
        for line in not_on_kafka(publisher, out, spool):
            click.echo(line, err=True)


def _in_words(step: Sequence[TraceEvent]) -> str:
    """A line on a step, with the score of each of its candidates."""
    last = step[-1]
    rewards = [event.meta.get("critic_reward", event.overall_score) for event in step]
    scores = ", ".join("–" if reward is None else f"{reward:.3f}" for reward in rewards)
    errors = [str(event.meta["error"]) for event in step if "error" in event.meta]
    failed = f" ({len(errors)} failed: {' '.join(errors[-1].split())})" if errors else ""
    best = last.meta.get("best_score")
    best_is = "" if best is None else f"; best {best:.3f} at {last.meta['best_iter']}"
    return f"iteration {last.meta.get('step', last.iter_idx)}: critics' score {scores}{failed}{best_is}"


def _failures_in_words(messages: Sequence[TraceMessage]) -> Iterator[str]:
    """A line for each critic that failed, by the newest revision; one message may be there twice."""
    newest = newest_revisions(messages)
    judged = {m.iter_idx: m.critic_results for m in newest if isinstance(m, TraceEvent) and m.critic_results}
    failed = [result for results in judged.values() for result in results if critic_failed(result)]
    why = {result.critic_name: why_failed(result) for result in failed}
    videos = counted(len(judged), "video")
    for gave, in_part in (("no score", False), ("not all of its scores", True)):
        counts = Counter(result.critic_name for result in failed if is_missing(result) != in_part)
        for name, n in counts.items():
            yield f"critic {name} gave {gave} for {n} of {videos}; at last: {why[name]}"
