"""``tribrain run rescore``: scores videos of a finished run again, with critics that failed or are new."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import orjson
from cloup import option_group
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from runner.critics.opinion import is_missing
from runner.interfaces import AnyCritic, GenerationFailed
from runner.loop.candidate import candidate_folder, judge
from runner.loop.rescored_so_far import NAME, RescoredSoFar
from runner.loop.rescoring import to_be_judged
from runner.worlds.kept import noting_files
from streams.errors import BadInput, counted
from streams.fail_points import reach
from streams.files import read_bytes
from streams.messages.contracts import CriticResult, TraceEvent
from streams.messages.no_score import critic_failed, why_failed
from trainers.datasets.samples import find_video
from tribrain.run.critics import CRITIC, CRITIC_TIMEOUT_S, open_critics
from tribrain.run.finished_run import FinishedRun
from tribrain.run.folder import RUN_LOCK
from tribrain.shell import options
from tribrain.shell.command import Command
from tribrain.shell.exclusive_lock import exclusive_lock
from tribrain.shell.exit_codes import NothingMade
from tribrain.shell.interrupts import Interrupts
from tribrain.shell.kafka_access import open_kafka
from tribrain.shell.kafka_options import bootstrap_servers
from tribrain.shell.option_types import PATH, Integer
from tribrain.shell.output import cannot_write, progress

_TAKEN = "another process is at work on the run in it; wait for it"


@dataclass(frozen=True, slots=True, kw_only=True)
class RescoreOptions:
    """The values of the command's options, by their names."""

    run: Path
    critics: tuple[str, ...]
    pixel_critics: bool
    critic_timeout_s: float
    everything: bool
    required: tuple[str, ...]
    max_failures: int
    bootstrap_servers: str | None
    as_json: bool


@click.command(
    cls=Command,
    epilog="Example: tribrain run rescore runs/a --critic 'judge=python my_critic.py {video} {prompt}'",
)
@click.argument("run", type=PATH)
@option_group(
    "Critics",
    CRITIC,
    click.option("--pixel-critics", is_flag=True, help="Also score with the built-in critics."),
    CRITIC_TIMEOUT_S,
    click.option(
        "--all", "everything", is_flag=True, help="Also score videos that these critics have already scored."
    ),
    options.require_critic,
    click.option(
        "--max-failures",
        type=Integer(min=1),
        default=3,
        help="Give up, with exit code 4, after a critic failed on this many videos in a row.",
    ),
)
@option_group("Kafka and output", bootstrap_servers, options.as_json)
def rescore(**given: Any) -> None:
    """Score the videos of a finished run again where a critic failed or is new.

    RUN is the run's folder. The scored iterations are appended to its trace.jsonl as a new revision; nothing
    else in the folder changes. What --require-critic names is recorded there, and holds from then on.
    Reports, datasets and pairs use the newest revision. With --bootstrap-servers the trace is also sent to
    Kafka, where the trainer learns the new pairs. The run's end is final there, so a run that was given up
    cannot continue afterwards. If interrupted, run the same command again: it continues.
    """
    chosen = RescoreOptions(**given)
    if not (chosen.critics or chosen.pixel_critics):
        raise BadInput("no critic is given; give --critic NAME='COMMAND' or --pixel-critics, or both")
    settings = open_kafka(chosen.bootstrap_servers, "run rescore") if chosen.bootstrap_servers else None
    trace = chosen.run / "trace.jsonl"
    read_bytes(trace)  # before a lock is put where there is no run
    with Interrupts(), ExitStack() as stack:
        asked = open_critics(
            stack,
            critics=chosen.critics,
            no_pixel_critics=not chosen.pixel_critics,
            critic_timeout_s=chosen.critic_timeout_s,
        )
        stack.enter_context(exclusive_lock(chosen.run, "RUN", _TAKEN, name=RUN_LOCK))
        finished = FinishedRun.read(chosen.run)
        finished.require_known(chosen.required, [critic.name for critic in asked])
        task = {"critics": chosen.critics, "pixel_critics": chosen.pixel_critics, "all": chosen.everything}
        judging = _Judging(finished, asked, everything=chosen.everything, max_failures=chosen.max_failures)
        judging.judge_all(task)
        events, required = finished.events, finished.required.union(chosen.required)
        is_revised = judging.has_news or (not judging.asked_of and required > finished.required)
        if is_revised:
            events = finished.write(judging.said, chosen.required)
            reach("rescore.written")
        judging.forget()
    if settings is not None:
        # Not at the top: Kafka's client takes a third of a second.
        from tribrain.log.kafka import require_all_sent, send_trace

        require_all_sent(trace, send_trace(settings, trace))
    _say(
        chosen.run,
        judging,
        events,
        revision=finished.next_revision if is_revised else None,
        required=sorted(required if is_revised else finished.required),
        is_published=settings is not None,
        as_json=chosen.as_json,
    )
    if judging.asked_of and not judging.has_news:
        raise NothingMade(f"{chosen.run}: no critic gave a score; {judging.why}")


@dataclass(slots=True)
class _Judging:
    """Asks the critics, and keeps their results until these are in the trace."""

    finished: FinishedRun
    critics: Sequence[AnyCritic]
    everything: bool
    max_failures: int
    so_far: RescoredSoFar | None = None
    """Results so far; None where there is nothing to judge."""
    asked_of: dict[int, list[str]] = field(default_factory=dict)
    """``iter_idx`` to the names of the critics to ask."""
    failed: Counter[str] = field(default_factory=Counter)
    """Critic to the number of videos without a score from it."""
    unreadable: dict[int, str] = field(default_factory=dict)
    """``iter_idx`` of a video that cannot be judged to the reason."""
    why: str = ""
    """Reason of the last failure."""

    def judge_all(self, task: dict[str, Any]) -> None:
        """Judge all videos. Raises NothingMade where a critic fails on too many in a row, and BadInput."""
        names = [critic.name for critic in self.critics]
        self.asked_of = {
            event.iter_idx: wanted
            for event in self.finished.events
            if event.artifact_path and (wanted := to_be_judged(event, names, everything=self.everything))
        }
        folder = self.finished.folder
        if not self.asked_of:
            (folder / NAME).unlink(missing_ok=True)  # left by a process that ended after writing the trace
            return
        of_trace = hashlib.sha256(self.finished.raw).hexdigest()
        try:
            self.so_far = RescoredSoFar(folder, task | {"trace_sha256": of_trace})
            self._ask(self.so_far)
        except OSError as error:
            raise cannot_write(folder, error) from None

    @property
    def said(self) -> dict[int, list[CriticResult]]:
        """``iter_idx`` to the results of the critics that did not fail."""
        return self.so_far.results if self.so_far is not None else {}

    @property
    def has_news(self) -> bool:
        return any(self.said.values())

    def forget(self) -> None:
        """Remove the saved results, once they are in the trace."""
        if self.so_far is not None:
            self.so_far.remove()

    def _ask(self, so_far: RescoredSoFar) -> None:
        by_name = {critic.name: critic for critic in self.critics}
        in_a_row: Counter[str] = Counter()
        with progress(TextColumn("videos"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as shown:
            bar = shown.add_task("videos", total=len(self.asked_of))
            say = _say_line if shown.disable else _say_nothing
            for event in self.finished.events:
                before = so_far.results.get(event.iter_idx, [])
                names = so_far.still_asked(event.iter_idx, self.asked_of.get(event.iter_idx, ()))
                results = self._results(event, before, [by_name[name] for name in names]) if names else ()
                if results:
                    so_far.add(event.iter_idx, results)
                    reach("rescore.judged")
                    say(f"iteration {event.iter_idx}: {', '.join(map(_in_words, results))}")
                for result in results:
                    self._count(result, in_a_row)
                shown.update(bar, advance=event.iter_idx in self.asked_of)

    def _results(
        self, event: TraceEvent, before: Sequence[CriticResult], critics: Sequence[AnyCritic]
    ) -> tuple[CriticResult, ...]:
        """The critics' results on a video; ``before`` are those that this rescoring has already."""
        video = find_video(self.finished.run, event.artifact_path)
        if isinstance(video, str):
            self.why = self.unreadable[event.iter_idx] = f"{event.artifact_path}: is one of the {video}"
            return ()
        try:
            goal, others = event.goal_instruction, (*event.critic_results, *before)
            with noting_files(candidate_folder(self.finished.folder, event.iter_idx)):
                return judge(video, critics, prompt=event.prompt, goal=goal, others=others)
        except GenerationFailed as error:
            self.why = self.unreadable[event.iter_idx] = str(error)
            return ()

    def _count(self, result: CriticResult, in_a_row: Counter[str]) -> None:
        name = result.critic_name
        if not critic_failed(result):
            in_a_row[name] = 0
            return
        in_a_row[name] += 1
        if is_missing(result):
            self.failed[name] += 1
        self.why = f"critic {name}: {why_failed(result)}"
        if in_a_row[name] >= self.max_failures:
            videos = counted(in_a_row[name], "video")
            raise NothingMade(
                f"{self.finished.folder}: given up, as critic {name} failed on {videos} in a row; at last "
                f"{self.why}; the other scores are kept; run the same command again to continue"
            )


def _in_words(result: CriticResult) -> str:
    if is_missing(result):
        return f"{result.critic_name} failed"
    scores = ", ".join(f"{mode} {'–' if s is None else f'{s:.3f}'}" for mode, s in result.scores.items())
    return f"{result.critic_name} {scores}"


def _say_line(line: str) -> None:
    click.echo(line, err=True)


def _say_nothing(_: str) -> None:
    """Print nothing, where a bar shows progress."""


def _say(
    run: Path,
    judging: _Judging,
    events: Sequence[TraceEvent],
    *,
    revision: int | None,
    required: Sequence[str],
    is_published: bool,
    as_json: bool,
) -> None:
    n = len(judging.asked_of)
    for name, failed in judging.failed.items():
        click.echo(
            f"critic {name} gave no score for {failed} of {counted(n, 'video')}; {judging.why}", err=True
        )
    for idx, why in judging.unreadable.items():
        click.echo(f"iteration {idx} cannot be judged: {why}", err=True)
    run_id, last = judging.finished.end.run_id, events[-1].meta if events else {}
    anew = Counter(result.critic_name for results in judging.said.values() for result in results)
    best, score = last.get("best_iter"), last.get("best_score")
    if as_json:
        said = {
            "run_id": run_id,
            "revision": revision,
            "videos": n,
            "judged": dict(anew),
            "failed": dict(judging.failed),
            "unreadable": len(judging.unreadable),
            "required": required,
            "best_iter": best,
            "best_score": score,
            "published": is_published,
        }
        click.echo(orjson.dumps(said))
        return
    if revision is not None:
        judged = ", ".join(f"critic {name} scored {counted(of, 'video')}" for name, of in anew.items())
        best_is = "no video is a candidate" if required else "no video could be judged"
        if score is not None:
            best_is = f"best is iteration {best} with critics' score {score:.3f}"
        click.echo(f"{run_id}: revision {revision}: {judged or 'no new score'}; {best_is}; in {run}")
    elif not judging.asked_of:
        click.echo(f"{run}: there is nothing to score again; --all scores every video")
    if required:
        click.echo(f"a video without a score of {', '.join(required)} is no candidate")
    if is_published:
        click.echo("the trace is on Kafka with the run's end, which is final there")
