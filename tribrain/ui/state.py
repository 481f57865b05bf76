"""The state that all pages share, and what keeps it up to date."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from streams.errors import BadInput
from streams.kafka.follow import TopicFollower
from streams.kafka.settings import Settings
from streams.kafka.topics import create_topics
from streams.messages.codec import decode_snapshot, decode_trace, decode_vote
from streams.messages.contracts import RewardSnapshot, snapshot_key
from streams.messages.dead_letters import DeadLetter, pending_letters
from streams.messages.stored import StoredMessage
from streams.snapshots.feed import SnapshotFeed
from tribrain.ui.asking import Asker
from tribrain.ui.ballots import Ballots
from tribrain.ui.films import Films
from tribrain.ui.folders import FolderWatch
from tribrain.ui.library import Library
from tribrain.ui.links import Links
from tribrain.ui.outlet import VoteOutlet
from tribrain.ui.stores import Stores

log = logging.getLogger(__name__)
_TRY_AGAIN_S = 2.0
_VERSIONS = 500
SILENT_S = 10.0
"""Seconds without an answer after which the broker needs attention."""
_TROUBLES_S = 1.0
"""Least time between two looks for troubles, which take longer than looks for other news."""


@dataclass(slots=True, kw_only=True)
class Live:
    """The state that exists only with a broker."""

    settings: Settings
    model: str
    outlet: VoteOutlet
    feed: SnapshotFeed
    follower: TopicFollower
    letters: list[StoredMessage] = field(default_factory=list)
    event_times_ms: list[int] = field(default_factory=list)
    """Times of the newest events on the trace topic, in ms since 1970."""
    versions: list[tuple[int, RewardSnapshot]] = field(default_factory=list)
    """The model's published snapshots, in ascending versions, with their times in ms since 1970."""

    def dead_letters(self) -> list[DeadLetter]:
        """Dead letters that have not been replayed, oldest first."""
        return pending_letters(list(self.letters))


@dataclass(slots=True, kw_only=True)
class PageState:
    """The state of one server."""

    library: Library
    ballots: Ballots
    films: Films
    links: Links
    asker: Asker
    dimensions: tuple[str, ...]
    """What people are asked about; an empty text means overall."""
    annotator: str
    """The annotator if the browser names none; empty to ask."""
    live: Live | None
    started_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    taking: threading.Lock = field(default_factory=threading.Lock)
    """Held while a vote is accepted, so that of two identical simultaneous votes one is the first."""

    _troubles: tuple[float, str] = (-math.inf, "")

    def snapshot(self) -> RewardSnapshot | None:
        """The newest reward model, or None."""
        return None if self.live is None else self.live.feed.latest()

    @property
    def news(self) -> str:
        """A text that changes whenever there is something new to show, and after a restart."""
        snapshot = self.snapshot()
        parts = [self.started_ms, self.library.version, self.ballots.version]
        parts.append(snapshot.version if snapshot else -1)
        if self.live is not None:
            parts += [len(self.live.letters), self.live.versions[-1][1].version if self.live.versions else -1]
        return ".".join(map(str, [*parts, self._seen_troubles()]))

    def _seen_troubles(self) -> str:
        now_s = time.monotonic()
        if now_s - self._troubles[0] >= _TROUBLES_S:
            self._troubles = now_s, self._look_for_troubles()
        return self._troubles[1]

    def _look_for_troubles(self) -> str:
        """A text that changes with what needs attention; as silence lasts, once a minute."""
        parts = [self.library.problems.version, sum(run.state == "silent" for run in self.library.runs())]
        if self.live is not None:
            silent_s = self.live.follower.silent_s
            parts.append(int(silent_s // 60) if silent_s > SILENT_S else -1)
            parts += [self.live.outlet.waiting, self.live.outlet.problem is not None]
            parts.append(sum(self.live.feed.refused.values()))
        return ".".join(map(str, parts))


@contextmanager
def open_state(
    *,
    roots: Sequence[Path],
    stores: Sequence[str] = (),
    settings: Settings | None,
    model: str,
    dimensions: Sequence[str],
    random_share: float | None = None,
    model_by: str | None = None,
    annotator: str,
    key: bytes,
    state_dir: Path,
    cache: Path,
    on_applied: Callable[[float], None] | None = None,
) -> Iterator[PageState]:
    """Keep everything running until the block ends; ``on_applied`` is as in ``FeedOf``. Raises BadInput."""
    library, ballots = Library(Stores(stores)), Ballots()
    with ExitStack() as stack:
        stack.enter_context(FolderWatch(roots, library))
        live = None
        if settings is not None:
            live = _open_live(stack, settings, model, library, ballots, state_dir, on_applied)
        yield PageState(
            library=library,
            ballots=ballots,
            films=Films(cache),
            links=Links(key),
            asker=Asker(
                library,
                ballots,
                lambda: live.feed.latest() if live else None,
                random_share=random_share,
                model_by=model_by,
            ),
            dimensions=tuple(dimensions) or ("",),
            annotator=annotator,
            live=live,
        )


def _open_live(
    stack: ExitStack,
    settings: Settings,
    model: str,
    library: Library,
    ballots: Ballots,
    state_dir: Path,
    on_applied: Callable[[float], None] | None,
) -> Live:
    letters: list[StoredMessage] = []
    times: list[int] = []
    versions: list[tuple[int, RewardSnapshot]] = []
    own = snapshot_key(model).encode()

    def take(message: StoredMessage) -> None:
        if message.topic == settings.trace_topic:
            library.take(decode_trace(message.value, message), message.timestamp_ms, is_on_topic=True)
            times.append(message.timestamp_ms)
            del times[:-1000]
        elif message.topic == settings.votes_topic:
            ballots.take(decode_vote(message.value, message))
        elif message.topic == settings.dead_letters_topic:
            letters.append(message)
        elif message.key == own:
            snapshot = decode_snapshot(message.value, message)
            if not versions or snapshot.version > versions[-1][1].version:
                versions.append((message.timestamp_ms, snapshot))
                del versions[:-_VERSIONS]

    _create_topics_some_time(stack, settings)
    topics = (
        settings.trace_topic,
        settings.votes_topic,
        settings.dead_letters_topic,
        settings.snapshots_topic,
    )
    return Live(
        settings=settings,
        model=model,
        outlet=stack.enter_context(VoteOutlet(settings, state_dir)),
        feed=stack.enter_context(SnapshotFeed(settings, model, on_applied=on_applied)),
        follower=stack.enter_context(TopicFollower(settings, topics, take)),
        letters=letters,
        event_times_ms=times,
        versions=versions,
    )


def _create_topics_some_time(stack: ExitStack, settings: Settings) -> None:
    """Create the topics at once, or when the broker is back; votes wait in their spool until then."""
    closing = threading.Event()

    def create() -> None:
        while True:
            try:
                create_topics(settings)
            except BadInput as error:
                log.warning("%s; votes are kept on this computer until then", error)
                if closing.wait(_TRY_AGAIN_S):
                    return
            else:
                return

    stack.callback(closing.set)
    threading.Thread(target=create, name="create-topics", daemon=True).start()
