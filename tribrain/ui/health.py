"""The page's health, ``/health`` for a container's health check, and its metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from streams.messages.dead_letters import KINDS
from streams.metrics.health import Condition
from streams.metrics.instruments import Instruments, Labels
from tribrain.shell.spool_metrics import expose_disks, expose_feed, expose_spool
from tribrain.ui.state import Live, PageState

SILENT_S = 15.0
"""Seconds that Kafka may be silent; it is asked every two seconds."""


async def show(request: Request) -> Response:
    """200, or 503 if the page cannot read Kafka, with one sentence."""
    condition = condition_of(request.app.state.page)
    return PlainTextResponse(f"{condition.sentence}\n", 200 if condition.is_well else 503)


def condition_of(state: PageState) -> Condition:
    """The page's condition; without a broker it is healthy."""
    live = state.live
    if live is None:
        return Condition(True, "It shows runs; no broker is configured.")
    if not live.follower.is_alive:
        return Condition(False, "It no longer follows Kafka.")
    if live.follower.silent_s > SILENT_S:
        return Condition(False, f"Kafka has not answered for {live.follower.silent_s:.0f} s.")
    return Condition(True, "It is reading Kafka.")


def expose(instruments: Instruments, state: PageState, folder: Path) -> None:
    """Expose health and metrics of ``state``, whose votes wait in ``folder``."""
    live = state.live
    instruments.health = lambda: condition_of(state)
    expose_disks(instruments, lambda: {"state": folder})
    expose_feed(instruments, lambda: None if live is None else live.feed)
    expose_spool(instruments, lambda: None if live is None else live.outlet.status)
    instruments.expose("tribrain_spool_refused_total", lambda: 0.0 if live is None else live.outlet.refused)
    instruments.expose("tribrain_votes_taken_total", lambda: _votes(live))
    instruments.expose("tribrain_dead_letters_pending", lambda: _letters(live))


def _votes(live: Live | None) -> Mapping[Labels, float]:
    return {} if live is None else {(place,): count for place, count in live.outlet.taken.items()}


def _letters(live: Live | None) -> Mapping[Labels, float]:
    if live is None:
        return {}
    counts = Counter(letter.kind for letter in live.dead_letters())
    return {(kind,): counts[kind] for kind in KINDS}
