"""A snapshot's figures as metrics: version, age, gate, evidence, log loss and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from streams.messages.contracts import AnySnapshot
from streams.metrics.instruments import Instruments, Labels


class _Read(msgspec.Struct):
    """The figures of a snapshot of any kind; large fields are skipped without decoding."""

    model: str
    kind: str
    version: int
    gate: str
    labels: dict[str, int]
    metrics: dict[str, Any]


_DECODER = msgspec.json.Decoder(_Read)


@dataclass(frozen=True, slots=True)
class SnapshotFigures:
    """Figures of one snapshot."""

    kind: str
    model: str
    version: int
    is_active: bool
    labels: Mapping[str, int]
    metrics: Mapping[str, Any]
    published_s: float | None
    """Seconds since 1970; None if unknown."""

    @classmethod
    def of(cls, snapshot: AnySnapshot, published_s: float | None) -> SnapshotFigures:
        """The figures of a decoded snapshot."""
        return cls(
            snapshot.kind,
            snapshot.model,
            snapshot.version,
            snapshot.gate == "active",
            snapshot.labels,
            snapshot.metrics,
            published_s,
        )

    @classmethod
    def read(cls, value: bytes, published_s: float | None) -> SnapshotFigures:
        """The figures of an encoded snapshot that this process has made."""
        read = _DECODER.decode(value)
        is_active = read.gate == "active"
        return cls(read.kind, read.model, read.version, is_active, read.labels, read.metrics, published_s)

    @property
    def name(self) -> Labels:
        """Values of the labels ``kind`` and ``model``."""
        return (self.kind, self.model)

    @property
    def evidence(self) -> float | None:
        """The gate's evidence; None if this kind of snapshot has none."""
        return _number(self.metrics.get("gate"), "evidence")

    @property
    def closings(self) -> float | None:
        """How often its gate has closed again; None if this kind does not report it."""
        return _number(self.metrics.get("gate"), "closed_times")

    @property
    def log_losses(self) -> dict[str, float]:
        """``model`` and ``critics_mean``; empty before the first pair from people or validators."""
        trusted = self.metrics.get("trusted")
        losses = {
            "model": _number(trusted, "log_loss"),
            "critics_mean": _number(trusted, "log_loss_critics_mean"),
        }
        return {name: loss for name, loss in losses.items() if loss is not None}


def expose_snapshots(instruments: Instruments, newest: Callable[[], Iterable[SnapshotFigures]]) -> None:
    """Expose the figures of the ``newest`` snapshots, one per kind and model, that the service lists."""

    def expose(name: str, of: Callable[[SnapshotFigures], Mapping[Labels, float | None]]) -> None:
        if name in instruments.names:
            instruments.expose(
                name,
                lambda: {
                    (*figures.name, *labels): float(value)
                    for figures in newest()
                    for labels, value in of(figures).items()
                    if value is not None
                },
            )

    expose("tribrain_snapshot_version", lambda each: {(): each.version})
    expose("tribrain_snapshot_timestamp_seconds", lambda each: {(): each.published_s})
    expose("tribrain_gate_open", lambda each: {(): each.is_active})
    expose("tribrain_gate_evidence", lambda each: {(): each.evidence})
    expose("tribrain_gate_closings_total", lambda each: {(): each.closings})
    expose("tribrain_log_loss", lambda each: {(name,): loss for name, loss in each.log_losses.items()})
    expose("tribrain_labels", lambda each: {(source,): n for source, n in each.labels.items()})


def _number(figures: object, name: str) -> float | None:
    value = figures.get(name) if isinstance(figures, dict) else None
    return float(value) if isinstance(value, int | float) else None
