"""``tribrain rescore``: videos of a finished run judged again, by critics that failed or were not there."""

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
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from runner.critics.opinion import is_missing
from runner.interfaces import AnyCritic, GenerationFailed
from runner.loop.candidate import judge
from runner.loop.rescored_so_far import RescoredSoFar
from runner.loop.rescoring import revised, to_be_judged
from runner.rewards.preference import PreferencePolicy
from streams.errors import BadInput
from streams.fail_points import reach
from streams.files import read_bytes
from streams.kafka.settings import Settings
from streams.messages.codec import encode
from streams.messages.contracts import CriticResult, RunEnd, TraceEvent, TraceMessage
from streams.messages.files import read_trace_lines
from streams.messages.revisions import missing_ends, newest_revisions
from trainers.datasets.samples import Run, find_video
from tribrain import options
from tribrain.alone import alone
from tribrain.critics import CRITIC, CRITIC_TIMEOUT_S, open_critics
from tribrain.exit_codes import NothingMade
from tribrain.interrupts import Interrupts
from tribrain.output import cannot_write, progress, write_output
from tribrain.run_plan import settings_in

_TAKEN = "another process is at work on the run in it; wait for it"


@click.command(
    cls=options.Command,
    epilog="Example: tribrain rescore runs/a --critic 'judge=python my_critic.py {video} {prompt}'",
)
@click.argument("run", type=options.PATH)
@CRITIC
@click.option("--pixel-critics", is_flag=True, help="The built-in critics judge again, too.")
@CRITIC_TIMEOUT_S
@click.option(
    "--all", "everything", is_flag=True, help="Every video, also where the critics have given their scores."
)
@click.option(
    "--require-critic",
    "required",
    multiple=True,
    metavar="NAME",
    help="A video without a score of this critic is no candidate (repeatable); so are those that the run "
    "was begun with.",
)
@click.option(
    "--max-failures",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Give up with exit code 4 after so many videos in a row that a critic failed on.",
)
@options.bootstrap_servers
@options.as_json
def rescore(
    run: Path,
    critics: tuple[str, ...],
    pixel_critics: bool,
    critic_timeout_s: float,
    everything: bool,
    required: tuple[str, ...],
    max_failures: int,
    bootstrap_servers: str | None,
    as_json: bool,
) -> None:
    """Judge the videos of a finished run again where a critic failed or was not there.

    RUN is the run's folder. Every iteration is written once more, as the next revision of the run, at the end
    of its trace.jsonl; nothing else in the folder changes. Reports, datasets and pairs are then made of the
    newest revision. With --bootstrap-servers the trace is sent to Kafka, too, where pairs of the videos that
    were judged again are learnt. Whatever ends it, the same command goes on.
    """
    settings = Settings.from_environment(bootstrap_servers) if bootstrap_servers else None
    trace = run / "trace.jsonl"
    read_bytes(trace)  # before a lock is put where there is no run
    with Interrupts(), ExitStack() as stack:
        asked = open_critics(
            stack, critics=critics, no_pixel_critics=not pixel_critics, critic_timeout_s=critic_timeout_s
        )
        stack.enter_context(alone(run, "RUN", _TAKEN, name="run.lock"))
        finished = _Finished.read(run)
        finished.require_known(required, asked)
        task = {"critics": critics, "pixel_critics": pixel_critics, "all": everything}
        judging = _Judging(finished, asked, everything=everything, max_failures=max_failures)
        judging.judge_all(task)
        told = finished.write(judging, required)
    if settings is not None:
        # Not at the top: Kafka's client takes a third of a second.
        from tribrain.kafka import require_all_sent, send_trace

        require_all_sent(trace, send_trace(settings, trace))
    _say(run, finished, judging, told | {"published": settings is not None}, as_json)
    if judging.asked_of and told["revision"] is None:
        raise NothingMade(f"{run}: no critic gave a score; {judging.why}")


@dataclass(frozen=True, slots=True)
class _Finished:
    """A run that has ended, as its newest revision says."""

    folder: Path
    raw: bytes
    """Of its trace, with the end that a trace of TriBrain 0.6.2 lacks."""
    events: list[TraceEvent]
    end: RunEnd
    next_revision: int

    @classmethod
    def read(cls, folder: Path) -> _Finished:
        """Raises BadInput for what is no finished run, or more than one."""
        trace = folder / "trace.jsonl"
        lines = read_trace_lines(trace)
        messages = [message for _, message in lines]
        if len(ids := {message.run_id for message in messages}) > 1:
            raise BadInput(f"{trace}: holds {len(ids)} runs; expected the trace of one, in its own folder")
        ends = missing_ends(messages)
        if ends and any(b'"schema"' in line for line, _ in lines):
            raise BadInput(
                f"{trace}: the run has not ended; go on with it by the command that it was begun with, and "
                "rescore it then"
            )
        newest = newest_revisions([*messages, *ends])
        (end,) = [message for message in newest if isinstance(message, RunEnd)][:1]
        raw = read_bytes(trace)
        raw += b"" if raw.endswith(b"\n") else b"\n"
        return cls(
            folder=folder,
            raw=raw + b"".join(encode(end) + b"\n" for end in ends),
            events=[message for message in newest if isinstance(message, TraceEvent)],
            end=end,
            next_revision=max(message.revision for message in messages) + 1,
        )

    @property
    def run(self) -> Run:
        return Run(folder=self.folder, run_id=self.end.run_id, events=tuple(self.events))

    def require_known(self, required: Sequence[str], critics: Sequence[AnyCritic]) -> None:
        """Raises BadInput for the name of no critic."""
        known = {r.critic_name for event in self.events for r in event.critic_results}
        known |= {critic.name for critic in critics}
        if unknown := sorted(set(required) - known):
            raise BadInput(
                f"--require-critic {unknown[0]}: no critic of the run is called that; there are "
                f"{', '.join(sorted(known))}"
            )

    def write(self, judging: _Judging, required: Sequence[str]) -> dict[str, Any]:
        """The next revision, whole, at the end of the trace; and what came of it. Raises BadInput."""
        judged = judging.so_far.results if judging.so_far is not None else {}
        if not any(judged.values()):
            return {"revision": None, "judged": {}}
        settings = settings_in(self.folder)
        events, end = revised(
            self.events,
            self.end,
            judged,
            revision=self.next_revision,
            required={*required, *settings.get("required", ())},
            policy=_policy_of(settings),
            run_dir=self.folder,
        )
        revision: list[TraceMessage] = [*events, end]
        lines = b"".join(encode(message) + b"\n" for message in revision)
        write_output((self.folder / "trace.jsonl").resolve(), self.raw + lines)
        reach("rescore.written")
        judging.forget()
        last = events[-1].meta
        return {
            "revision": self.next_revision,
            "judged": dict(Counter(name for event in events for name in event.meta["rescored"])),
            "best_iter": last["best_iter"],
            "best_score": last["best_score"],
        }


def _policy_of(settings: dict[str, Any]) -> PreferencePolicy:
    """By which the run was steered, as far as its folder says."""
    if "preference_weight" not in settings:
        return PreferencePolicy()
    return PreferencePolicy(
        weight=settings["preference_weight"],
        prefer=settings.get("prefer") or {},
        gate=settings.get("preference_gate", "auto"),
        given_by_user=settings.get("preference_rm") is not None,
    )


@dataclass(slots=True)
class _Judging:
    """Asks the critics, and keeps what they say until it is in the trace."""

    finished: _Finished
    critics: Sequence[AnyCritic]
    everything: bool
    max_failures: int
    so_far: RescoredSoFar | None = None
    """None where there is nothing to judge."""
    asked_of: dict[int, list[str]] = field(default_factory=dict)
    """``iter_idx`` to the critics that are asked."""
    failed: Counter[str] = field(default_factory=Counter)
    """Critic to the number of videos that it gave nothing for."""
    unreadable: dict[int, str] = field(default_factory=dict)
    """``iter_idx`` of a video that cannot be judged to why."""
    why: str = ""
    """What went wrong last."""

    def judge_all(self, task: dict[str, Any]) -> None:
        """Raises NothingMade where a critic fails on one video after the other, and BadInput."""
        names = [critic.name for critic in self.critics]
        self.asked_of = {
            event.iter_idx: wanted
            for event in self.finished.events
            if event.artifact_path and (wanted := to_be_judged(event, names, everything=self.everything))
        }
        if not self.asked_of:
            return
        of_trace = hashlib.sha256(self.finished.raw).hexdigest()
        folder = self.finished.folder
        try:
            self.so_far = RescoredSoFar(folder, task | {"trace_sha256": of_trace})
            self._ask(self.so_far)
        except OSError as error:
            raise cannot_write(folder, error) from None

    def forget(self) -> None:
        """What was said is in the trace."""
        if self.so_far is not None:
            self.so_far.remove()

    def _ask(self, so_far: RescoredSoFar) -> None:
        by_name = {critic.name: critic for critic in self.critics}
        in_a_row: Counter[str] = Counter()
        with progress(TextColumn("videos"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as shown:
            bar = shown.add_task("videos", total=len(self.asked_of))
            say = _say_line if shown.disable else _say_nothing
            for event in self.finished.events:
                known = {result.critic_name for result in so_far.results.get(event.iter_idx, ())}
                names = [name for name in self.asked_of.get(event.iter_idx, ()) if name not in known]
                results = self._results(event, [by_name[name] for name in names]) if names else ()
                if results:
                    so_far.add(event.iter_idx, results)
                    reach("rescore.judged")
                    say(f"iteration {event.iter_idx}: {', '.join(map(_in_words, results))}")
                for result in results:
                    self._count(result, in_a_row)
                shown.update(bar, advance=event.iter_idx in self.asked_of)

    def _results(self, event: TraceEvent, critics: Sequence[AnyCritic]) -> tuple[CriticResult, ...]:
        video = find_video(self.finished.run, event.artifact_path)
        if isinstance(video, str):
            self.why = self.unreadable[event.iter_idx] = f"{event.artifact_path}: is one of the {video}"
            return ()
        try:
            return judge(video, critics, prompt=event.prompt, goal=event.goal_instruction)
        except GenerationFailed as error:
            self.why = self.unreadable[event.iter_idx] = str(error)
            return ()

    def _count(self, result: CriticResult, in_a_row: Counter[str]) -> None:
        name = result.critic_name
        if not is_missing(result):
            in_a_row[name] = 0
            return
        in_a_row[name] += 1
        self.failed[name] += 1
        self.why = f"critic {name}: {result.extra.get('missing', result.notes)}"
        if in_a_row[name] >= self.max_failures:
            raise NothingMade(
                f"{self.finished.folder}: given up, as critic {name} failed on {in_a_row[name]} videos in a "
                f"row; at last {self.why}; what others said is kept, and the same command goes on"
            )


def _in_words(result: CriticResult) -> str:
    if is_missing(result):
        return f"{result.critic_name} failed"
    scores = ", ".join(f"{mode} {'–' if s is None else f'{s:.3f}'}" for mode, s in result.scores.items())
    return f"{result.critic_name} {scores}"


def _say_line(line: str) -> None:
    click.echo(line, err=True)


def _say_nothing(_: str) -> None:
    """A bar shows it."""


def _say(run: Path, finished: _Finished, judging: _Judging, told: dict[str, Any], as_json: bool) -> None:
    for name, n in judging.failed.items():
        click.echo(
            f"critic {name} gave no score for {n} of {len(judging.asked_of)} videos; {judging.why}", err=True
        )
    for idx, why in judging.unreadable.items():
        click.echo(f"iteration {idx} cannot be judged: {why}", err=True)
    if as_json:
        n_unreadable = len(judging.unreadable)
        more = {"failed": dict(judging.failed), "unreadable": n_unreadable, "videos": len(judging.asked_of)}
        click.echo(orjson.dumps({"run_id": finished.end.run_id} | told | more))
        return
    if not judging.asked_of:
        click.echo(f"{run}: nothing is to be judged again; --all judges every video")
    elif told["revision"] is not None:
        counted = ", ".join(f"{n} videos by {name}" for name, n in told["judged"].items())
        best = "no video could be judged"
        if told["best_score"] is not None:
            best = f"best is iteration {told['best_iter']} with critics' score {told['best_score']:.3f}"
        click.echo(
            f"{finished.end.run_id}: revision {told['revision']} has {counted} judged again; {best}; in {run}"
        )
    if told["published"]:
        click.echo("the trace is on Kafka")
