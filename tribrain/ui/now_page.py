"""The start page: problems, current runs, and the state of the stream."""

from __future__ import annotations

import re
import shlex
import time
from collections import Counter
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from streams.errors import BadInput, counted
from streams.kafka.reader import TopicReader
from tribrain.ui.library import Library
from tribrain.ui.pages import page, state_of
from tribrain.ui.runs_page import RunCard, card
from tribrain.ui.state import SILENT_S, Live, PageState

_RUNNING = 12
_ENDED = 8
_WINDOW_S = 60.0
_ASK_S = 1.0
_REASONS = 5
_PLACE = re.compile(r"^\S+\[\d+\]@\d+: ")
_QUOTED = re.compile(r"'[^']*'")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionItem:
    """A problem that needs attention."""

    title: str
    text: str
    commands: tuple[str, ...] = ()
    """Commands that help with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The state of the stream; None for unknown values."""

    events_per_s: float
    waiting_votes: int
    dead_letters: int
    lag: int | None
    """Messages on the pairs topic that the published model has not seen."""


async def show(request: Request) -> Response:
    state = state_of(request)
    news = state.news
    stream = await run_in_threadpool(_stream, state)
    cards = [card(run) for run in state.library.runs()]
    running = [each for each in cards if each.state == "running"]
    return page(
        request,
        "now.html.j2",
        "now",
        news=news,
        attention=_attention(state, cards),
        running=running[:_RUNNING],
        n_running=len(running),
        ended=[each for each in cards if each.state != "running"][:_ENDED],
        n_runs=len(cards),
        n_videos=sum(each.iterations for each in cards),
        n_votes=len(state.ballots.standing()),
        snapshot=state.snapshot(),
        stream=stream,
    )


def _stream(state: PageState) -> Stream | None:
    live = state.live
    if live is None:
        return None
    since = (time.time() - _WINDOW_S) * 1000
    return Stream(
        events_per_s=sum(at > since for at in list(live.event_times_ms)) / _WINDOW_S,
        waiting_votes=live.outlet.waiting,
        dead_letters=len(live.dead_letters()),
        lag=_lag(live),
    )


def _lag(live: Live) -> int | None:
    snapshot = live.feed.latest()
    if snapshot is None or live.follower.silent_s > SILENT_S:
        return None
    topic = live.settings.pairs_topic
    seen = snapshot.consumed.get(topic, {})  # read before the ends, so that the lag is never negative
    try:
        with TopicReader(live.settings, topic, timeout_s=_ASK_S) as reader:
            ends = reader.ends()
    except BadInput:
        return None
    return sum(max(0, end - seen.get(str(partition), 0)) for partition, end in ends.items())


def _attention(state: PageState, cards: list[RunCard]) -> list[AttentionItem]:
    """All problems, the worst first."""
    found: list[AttentionItem] = []
    if state.live is not None:
        found += [*_of_stream(state.live), *not_on_topic(state.library)]
    for place, what in state.library.problems.items()[:_REASONS]:
        found.append(AttentionItem(title=f"{place} cannot be used", text=what))
    if silent := [each for each in cards if each.state == "silent"]:
        found.append(
            AttentionItem(
                title=f"{counted(len(silent), 'run')} went silent",
                text="They have not ended, but produced nothing for an hour: "
                + ", ".join(each.run_id for each in silent[:_REASONS])
                + ". tribrain run end ends a run that will not continue.",
            )
        )
    return found


def not_on_topic(library: Library) -> list[AttentionItem]:
    """Runs that are stored here but not on Kafka, with the commands that send them."""
    missing = [run.folder for run in library.runs() if not run.is_on_topic and run.folder is not None]
    if not missing:
        return []
    first = f" The first {_REASONS}:" if len(missing) > _REASONS else ""
    return [
        AttentionItem(
            title=f"{counted(len(missing), 'run')} not on Kafka",
            text=f"Votes on them cannot be learnt until their traces are sent there.{first}",
            commands=tuple(
                f"tribrain log publish {shlex.quote(str(folder / 'trace.jsonl'))}"
                for folder in missing[:_REASONS]
            ),
        )
    ]


def _of_stream(live: Live) -> list[AttentionItem]:
    found = []
    if live.follower.silent_s > SILENT_S:
        found.append(
            AttentionItem(
                title="The broker does not answer",
                text=f"{live.settings.bootstrap_servers} has been silent for "
                f"{live.follower.silent_s:.0f} s. Votes are kept on this computer until it is back.",
            )
        )
    if waiting := live.outlet.waiting:
        why = live.outlet.problem or "They are on their way."
        found.append(AttentionItem(title=f"{counted(waiting, 'vote')} not on Kafka yet", text=why))
    letters = live.dead_letters()
    if letters:
        reasons = Counter(_kind(letter.reason) for letter in letters).most_common(_REASONS)
        found.append(
            AttentionItem(
                title=f"{counted(len(letters), 'message')} could not be used",
                text="; ".join(f"{n} × {reason}" for reason, n in reasons)
                + ". tribrain log dead-letters list shows them; tribrain log dead-letters replay retries "
                "them once the cause is fixed.",
            )
        )
    if refused := live.feed.refused:
        what = ", ".join(f"{n} × {reason}" for reason, n in refused.items())
        found.append(
            AttentionItem(title="Published models were refused", text=f"{what}. The current one stays.")
        )
    return found


def _kind(reason: str) -> str:
    """A reason without position and names, so that equal reasons are counted together."""
    return _QUOTED.sub("…", _PLACE.sub("", reason))
