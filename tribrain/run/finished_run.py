"""A run that has ended, read from its folder, and the revision written when it is judged again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.loop.rescoring import required_by, revised
from runner.rewards.preference import PreferencePolicy
from streams.errors import BadInput
from streams.files import read_bytes
from streams.messages.codec import encode
from streams.messages.contracts import CriticResult, RunEnd, TraceEvent, TraceMessage
from streams.messages.files import read_trace_lines
from streams.messages.revisions import missing_ends, newest_revisions
from trainers.datasets.samples import Run
from tribrain.run.plan import settings_in
from tribrain.shell.output import write_output
from tribrain.story.traced_run import is_original


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """The newest revision of a run."""

    folder: Path
    raw: bytes
    """Bytes of its trace, with the end that a trace of TriBrain 0.6.2 lacks."""
    events: tuple[TraceEvent, ...]
    """Events in the order of ``iter_idx``, one for each."""
    end: RunEnd
    next_revision: int

    @classmethod
    def read(cls, folder: Path) -> FinishedRun:
        """The run in ``folder``. Raises BadInput where that holds no finished run, or more than one."""
        trace = folder / "trace.jsonl"
        lines = read_trace_lines(trace)
        messages = [message for _, message in lines]
        if len(ids := {message.run_id for message in messages}) > 1:
            raise BadInput(f"{trace}: holds {len(ids)} runs; expected the trace of one, in its own folder")
        ends = missing_ends(messages)
        newest = newest_revisions([*messages, *ends])
        end = next((message for message in newest if isinstance(message, RunEnd)), None)
        if end is None or (ends and not is_original(line for line, _ in lines)):
            raise BadInput(
                f"{trace}: the run has not ended; go on with it by the command that it was begun with, and "
                "rescore it then"
            )
        events: dict[int, TraceEvent] = {}
        for message in newest:
            if isinstance(message, TraceEvent):
                events.setdefault(message.iter_idx, message)
        raw = read_bytes(trace)
        raw += b"" if raw.endswith(b"\n") else b"\n"
        return cls(
            folder=folder,
            raw=raw + b"".join(encode(end) + b"\n" for end in ends),
            events=tuple(events[i] for i in sorted(events)),
            end=end,
            next_revision=max(message.revision for message in messages) + 1,
        )

    @property
    def run(self) -> Run:
        return Run(folder=self.folder, run_id=self.end.run_id, events=self.events)

    @property
    def required(self) -> frozenset[str]:
        """The critics whose scores every candidate needs, by the run's options or an earlier rescoring.

        Raises BadInput.
        """
        return required_by(self.end).union(settings_in(self.folder).get("required", ()))

    def require_known(self, required: Sequence[str], critics: Iterable[str]) -> None:
        """Raises BadInput where a required name is that of no critic."""
        known = {*critics, *(r.critic_name for event in self.events for r in event.critic_results)}
        if unknown := sorted(set(required) - known):
            raise BadInput(
                f"--require-critic {unknown[0]}: the run has no such critic, but {', '.join(sorted(known))}"
            )

    def write(
        self, judged: Mapping[int, Sequence[CriticResult]], required: Iterable[str]
    ) -> tuple[TraceEvent, ...]:
        """Append the next revision to the trace, whole or not at all; its events. Raises BadInput."""
        settings = settings_in(self.folder)
        events, end = revised(
            self.events,
            self.end,
            judged,
            revision=self.next_revision,
            required=self.required.union(required),
            policy=_policy_of(settings),
            run_dir=self.folder,
        )
        revision: list[TraceMessage] = [*events, end]
        lines = b"".join(encode(message) + b"\n" for message in revision)
        write_output((self.folder / "trace.jsonl").resolve(), self.raw + lines)
        return tuple(events)


def _policy_of(settings: Mapping[str, Any]) -> PreferencePolicy:
    """The policy by which the run was steered, as far as its folder records it."""
    if "preference_weight" not in settings:
        return PreferencePolicy()
    return PreferencePolicy(
        weight=settings["preference_weight"],
        prefer=settings.get("prefer") or {},
        gate=settings.get("preference_gate", "auto"),
        given_by_user=settings.get("preference_rm") is not None,
    )
