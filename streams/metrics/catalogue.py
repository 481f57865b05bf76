"""Every metric of the project: registries, docs, dashboards and alerts are built from this list.

No metric has a label for a run, a task or an annotator: their number is unbounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Service = Literal["trainer", "text", "lora", "runner", "page"]
SERVICES: tuple[Service, ...] = get_args(Service)
MetricType = Literal["counter", "gauge", "histogram"]

_ALL = SERVICES
_SNAPSHOT = ("kind", "model")
_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SLOW = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric."""

    name: str
    """The name as scraped; a counter's ends in ``_total``."""
    type: MetricType
    help: str
    services: tuple[Service, ...]
    labels: tuple[str, ...] = ()
    unit: str = ""
    """Unit of the values; empty for counts."""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram."""


METRICS: tuple[Metric, ...] = (
    Metric(
        name="tribrain_build_info",
        type="gauge",
        labels=("service", "version"),
        services=_ALL,
        help="Always 1; the labels name the service and its version.",
    ),
    Metric(
        name="tribrain_healthy",
        type="gauge",
        services=_ALL,
        help="1 if /health says that the process does its work, otherwise 0.",
    ),
    Metric(
        name="tribrain_memory_bytes",
        type="gauge",
        unit="bytes",
        labels=("holds",),
        services=("trainer",),
        help="Bytes of messages held in memory, by what they wait for.",
    ),
    Metric(
        name="tribrain_partitions",
        type="gauge",
        services=("trainer", "text"),
        help="Partitions that this process reads.",
    ),
    Metric(
        name="tribrain_lag_messages",
        type="gauge",
        labels=("topic", "partition"),
        services=("trainer", "text"),
        help="Messages that this process has not handled yet; absent if unknown.",
    ),
    Metric(
        name="tribrain_lag_seconds",
        type="gauge",
        unit="seconds",
        labels=("topic", "partition"),
        services=("trainer", "text"),
        help="Age of the oldest message not handled yet, by its timestamp; absent if unknown.",
    ),
    Metric(
        name="tribrain_lag_unknown_partitions",
        type="gauge",
        services=("trainer", "text"),
        help="Partitions whose lag is unknown because Kafka has not reported their end offsets.",
    ),
    Metric(
        name="tribrain_events_total",
        type="counter",
        services=("trainer",),
        help="Messages read from the trace topic.",
    ),
    Metric(
        name="tribrain_votes_total",
        type="counter",
        services=("trainer",),
        help="Messages read from the votes topic.",
    ),
    Metric(
        name="tribrain_pairs_formed_total",
        type="counter",
        labels=("of",),
        services=("trainer",),
        help="Pairs formed from runs and from votes.",
    ),
    Metric(
        name="tribrain_pairs_total",
        type="counter",
        services=("trainer", "text"),
        help="Pairs learnt.",
    ),
    Metric(
        name="tribrain_updates_total",
        type="counter",
        services=("trainer",),
        help="Batches of pairs that changed a model.",
    ),
    Metric(
        name="tribrain_dead_letters_total",
        type="counter",
        labels=("reason",),
        services=("trainer",),
        help="Messages that could not be used and were sent to the dead-letter topic.",
    ),
    Metric(
        name="tribrain_dead_letters_pending",
        type="gauge",
        labels=("reason",),
        services=("page",),
        help="Dead letters on the topic that were neither replayed nor dismissed.",
    ),
    Metric(
        name="tribrain_open_runs",
        type="gauge",
        services=("trainer",),
        help="Runs that have started and not ended.",
    ),
    Metric(
        name="tribrain_snapshot_version",
        type="gauge",
        labels=_SNAPSHOT,
        services=_ALL,
        help="Version of the newest snapshot, published or in use; a trainer has it if it learns the pairs.",
    ),
    Metric(
        name="tribrain_snapshot_timestamp_seconds",
        type="gauge",
        unit="seconds",
        labels=_SNAPSHOT,
        services=_ALL,
        help="When that snapshot was published, in seconds since 1970; its age is time() minus this.",
    ),
    Metric(
        name="tribrain_snapshot_unpublished_seconds",
        type="gauge",
        unit="seconds",
        labels=_SNAPSHOT,
        services=("trainer", "text"),
        help="Age of the oldest update that no published snapshot contains; 0 if all are published.",
    ),
    Metric(
        name="tribrain_publication_seconds",
        type="histogram",
        unit="seconds",
        labels=("message",),
        services=("trainer", "text"),
        buckets=_FAST,
        help="Time to publish a snapshot or a checkpoint to Kafka.",
    ),
    Metric(
        name="tribrain_gate_open",
        type="gauge",
        labels=_SNAPSHOT,
        services=_ALL,
        help="1 if that snapshot may steer runs (active), 0 if it is a shadow.",
    ),
    Metric(
        name="tribrain_gate_evidence",
        type="gauge",
        labels=_SNAPSHOT,
        services=("trainer", "page"),
        help="Evidence that the model beats the critics' mean; the gate opens at 20.",
    ),
    Metric(
        name="tribrain_gate_closings_total",
        type="counter",
        labels=_SNAPSHOT,
        services=("trainer", "page"),
        help="How often an open gate has closed again.",
    ),
    Metric(
        name="tribrain_log_loss",
        type="gauge",
        labels=(*_SNAPSHOT, "predictor"),
        services=("trainer", "page"),
        help="Mean log loss, in nats, on pairs from people and validators, before the model learnt them.",
    ),
    Metric(
        name="tribrain_labels",
        type="gauge",
        labels=(*_SNAPSHOT, "source"),
        services=_ALL,
        help="Pairs that the model has learnt, by the source of their labels.",
    ),
    Metric(
        name="tribrain_snapshot_apply_seconds",
        type="histogram",
        unit="seconds",
        services=("runner", "page"),
        buckets=_FAST,
        help="Time from a snapshot's publication, by Kafka's clock, to its first use here.",
    ),
    Metric(
        name="tribrain_snapshots_refused_total",
        type="counter",
        labels=("reason",),
        services=("runner", "page"),
        help="Snapshots that were refused.",
    ),
    Metric(
        name="tribrain_feed_silent_seconds",
        type="gauge",
        unit="seconds",
        services=("runner", "page"),
        help="Time since the snapshot feed last heard from Kafka; up to 3 s while Kafka is reachable.",
    ),
    Metric(
        name="tribrain_spool_records",
        type="gauge",
        services=("runner", "page"),
        help="Events or votes on this computer that Kafka does not have yet.",
    ),
    Metric(
        name="tribrain_spool_bytes",
        type="gauge",
        unit="bytes",
        services=("runner", "page"),
        help="Size of those events and votes.",
    ),
    Metric(
        name="tribrain_spool_oldest_seconds",
        type="gauge",
        unit="seconds",
        services=("runner", "page"),
        help="How long the oldest of them has waited; 0 if none waits.",
    ),
    Metric(
        name="tribrain_spool_quarantined_records",
        type="gauge",
        services=("runner", "page"),
        help="Records in the spool that Kafka will never accept.",
    ),
    Metric(
        name="tribrain_spool_refused_total",
        type="counter",
        services=("runner", "page"),
        help="Events that the spool refused because it is full or cannot be used.",
    ),
    Metric(
        name="tribrain_disk_free_bytes",
        type="gauge",
        unit="bytes",
        labels=("holds",),
        services=("trainer", "runner", "page", "lora"),
        help="Free bytes on the disk, by what it holds; for Kafka, on its fullest disk.",
    ),
    Metric(
        name="tribrain_disk_size_bytes",
        type="gauge",
        unit="bytes",
        labels=("holds",),
        services=("trainer", "runner", "page", "lora"),
        help="Size of that disk.",
    ),
    Metric(
        name="tribrain_candidates_total",
        type="counter",
        labels=("outcome",),
        services=("runner",),
        help="Videos that were judged, and candidates that failed.",
    ),
    Metric(
        name="tribrain_critic_failures_total",
        type="counter",
        labels=("critic",),
        services=("runner",),
        help="Videos that a critic did not score.",
    ),
    Metric(
        name="tribrain_votes_taken_total",
        type="counter",
        labels=("stored",),
        services=("page",),
        help="Votes given on the page, by where they were stored when it answered.",
    ),
    Metric(
        name="tribrain_new_pairs",
        type="gauge",
        services=("lora",),
        help="Pairs from people and validators that no training has used.",
    ),
    Metric(
        name="tribrain_training",
        type="gauge",
        services=("lora",),
        help="1 while a training is under way, otherwise 0.",
    ),
    Metric(
        name="tribrain_trainings_total",
        type="counter",
        labels=("gate",),
        services=("lora",),
        help="Trainings that were finished and published, by the gate of the resulting model.",
    ),
    Metric(
        name="tribrain_training_seconds",
        type="histogram",
        unit="seconds",
        services=("lora",),
        buckets=_SLOW,
        help="Duration of a training, from plan to publication.",
    ),
)


def metrics_of(service: Service) -> tuple[Metric, ...]:
    """The metrics that a service exposes."""
    return tuple(metric for metric in METRICS if service in metric.services)
