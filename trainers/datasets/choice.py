"""The choice of a dataset's samples from runs: usable, judged, without duplicates, then selected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from streams.messages.contracts import RewardSnapshot
from trainers.datasets.captions import CaptionKind, caption_of
from trainers.datasets.formats import DatasetFormat, takes
from trainers.datasets.near_duplicates import NEAR, Hash, near_duplicates
from trainers.datasets.prompts import is_of
from trainers.datasets.rewards import RatedSample, rate
from trainers.datasets.samples import Run, Sample, samples_of
from trainers.datasets.selection import SelectionPolicy, select

BELOW_OUTCOME = "videos judged below the least outcome"
NO_CAPTION = "videos without a caption"
NO_TEXT = "captions that a reader of CSV takes for a number or for nothing"
UNDECODABLE = "videos that cannot be decoded"
KEPT_APART = "videos of prompts that checkpoints are compared on"
COPIES = "near-duplicates"
NOT_CHOSEN = "not chosen"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedVideo:
    """Facts that need decoding the video."""

    hash: Hash
    frames: int
    fps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceRules:
    """Rules that decide which videos of the runs make a dataset.

    ``nearest`` is the distance up to which videos of one task are duplicates, in bits of a frame's 64.
    ``min_outcome`` leaves out only videos that a validator or person scored below it.
    """

    dataset_format: DatasetFormat
    caption: CaptionKind = "goal"
    policy: SelectionPolicy = field(default_factory=SelectionPolicy)
    nearest: float = NEAR
    min_outcome: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    chosen: tuple[RatedSample, ...]
    """The dataset's samples, in the order of their ids."""
    distinct: tuple[RatedSample, ...]
    """The distinct videos from which they were chosen."""
    looks: dict[str, DecodedVideo]
    left_out: Counter[str]
    """Number by reason; together with the chosen ones, every iteration of the runs."""


def choose(
    runs: Iterable[Run],
    rules: ChoiceRules,
    snapshot: RewardSnapshot | None,
    look: Callable[[Path], DecodedVideo | None],
    on_look: Callable[[int, int], None] = lambda done, total: None,
    *,
    kept_apart: Collection[str] = frozenset(),
) -> Choice:
    """The videos for a dataset, independent of the order of the runs.

    ``look`` decodes a video, and returns None if that fails. Duplicates are removed before the choice, so
    that two videos of a task really differ; a video is rated against all decodable videos of its task. Videos
    of prompts whose digests are in ``kept_apart`` take no part.
    """
    found, left_out = samples_apart(runs, kept_apart)
    wanted = [sample for sample in found if not _refused(sample, rules, left_out)]
    looks: dict[str, DecodedVideo] = {}
    for done, sample in enumerate(wanted, start=1):
        seen = look(sample.video)
        if seen is not None:
            looks[sample.id] = seen
        on_look(done, len(wanted))
    left_out[UNDECODABLE] += len(wanted) - len(looks)
    rated = rate(sorted((s for s in wanted if s.id in looks), key=lambda s: s.id), snapshot)
    copies = near_duplicates(rated, {name: seen.hash for name, seen in looks.items()}, rules.nearest)
    distinct = [sample for sample in rated if sample.id not in copies]
    chosen = sorted(select(distinct, rules.policy), key=lambda sample: sample.id)
    left_out[COPIES] += len(copies)
    left_out[NOT_CHOSEN] += len(distinct) - len(chosen)
    return Choice(chosen=tuple(chosen), distinct=tuple(distinct), looks=looks, left_out=+left_out)


def samples_apart(runs: Iterable[Run], kept_apart: Collection[str]) -> tuple[list[Sample], Counter[str]]:
    """Like ``samples_of``, without the videos of held-out prompts (``kept_apart``)."""
    found, left_out = samples_of(runs)
    samples = [sample for sample in found if not is_of(sample.event, kept_apart)]
    left_out[KEPT_APART] += len(found) - len(samples)
    return samples, +left_out


def _refused(sample: Sample, rules: ChoiceRules, left_out: Counter[str]) -> bool:
    outcome = sample.event.outcome_score
    caption = caption_of(sample.event, rules.caption)
    reason = (
        BELOW_OUTCOME
        if outcome is not None and outcome < rules.min_outcome
        else NO_CAPTION
        if not caption
        else NO_TEXT
        if not takes(rules.dataset_format, caption)
        else None
    )
    if reason is not None:
        left_out[reason] += 1
    return reason is not None
