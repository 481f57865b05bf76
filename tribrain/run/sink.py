"""Where the events of a run go while it runs: onto Kafka through its spool, and before a person's eyes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from runner.critics.opinion import is_missing
from streams.messages.contracts import RunEnd, TraceEvent
from streams.messages.no_score import critic_failed, why_failed
from streams.spool.place import spool_of
from tribrain.run.metrics import RunMetrics
from tribrain.run.publishing import not_on_kafka, publishing
from tribrain.run.refinement import Refinement
from tribrain.shell.output import progress

if TYPE_CHECKING:
    from streams.spool.publisher import TracePublisher


class RunSink:
    """An event sink that shows progress, counts failed critics, and passes events on to the publisher.

    Where ``shown`` has no terminal, each step is a line on standard error that begins with ``lines``, unless
    that is None.
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
        self._publisher = publisher
        self._metrics = metrics
        self._shown = shown
        self._bar = shown.add_task("videos", total=steps * candidates, best="", line="")
        self._lines = lines if shown.disable else None
        self._candidates = candidates
        self._step: list[TraceEvent] = []
        self._judged = 0
        self._missing: Counter[str] = Counter()
        self._in_part: Counter[str] = Counter()
        self._why: dict[str, str] = {}

    @property
    def show_line(self) -> Callable[[str], None] | None:
        """Shows a line beside the bar, where there is one."""
        return None if self._shown.disable else lambda line: self._shown.update(self._bar, line=line)

    def push(self, event: TraceEvent | RunEnd) -> None:
        if self._publisher is not None:
            self._publisher.push(event)
        if isinstance(event, TraceEvent):
            self._metrics.took(event)
            best = event.meta.get("best_score")
            self._shown.update(
                self._bar, advance=1, best="" if best is None else f"best critics' score {best:.3f}"
            )
            self._judged += bool(event.critic_results)
            for result in filter(critic_failed, event.critic_results):
                (self._missing if is_missing(result) else self._in_part)[result.critic_name] += 1
                self._why[result.critic_name] = why_failed(result)
            self._step.append(event)
            if len(self._step) == self._candidates:
                if self._lines is not None:
                    click.echo(self._lines + _in_words(self._step), err=True)
                self._step.clear()

    def finish(self) -> None:
        """Take the bar away, and say which critics gave nothing."""
        self._shown.remove_task(self._bar)
        for failed, gave in ((self._missing, "no score"), (self._in_part, "not all of its scores")):
            for name, n in failed.items():
                click.echo(
                    f"critic {name} gave {gave} for {n} of {self._judged} videos; at last: {self._why[name]}",
                    err=True,
                )


def run_progress() -> Progress:
    """For the bars of runs."""
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
    """The sink of a run in ``out``. In the end it says what has not reached Kafka; that is in the spool."""
    publisher = spool = None
    metrics = refinement.metrics
    with ExitStack() as stack:
        stack.callback(metrics.end)
        if (settings := refinement.settings) is not None:
            spool = spool_of(out, refinement.given.spool_dir)
            if spool.parent != out:
                click.echo(f"events wait for Kafka in {spool}, on this computer", err=True)
            publisher = stack.enter_context(publishing(settings, spool))
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
    """A step in a line, with the score of each of its candidates."""
    last = step[-1]
    rewards = [event.meta.get("critic_reward", event.overall_score) for event in step]
    scores = ", ".join("–" if reward is None else f"{reward:.3f}" for reward in rewards)
    errors = [str(event.meta["error"]) for event in step if "error" in event.meta]
    failed = f" ({len(errors)} failed: {' '.join(errors[-1].split())})" if errors else ""
    best = last.meta.get("best_score")
    best_is = "" if best is None else f"; best {best:.3f} at {last.meta['best_iter']}"
    return f"iteration {last.meta.get('step', last.iter_idx)}: critics' score {scores}{failed}{best_is}"
