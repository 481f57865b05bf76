"""The story of a run, iteration by iteration: what changed, its results, and why it stopped."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from streams.messages.contracts import TraceEvent
from tribrain.story.course import best_so_far, rewards_of, version_of

_CLOSE = 0.6
_STOPS = {
    "max_iters": "It made all its iterations.",
    "patience": "Its videos got no better for a while.",
    "target_score": "A video was good enough.",
    "drift": "The critics' score rose while one of its parts fell: the critics were being pleased.",
    "max_wall_s": "Its time was up.",
    "max_failures": "Too many videos in a row could not be made or judged.",
    "interrupted": "Somebody stopped it.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """A video as a page shows it; with nothing set, there is none to show."""

    src: str = ""
    """The address that a player in the page takes."""
    poster: str = ""
    """A still of it."""
    link: str = ""
    """The address of a link to it."""
    words: str = ""
    """The text of the link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferred:
    """The reward of one dimension for a video, compared with the others of its run."""

    prob: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
    """Mean probability of being preferred to another."""
    confidence: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
    """Confidence in [0, 1]; 0 where the reward may not steer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One iteration of a run."""

    event: TraceEvent
    film: Film
    best_before: TraceEvent | None
    """The best of the iterations before this one, if any."""
    film_before: Film
    """The video of ``best_before``."""
    reward: float | None
    """The critics' reward plus the preference model's part, where it had one."""
    version: int | None
    is_swap: bool
    """Whether the model in use differs from that of the iteration before."""
    watches_only: bool
    """Whether that model is a shadow: it is not yet shown to be good, and so changes nothing."""
    is_best: bool
    """Whether it is the best of the whole run."""
    by_dimension: Mapping[str, Preferred]
    """Rewards of the dimensions that the run weighs and the model knows."""
    prompt: list[tuple[str, str]]
    """Pieces of the prompt, as ``same``, ``ins`` and ``del`` compared with that of the step before."""
    error: str


def steps(
    events: Sequence[TraceEvent],
    film: Callable[[TraceEvent], Film],
    film_before: Callable[[TraceEvent], Film] | None = None,
) -> list[Step]:
    """A step for each event, in their order; ``film_before``, by default ``film``, shows ``best_before``."""
    rewards, bests = rewards_of(events), best_so_far(events)
    # A run may let a model steer whose gate is shut, such as one in a file.
    steering = {version_of(event) for event in events if event.meta.get("preference_confidence")}
    show_before = film_before or film
    made: list[Step] = []
    for n, event in enumerate(events):
        before = bests[n - 1] if n else None
        version = version_of(event)
        made.append(
            Step(
                event=event,
                film=film(event),
                best_before=before,
                film_before=show_before(before) if before is not None else Film(),
                reward=rewards.get(event.iter_idx),
                version=version,
                is_swap=n > 0 and version is not None and version != version_of(events[n - 1]),
                watches_only=event.meta.get("reward_gate") == "shadow" and version not in steering,
                is_best=event is bests[-1],
                by_dimension=_by_dimension(event),
                prompt=difference(events[n - 1].prompt, event.prompt) if n else [("same", event.prompt)],
                error=str(event.meta.get("error") or ""),
            )
        )
    return made


def why_it_stopped(stop_reason: str | None) -> str:
    """The reason in a sentence; ``stop_reason`` is None for a trace that has no end."""
    if stop_reason is None:
        return "Its trace has no end: it is still running, or was cut off."
    if not stop_reason:
        return "It ended; the reason was not recorded."
    return _STOPS.get(stop_reason, f"It ended: {stop_reason}.")


def difference(before: str, after: str) -> list[tuple[str, str]]:
    """``after`` in pieces, with what was added to ``before`` and what was removed.

    The comparison is by lines, and within lines that changed a little by words. A line break that the last
    line gains because another follows is no change.
    """
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    old_lines, new_lines = before.splitlines(), after.splitlines()
    pieces: list[tuple[str, str]] = []
    for what, a, b, c, d in difflib.SequenceMatcher(None, old_lines, new_lines, autojunk=False).get_opcodes():
        if what == "equal":
            pieces.append(("same", "".join(new[c:d])))
            continue
        together = 0
        while a + together < b and c + together < d and _are_close(old[a + together], new[c + together]):
            pieces += _by_words(old[a + together], new[c + together])
            together += 1
        pieces += _changed(old[a + together : b], new[c + together : d])
    return pieces


def _by_dimension(event: TraceEvent) -> Mapping[str, Preferred]:
    """The recorded rewards by dimension; empty if malformed, as anyone may write a trace."""
    try:
        return msgspec.convert(event.meta.get("preference_by_dimension", {}), dict[str, Preferred])
    except msgspec.ValidationError:
        return {}


def _are_close(old: str, new: str) -> bool:
    return difflib.SequenceMatcher(None, old, new, autojunk=False).ratio() > _CLOSE


def _by_words(old_line: str, new_line: str) -> list[tuple[str, str]]:
    old, new = (re.findall(r"\s+|\w+|[^\w\s]", line) for line in (old_line, new_line))
    pieces: list[tuple[str, str]] = []
    for what, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        pieces += [("same", "".join(new[c:d]))] if what == "equal" else _changed(old[a:b], new[c:d])
    return pieces


def _changed(old: Sequence[str], new: Sequence[str]) -> list[tuple[str, str]]:
    return [(kind, "".join(parts)) for kind, parts in (("del", old), ("ins", new)) if parts]
