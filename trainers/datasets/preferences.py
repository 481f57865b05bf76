"""Preference pairs with both sides' videos, for preference training and for people who judge."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from streams.messages.candidates import Place
from streams.messages.codec import encode
from streams.messages.contracts import LabelSource, PreferencePair
from streams.messages.files import read_text_pairs
from streams.messages.refusals import is_blank
from trainers.datasets.near_duplicates import Frames
from trainers.datasets.samples import OUTSIDE, Run, find_video, plain, read_runs
from trainers.pairs.judgements import dimension_of
from trainers.pairs.pairing import PairingRules, pairs_of_run
from trainers.pairs.superseded import without_superseded
from trainers.pairs.withdrawn import standing

EQUAL_TEXTS = "pairs of two equal prompts"
NO_TEXTS = "pairs without the goal or one of the prompts"
NO_GOAL = "pairs without a goal"
NO_VIDEOS = "pairs whose videos are missing"
OUTSIDE_VIDEOS = "pairs with a video outside its run's folder"
EQUAL_VIDEOS = "pairs of two equal videos"
UNDECODABLE = "pairs with a video that cannot be decoded"
OTHER_FIRST_FRAME = "pairs whose videos begin with different frames"
OTHER_LABELS = "pairs with other labels"
TIES = "pairs of which neither side is better"
DIMENSIONS = "pairs that judge one dimension"
SUPERSEDED = "pairs of scores that a rescoring replaced"
CONTRADICTED = "pairs that other labels of the same two contradict"

_SIDES = ("chosen", "rejected")
_NEITHER = ""
"""The answer of a tie, in place of a side's text or video name, which is never empty."""
_TRUST: tuple[LabelSource, ...] = ("critic", "proxy", "outcome", "human")
"""Sources in increasing order of trust: if labels of the same two disagree, the last of these counts."""
SAME_FRAME = 8.0
"""Mean difference of 255 grey levels up to which two first frames are equal. H.264 leaves about 2."""

Frame = NDArray[np.uint8]
"""RGB, shape (H, W, 3)."""


_P = TypeVar("_P")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPair:
    """A pair, and the folders of its artifacts."""

    pair: PreferencePair
    run: Run
    """Run of the chosen side, and usually of the rejected one."""
    other_run: Run | None = None
    """Run of the rejected side, if a person has compared candidates of two runs."""

    @property
    def id(self) -> str:
        """The pair's own id or, for a pair from elsewhere, a hash of it."""
        return self.pair.pair_id or hashlib.sha256(encode(self.pair)).hexdigest()[:32]

    @property
    def goal(self) -> str:
        return self.pair.goal_instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPair:
    """A pair whose videos exist; ids are file names derived from their content."""

    found: FoundPair
    chosen: Path
    rejected: Path
    chosen_id: str
    rejected_id: str
    chosen_place: Place | None = None
    """Run and iteration; None for a pair from elsewhere."""
    rejected_place: Place | None = None
    first_frame: Frame
    """First frame of the chosen video."""


def pairs_of_runs(runs: Iterable[Run], rules: PairingRules) -> list[FoundPair]:
    """The pairs of finished runs, sorted by id."""
    return _by_id(FoundPair(pair=pair, run=run) for run in runs for pair in pairs_of_run(run.events, rules))


def pairs_of_files(
    files: Iterable[Path], runs: Iterable[Run] = (), left_out: Counter[str] | None = None
) -> list[FoundPair]:
    """The pairs of ``pairs.jsonl`` files, sorted by id; a repeated pair counts once. Raises BadInput.

    Artifacts are looked up in the pair's run if it is one of ``runs``, otherwise beside the file. Pairs of
    scores that a rescoring replaced, in whichever of the files, are left out.
    """
    known = {run.run_id: run for run in runs}
    by_file = {file: standing(read_text_pairs(file)) for file in files}
    kept, superseded = without_superseded([message for messages in by_file.values() for message in messages])
    if left_out is not None:
        left_out[SUPERSEDED] += superseded
    in_force = {id(message) for message in kept}
    found = []
    for file, messages in by_file.items():
        beside = _beside(file)
        for pair in messages:
            if isinstance(pair, PreferencePair) and id(pair) in in_force:
                sides = [str(pair.meta.get(f"{side}_run_id") or pair.run_id) for side in _SIDES]
                run, other = (
                    known.get(name)
                    or beside.get(name)
                    or Run(folder=file.resolve().parent, run_id=name, events=())
                    for name in sides
                )
                found.append(FoundPair(pair=pair, run=run, other_run=other if other != run else None))
    return _by_id(found)


def labelled(
    pairs: Iterable[FoundPair], sources: Sequence[LabelSource], left_out: Counter[str]
) -> list[FoundPair]:
    """Pairs with a label from one of ``sources``, or any if none is named; includes ties.

    Excludes pairs that judge only one dimension.
    """
    pairs = list(pairs)
    on_the_whole = [found for found in pairs if not dimension_of(found.pair)]
    left_out[DIMENSIONS] += len(pairs) - len(on_the_whole)
    wanted = [found for found in on_the_whole if not sources or found.pair.label_source in sources]
    left_out[OTHER_LABELS] += len(on_the_whole) - len(wanted)
    return wanted


def decided(pairs: Sequence[FoundPair], left_out: Counter[str]) -> list[FoundPair]:
    """The pairs that are not ties."""
    found = [one for one in pairs if not one.pair.tie]
    left_out[TIES] += len(pairs) - len(found)
    return found


def trl_rows(pairs: Iterable[FoundPair], left_out: Counter[str]) -> list[dict[str, object]]:
    """TRL's preference format with an explicit prompt: ``prompt``, ``chosen``, ``rejected``, and a margin.

    The prompt is the goal with a line end, because TRL concatenates prompt and completion. No two rows prefer
    the same two texts in opposite ways, see ``_undisputed``.
    """
    labels = []
    for found in pairs:
        label = _Label(found, plain(found.pair.chosen_prompt), plain(found.pair.rejected_prompt))
        if is_blank(found.goal) or not (label.chosen and label.rejected):
            left_out[_reason(found, NO_TEXTS)] += 1
        elif label.chosen == label.rejected:
            left_out[_reason(found, EQUAL_TEXTS)] += 1
        else:
            labels.append((label, found))
    return [
        {
            "prompt": f"{found.goal}\n",
            "chosen": found.pair.chosen_prompt,
            "rejected": found.pair.rejected_prompt,
            **_provenance(found),
        }
        for found in _undisputed(labels, left_out)
    ]


def video_pairs(
    pairs: Iterable[FoundPair],
    first_frame: Callable[[Path], Frame | None],
    left_out: Counter[str],
    *,
    same_first_frame: bool,
    on_pair: Callable[[], None] = lambda: None,
) -> list[VideoPair]:
    """The pairs with a goal and usable videos. With ``same_first_frame``, both videos must start with the
    same frame, as DPO of an image-to-video model requires. ``first_frame`` returns None if decoding fails.

    Ties are included, for ``undisputed_videos`` to weigh.
    """
    frames: dict[Path, Frame | None] = {}
    ids: dict[Path, str] = {}
    usable = []
    for found in pairs:
        on_pair()
        if is_blank(found.goal):
            left_out[_reason(found, NO_GOAL)] += 1
            continue
        chosen = find_video(found.run, found.pair.chosen_artifact)
        rejected = find_video(found.other_run or found.run, found.pair.rejected_artifact)
        if isinstance(chosen, str) or isinstance(rejected, str):
            reason = OUTSIDE_VIDEOS if OUTSIDE in (chosen, rejected) else NO_VIDEOS
            left_out[_reason(found, reason)] += 1
            continue
        for video in (chosen, rejected):
            if video not in frames:
                frames[video], ids[video] = first_frame(video), content_id(video)
        a, b = frames[chosen], frames[rejected]
        if a is None or b is None:
            left_out[_reason(found, UNDECODABLE)] += 1
        elif ids[chosen] == ids[rejected]:
            left_out[_reason(found, EQUAL_VIDEOS)] += 1
        elif same_first_frame and not found.pair.tie and not _alike(a, b):
            left_out[OTHER_FIRST_FRAME] += 1
        else:
            usable.append(
                VideoPair(
                    found=found,
                    chosen=chosen,
                    rejected=rejected,
                    chosen_id=ids[chosen],
                    rejected_id=ids[rejected],
                    chosen_place=_place(found, "chosen"),
                    rejected_place=_place(found, "rejected"),
                    first_frame=a,
                )
            )
    return usable


def undisputed_videos(pairs: Iterable[VideoPair], left_out: Counter[str]) -> list[VideoPair]:
    """The pairs, without any that prefer the same two videos in opposite ways; see ``_undisputed``."""
    labels = [(_Label(one.found, one.chosen_id, one.rejected_id), one) for one in pairs]
    return _undisputed(labels, left_out)


def dpo_rows(pairs: Iterable[VideoPair]) -> list[dict[str, object]]:
    """Paths are relative to the pairs' folder; the prompt is the goal, the same for both."""
    return [
        {
            "prompt": pair.found.goal,
            "first_frame": f"first_frames/{pair.chosen_id}.png",
            "chosen_video": f"videos/{pair.chosen_id}.mp4",
            "rejected_video": f"videos/{pair.rejected_id}.mp4",
            "chosen_prompt": pair.found.pair.chosen_prompt,
            "rejected_prompt": pair.found.pair.rejected_prompt,
            **_provenance(pair.found),
        }
        for pair in pairs
    ]


def json_lines(rows: Iterable[Mapping[str, object]]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


class _Label(NamedTuple):
    """A label that prefers one of two, or neither in a tie."""

    found: FoundPair
    chosen: str
    rejected: str

    @property
    def of(self) -> tuple[str, frozenset[str]]:
        return plain(self.found.goal), frozenset((self.chosen, self.rejected))

    @property
    def says(self) -> str:
        return _NEITHER if self.found.pair.tie else self.chosen


def _undisputed(labels: Sequence[tuple[_Label, _P]], left_out: Counter[str]) -> list[_P]:
    """Resolves labels that disagree on the same two, in order; drops ties.

    For each two, only the labels of the most trusted source count, and among them the answer with the most
    weight: a side, or a tie. If that is undecided or a tie, no label remains.
    """
    weights: dict[tuple[str, frozenset[str]], dict[int, dict[str, float]]] = {}
    for label, _ in labels:
        pair = label.found.pair
        of_source = weights.setdefault(label.of, {}).setdefault(_TRUST.index(pair.label_source), {})
        of_source[label.says] = of_source.get(label.says, 0.0) + pair.weight
    standing = []
    for label, one in labels:
        by_trust = weights[label.of]
        best = by_trust[max(by_trust)]
        agreed = all(of_source.keys() == {label.says} for of_source in by_trust.values())
        others = (best.get(says, 0.0) for says in (label.rejected, _NEITHER))
        if label.says != _NEITHER and (agreed or best.get(label.chosen, 0.0) > max(others)):
            standing.append(one)
        else:
            left_out[_reason(label.found, CONTRADICTED)] += 1
    return standing


def _reason(found: FoundPair, reason: str) -> str:
    """Why a pair gives no row; a tie gives none anyway."""
    return TIES if found.pair.tie else reason


def _provenance(found: FoundPair) -> dict[str, object]:
    pair = found.pair
    return {
        "margin": pair.gap,
        "label_source": pair.label_source,
        "pair_id": found.id,
        "task_id": pair.task_id,
        "run_id": pair.run_id,
    }


def _by_id(pairs: Iterable[FoundPair]) -> list[FoundPair]:
    once: dict[str, FoundPair] = {}
    for found in pairs:
        once.setdefault(found.id, found)
    return [once[pair_id] for pair_id in sorted(once)]


def _beside(file: Path) -> dict[str, Run]:
    """The runs whose trace is in the folder of a pairs file, by id."""
    folder = file.resolve().parent
    return {run.run_id: run for run in read_runs([folder])} if (folder / "trace.jsonl").is_file() else {}


def _place(found: FoundPair, side: str) -> Place | None:
    """A side's run and iteration: as stated in the pair, otherwise where its run has this video."""
    meta, run = found.pair.meta, found.run if side == "chosen" else found.other_run or found.run
    named = str(meta.get(f"{side}_iter_idx", ""))
    run_id = str(meta.get(f"{side}_run_id") or found.pair.run_id)
    if run_id and named.isdecimal():
        return run_id, int(named)
    artifact, prompt = getattr(found.pair, f"{side}_artifact"), getattr(found.pair, f"{side}_prompt")
    of_video = [e for e in run.events if e.artifact_path == artifact and e.prompt == prompt]
    return (run.run_id, of_video[0].iter_idx) if len(of_video) == 1 else None


def content_id(video: Path) -> str:
    """A name for a video's file, derived from its content."""
    with video.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:20]


def _alike(a: Frames, b: Frames) -> bool:
    return a.shape == b.shape and float(np.abs(a.astype(np.int16) - b).mean()) <= SAME_FRAME
