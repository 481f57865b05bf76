"""The newest reward of a running Kafka, for a loop of one's own."""

from __future__ import annotations

from collections.abc import Collection
from threading import Event
from typing import TYPE_CHECKING, Self

from streams.errors import BadInput
from streams.messages.refusals import shown
from tribrain.api.reward import Reward
from tribrain.shell.kafka_access import open_kafka

if TYPE_CHECKING:
    from streams.snapshots.feed import SnapshotFeed


class RewardFeed:
    """Follows the rewards of a model as they are published, in a thread; to be used in a ``with`` block.

    - ``bootstrap_servers``: where Kafka is (``host:port``), by default from ``TRIBRAIN_BOOTSTRAP_SERVERS`` or
      ``TRIBRAIN_KAFKA_CONFIG``
    - ``model``: the name of the reward model to follow
    - ``critics``: the names of one's critics: a reward that weighs none of them is refused

    The prefix of the topics and security come from the environment, as for every command. A broker that is
    away is not an error: the newest reward stays, and the feed continues once the broker is back. Raises
    BadInput where no broker is named, and where it does not let this client in.

    >>> with RewardFeed("localhost:9092") as feed:  # doctest: +SKIP
    ...     reward = feed.active()
    """

    def __init__(
        self,
        bootstrap_servers: str | None = None,
        *,
        model: str = "default",
        critics: Collection[str] = (),
    ) -> None:
        if isinstance(critics, str):
            raise BadInput(f"critics is the text {shown(critics)}; expected a list of names")
        # Not at the top: a loop that follows nothing needs no client of Kafka.
        from streams.snapshots.feed import SnapshotFeed

        self._came = Event()
        self.snapshots: SnapshotFeed = SnapshotFeed(
            open_kafka(bootstrap_servers, "log snapshots list", model, given_by='RewardFeed("host:port")'),
            model,
            critics=critics,
            on_snapshot=lambda _: self._came.set(),
        )
        """The feed that a loop follows: like ``latest``, but of messages."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def latest(self) -> Reward | None:
        """The newest reward, even one that may not steer (a shadow); None before the first. Never waits."""
        snapshot = self.snapshots.latest()
        return None if snapshot is None else Reward(snapshot)

    def active(self) -> Reward | None:
        """The newest reward if it is shown to beat the critics' mean, and so may steer; else None."""
        reward = self.latest()
        return reward if reward is not None and reward.is_active else None

    def wait(self, timeout_s: float) -> Reward | None:
        """Wait for the first reward: ``latest``, or None where none came within ``timeout_s`` seconds."""
        self._came.wait(timeout_s)
        return self.latest()

    @property
    def refused(self) -> dict[str, int]:
        """Number of refused rewards, by reason."""
        return self.snapshots.refused

    @property
    def silent_s(self) -> float:
        """Seconds since Kafka last answered: a few while it is up."""
        return self.snapshots.silent_s

    def close(self) -> None:
        """Stop following; the newest reward stays. May be called twice."""
        self.snapshots.close()
