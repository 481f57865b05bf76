"""Chooses which of the offered reward snapshots is in use, and states why others are refused."""

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
"""All reasons that ``ServingSnapshot.refused`` counts."""


class ServingSnapshot(Generic[Snapshot]):
    """The newest usable snapshot of those offered; a refused one changes nothing.

    ``kind`` is the kind of snapshot accepted. ``model`` is the reward model's name; by default that of the
    first snapshot. ``critics`` are the names of the run's critics; a snapshot that weighs critics must weigh
    at least one of them; by default any. With ``replaceable``, a snapshot of the same version replaces the
    one in use. ``refused`` counts refused snapshots by reason, one of REFUSALS.
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
        """Use the snapshot from now on. Raises ContractError with the reason if it is refused."""
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
            raise NotNewer(f"{source}: is version {snapshot.version}; version {in_use} is already in use")

    def _check_critics(self, snapshot: RewardSnapshot, source: str) -> None:
        weighed = {critic_of(name) for name in snapshot.feature_names} - {""}
        own = tuple(f"{critic}." for critic in self._critics)
        if own and weighed and not any(name.startswith(own) for name in weighed):
            critics = sorted({name.partition(".")[0] for name in weighed})
            raise OtherFeatures(
                f"{source}: weighs the critics {', '.join(critics)}; this run has none of them; "
                f"it has {', '.join(sorted(self._critics))}"
            )
