"""Which of the reward snapshots that are offered is in use, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Generic, TypeVar

from streams.messages.codec import ContractError, NotFinite, OtherFeatures, OtherModel, decode_snapshot_of
from streams.messages.contracts import AnySnapshot, RewardSnapshot
from streams.messages.feature_names import critic_of

Snapshot = TypeVar("Snapshot", bound=AnySnapshot)


class NotNewer(ContractError):
    """A snapshot that is no newer than the one in use."""

    reason = "not newer"


REFUSALS = tuple(error.reason for error in (ContractError, NotFinite, OtherFeatures, OtherModel, NotNewer))
"""All reasons by which ``ServingSnapshot.refused`` counts."""


class ServingSnapshot(Generic[Snapshot]):
    """The newest usable snapshot of those that were offered; a worse one changes nothing.

    ``kind`` is which of the kinds of snapshots it takes. ``model`` is the reward model's name; by default
    that of the first snapshot. ``critics`` are the names of the critics whose scores the snapshot is to
    weigh; by default any. With ``replaceable``, a snapshot of the same version takes the place of the one in
    use. ``refused`` counts by reason, one of REFUSALS, what was not taken.
    """

    def __init__(
        self,
        kind: type[Snapshot],
        model: str | None = None,
        *,
        critics: Collection[str] = (),
        replaceable: bool = False,
    ) -> None:
        self._kind = kind
        self._model = model
        self._critics = critics
        self._replaceable = replaceable
        self.snapshot: Snapshot | None = None
        self.refused: Counter[str] = Counter()

    def offer(self, raw: bytes, source: str) -> Snapshot:
        """Take the snapshot into use. Raises ContractError with the reason for which it was refused."""
        try:
            snapshot = decode_snapshot_of(self._kind, raw, source)
            self._check(snapshot, source)
        except ContractError as error:
            self.refused[error.reason] += 1
            raise
        self._model, self.snapshot = snapshot.model, snapshot
        return snapshot

    def _check(self, snapshot: Snapshot, source: str) -> None:
        if self._model not in (None, snapshot.model):
            raise OtherModel(f"{source}: is of model {snapshot.model!r}; expected {self._model!r}")
        if isinstance(snapshot, RewardSnapshot):
            self._check_critics(snapshot, source)
        if self.snapshot is None:
            return
        in_use = self.snapshot.version
        if snapshot.version < in_use or (snapshot.version == in_use and not self._replaceable):
            raise NotNewer(f"{source}: is version {snapshot.version}, and version {in_use} is in use")

    def _check_critics(self, snapshot: RewardSnapshot, source: str) -> None:
        weighed = {critic_of(name) for name in snapshot.feature_names} - {""}
        own = tuple(f"{critic}." for critic in self._critics)
        if own and weighed and not any(name.startswith(own) for name in weighed):
            critics = sorted({name.partition(".")[0] for name in weighed})
            raise OtherFeatures(
                f"{source}: weighs the critics {', '.join(critics)}; this run has none of them, "
                f"but {', '.join(sorted(self._critics))}"
            )
