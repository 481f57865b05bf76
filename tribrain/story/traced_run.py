"""A run as its folder has it: whole, or cut off at any place."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec

from streams.errors import BadInput
from streams.files import read_bytes
from streams.messages.codec import ContractError
from streams.messages.contracts import RunEnd, TraceEvent, TraceMessage
from streams.messages.fields import UnitScore
from streams.messages.files import trace_line
from streams.messages.revisions import newest_revisions
from trainers.datasets.samples import Run, find_video
from trainers.pairs.critic_rewards import rewards_in_run
from tribrain.story.course import best_so_far

TRACE = "trace.jsonl"

Steered = Literal["never", "throughout", "partly", "cut short"]
"""When the model steered a run: at no iteration, at every one at which it could, or at some of them;
``cut short``, whatever it was, for a run that was interrupted, failed, or has no end."""


@dataclass(frozen=True, slots=True)
class _Truth:
    true_quality: UnitScore


@dataclass(frozen=True, kw_only=True)
class TracedRun:
    """A run as far as it came; if it was rescored, in its newest revision."""

    run_id: str
    folder: Path
    events: tuple[TraceEvent, ...]
    """The iterations in order of ``iter_idx``, each once."""
    end: RunEnd | None = None
    is_original: bool = False
    """Whether TriBrain 0.6.2 wrote it, whose traces have no ends."""

    @property
    def goal(self) -> str:
        return next((event.goal_instruction for event in self.events), "")

    @cached_property
    def best_so_far(self) -> list[TraceEvent | None]:
        return best_so_far(self.events)

    @property
    def best(self) -> TraceEvent | None:
        return self.best_so_far[-1] if self.events else None

    @cached_property
    def rewards(self) -> dict[int, float]:
        """``iter_idx`` of judged videos to the critics' reward."""
        return rewards_in_run(self.events)

    @cached_property
    def scores(self) -> list[float | None]:
        """The critics' reward of the best so far, after each iteration."""
        return [None if best is None else self.rewards.get(best.iter_idx) for best in self.best_so_far]

    @cached_property
    def qualities(self) -> list[float | None]:
        """The true quality of the best so far, after each iteration."""
        return [None if best is None else self.truths.get(best.iter_idx) for best in self.best_so_far]

    @cached_property
    def truths(self) -> dict[int, float]:
        """``iter_idx`` to true quality, where it is recorded. Raises BadInput."""
        found = ((event.iter_idx, true_quality(self.folder, event.iter_idx)) for event in self.events)
        return {number: quality for number, quality in found if quality is not None}

    @property
    def score_gain(self) -> float | None:
        """The best video's lead over the first, in the critics' reward; None where either has none."""
        return self._gain(self.rewards)

    @property
    def quality_gain(self) -> float | None:
        """The best video's lead over the first in true quality; None where either has none."""
        return self._gain(self.truths)

    def _gain(self, values: dict[int, float]) -> float | None:
        if self.best is None or not {self.events[0].iter_idx, self.best.iter_idx} <= values.keys():
            return None
        return values[self.best.iter_idx] - values[self.events[0].iter_idx]

    @property
    def failed(self) -> int:
        """Number of videos that could not be made or judged."""
        return sum(event.overall_score is None for event in self.events)

    @property
    def stop_reason(self) -> str | None:
        """The reason for the run's end: empty if none is recorded, None if its trace has no end."""
        if self.end is not None:
            return self.end.stop_reason
        said = str((self.events[-1].meta.get("stop_reason") if self.events else None) or "")
        return said if said or self.is_original else None

    @property
    def steered(self) -> Steered:
        """When the model steered; the first video, which has no rival, and failed ones are not counted."""
        judged = [event for event in self.events if event.overall_score is not None]
        steered = [_confidence(event) > 0 for event in judged[1:]]
        if self.stop_reason is None or self.stop_reason.startswith(("interrupted", "failed")):
            return "cut short"
        if not any(steered):
            return "never"
        return "throughout" if all(steered) else "partly"

    def video(self, event: TraceEvent) -> Path | None:
        """The file of an iteration; None where it is missing, or outside the run's folder."""
        found = find_video(Run(folder=self.folder, run_id=self.run_id, events=()), event.artifact_path)
        return found if isinstance(found, Path) else None


def read_traced(folder: Path) -> list[TracedRun]:
    """The runs of a folder's trace, in the order in which they begin; none if it is missing or empty.

    A last line that was cut off while being written is left out. Raises BadInput for anything else that is
    no trace.
    """
    trace = folder / TRACE
    if not trace.is_file():
        return []
    lines = read_bytes(trace).removeprefix(BOM_UTF8).split(b"\n")
    messages: dict[str, list[TraceMessage]] = {}
    for message in newest_revisions(_messages(lines, trace)):
        messages.setdefault(message.run_id, []).append(message)
    return [_run(folder, run_id, found, is_original(lines)) for run_id, found in messages.items()]


def is_original(lines: Iterable[bytes]) -> bool:
    """Whether TriBrain 0.6.2 wrote these lines of a trace."""
    return not any(b'"schema"' in line for line in lines)


def true_quality(run_folder: Path, iter_idx: int) -> float | None:
    """The true quality of a simulated world's video; None where it is not recorded. Raises BadInput."""
    path = run_folder / f"iter_{iter_idx:02d}" / "truth.json"
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(read_bytes(path), type=_Truth).true_quality
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: the file is damaged: {error}") from None


def _messages(lines: Sequence[bytes], trace: Path) -> list[TraceMessage]:
    messages = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            messages.append(trace_line(line, f"{trace}@line {number}"))
        except ContractError:
            if number < len(lines):
                raise
    return messages


def _run(folder: Path, run_id: str, messages: Sequence[TraceMessage], is_original: bool) -> TracedRun:
    events: dict[int, TraceEvent] = {}
    for message in messages:
        if isinstance(message, TraceEvent):
            events.setdefault(message.iter_idx, message)
    end = next((message for message in messages if isinstance(message, RunEnd)), None)
    return TracedRun(
        run_id=run_id,
        folder=folder,
        events=tuple(events[number] for number in sorted(events)),
        end=end,
        is_original=is_original,
    )


def _confidence(event: TraceEvent) -> float:
    confidence = event.meta.get("preference_confidence")
    return float(confidence) if isinstance(confidence, int | float) else 0.0
