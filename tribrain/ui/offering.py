"""Offers an annotator the next pair whose films can be shown."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.interfaces import GenerationFailed
from runner.worlds.scene import DRAWN
from runner.worlds.simulated import SimulatedWorld
from streams.messages.contracts import TraceEvent
from streams.snapshots.artifacts import ArtifactError, StoreAway
from tribrain.ui.asking import Asked
from tribrain.ui.films import BlindCopy
from tribrain.ui.links import digest
from tribrain.ui.state import PageState

log = logging.getLogger(__name__)
_TRIES = 8


class NotNow(Exception):
    """No video can be shown at the moment; the message says why."""


def offer(state: PageState, annotator: str, dimension: str) -> dict[str, Any]:
    """The next pair as JSON, on ``dimension`` or else on another one that this page asks about.

    If none is left, ``pair`` is null and ``why`` says why (see ``Rest``). Raises NotNow.
    """
    problem = ""
    not_shown: list[tuple[str, Asked]] = []
    try:
        for of, asked in _asked(state, annotator, dimension):
            try:
                shown = [_shown(state, candidate) for candidate in (asked.left, asked.right)]
            except (StoreAway, OSError) as error:
                log.warning("a video cannot be shown now: %s", error)
                problem = (error.strerror if isinstance(error, OSError) else None) or str(error)
                # Reserved until the end, so that each try is another pair.
                not_shown.append((of, asked))
                if len(not_shown) == _TRIES:
                    break
            else:
                if all(shown):
                    return _as_json(state, asked, [each for each in shown if each], annotator, of)
    finally:
        for of, asked in not_shown:
            state.asker.give_back(annotator, of, asked)
    if problem:
        raise NotNow(problem)
    return {"pair": None, "why": state.asker.rest(annotator, state.dimensions)}


def _asked(state: PageState, annotator: str, dimension: str) -> Iterator[tuple[str, Asked]]:
    """All pairs for this annotator, those on ``dimension`` first."""
    for each in sorted(state.dimensions, key=lambda name: name != dimension):
        while (asked := state.asker.next(annotator, each)) is not None:
            yield each, asked


def _shown(state: PageState, candidate: tuple[str, int]) -> tuple[TraceEvent, BlindCopy] | None:
    """The iteration and its film; None if the video is gone or is none, so that it is not asked about again.

    Raises StoreAway, and OSError if it is not the video's fault.
    """
    run = state.library.run(candidate[0])
    event = state.library.event(candidate)
    video = run.video(event) if run is not None and event is not None else None
    if run is None or event is None or video is None:
        state.library.look_again()
        return None
    try:
        return event, state.films.blind(video)
    except StoreAway:
        raise
    except (GenerationFailed, OSError, ArtifactError) as error:
        if run.video(event) is None:
            state.library.look_again()
            return None
        if isinstance(error, OSError):
            raise
        log.warning("a video cannot be shown and is left out: %s", error)
        place = str(video) if isinstance(video, Path) else f"{candidate[0]}, iteration {candidate[1]}"
        state.library.problems.report(place, str(error))
        state.library.leave_out(candidate)
        return None


def _as_json(
    state: PageState, asked: Asked, shown: list[tuple[TraceEvent, BlindCopy]], annotator: str, dimension: str
) -> dict[str, Any]:
    names = [digest(*asked.left), digest(*asked.right)]
    pair = {
        "sides": names,
        "rule": asked.rule,
        "probability": asked.probability,
        "annotator": annotator,
        "dimension": dimension,
        "nonce": secrets.token_hex(8),
    }
    sides = [
        {
            "film": "/film/" + state.links.seal("film", {"candidate": name, "nonce": secrets.token_hex(8)}),
            "fps": film.fps,
            "frames": film.frames,
            "width": film.width,
            "height": film.height,
        }
        for name, (_, film) in zip(names, shown, strict=True)
    ]
    is_simulated = all(event.context.get("world_model") == SimulatedWorld.name for event, _ in shown)
    return {
        "pair": state.links.seal("pair", pair),
        "goal": shown[0][0].goal_instruction,
        "about": DRAWN if is_simulated else "",
        "dimension": dimension,
        "left": sides[0],
        "right": sides[1],
    }
