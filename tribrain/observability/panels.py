"""Every panel of the dashboard: what it shows, and by which queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel of lines over time."""

    title: str
    queries: Mapping[str, str]
    """Query to its legend; ``{{label}}`` is the label's value."""
    unit: str = "short"
    """Unit of the values, by Grafana's name for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelRow:
    """A titled row of panels that belong together."""

    title: str
    panels: tuple[Panel, ...]


def _p95(metric: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile(0.95, sum by ({labels}) (rate({metric}_bucket[5m])))"


ROWS: tuple[PanelRow, ...] = (
    PanelRow(
        title="Does it work?",
        panels=(
            Panel(
                title="Services that do their work",
                queries={"tribrain_healthy": "{{job}} {{instance}}"},
            ),
            Panel(
                title="Events, votes and pairs a second",
                queries={
                    "sum(rate(tribrain_events_total[5m]))": "events",
                    "sum(rate(tribrain_votes_total[5m]))": "votes",
                    "sum by (of) (rate(tribrain_pairs_formed_total[5m]))": "pairs formed of {{of}}",
                    "sum by (job) (rate(tribrain_pairs_total[5m]))": "pairs learnt by {{job}}",
                    "sum(rate(tribrain_updates_total[5m]))": "batches that changed a model",
                },
                unit="ops",
            ),
            Panel(
                title="Dead letters",
                queries={
                    "sum by (reason) (increase(tribrain_dead_letters_total[15m]))": "{{reason}}, new",
                    "max by (reason) (tribrain_dead_letters_pending)": "{{reason}}, waiting",
                },
            ),
        ),
    ),
    PanelRow(
        title="How far behind?",
        panels=(
            Panel(
                title="Lag in messages",
                queries={
                    "tribrain_lag_messages": "{{job}} {{topic}} {{partition}}",
                    "tribrain_lag_unknown_partitions": "{{job}}: partitions of which it is unknown",
                },
            ),
            Panel(
                title="Lag in seconds",
                queries={"tribrain_lag_seconds": "{{job}} {{topic}} {{partition}}"},
                unit="s",
            ),
            Panel(
                title="Messages in the trainer's memory",
                queries={"sum by (holds) (tribrain_memory_bytes)": "{{holds}}"},
                unit="bytes",
            ),
            Panel(
                title="Runs and partitions",
                queries={
                    "sum(tribrain_open_runs)": "open runs",
                    "sum by (job) (tribrain_partitions)": "partitions of {{job}}",
                },
            ),
        ),
    ),
    PanelRow(
        title="The models",
        panels=(
            Panel(
                title="Version",
                queries={"max by (kind, model) (tribrain_snapshot_version)": "{{kind}} {{model}}"},
            ),
            Panel(
                title="Age of the newest snapshot, and of what is not published",
                queries={
                    "time() - max by (kind, model) (tribrain_snapshot_timestamp_seconds)": "{{kind}} "
                    "{{model}}",
                    "max by (kind, model) (tribrain_snapshot_unpublished_seconds)": "{{kind}} {{model}}, "
                    "unpublished",
                },
                unit="s",
            ),
            Panel(
                title="Evidence (the gate opens at 20)",
                queries={
                    "max by (kind, model) (tribrain_gate_evidence)": "{{kind}} {{model}}",
                    "20 * max by (kind, model) (tribrain_gate_open)": "{{kind}} {{model}}: 20 where it is "
                    "open",
                    "max by (kind, model) (tribrain_gate_closings_total)": "{{kind}} {{model}}: closed so "
                    "often",
                },
            ),
            Panel(
                title="Log loss on pairs of people and validators",
                queries={
                    "max by (kind, model, predictor) (tribrain_log_loss)": "{{kind}} {{model}}, {{predictor}}"
                },
            ),
            Panel(
                title="Labels",
                queries={"max by (kind, model, source) (tribrain_labels)": "{{kind}} {{model}}, {{source}}"},
            ),
            Panel(
                title="Publication and application, 95% within",
                queries={
                    _p95("tribrain_publication_seconds", "message"): "{{message}} to Kafka",
                    _p95("tribrain_snapshot_apply_seconds"): "snapshot from Kafka into use",
                },
                unit="s",
            ),
            Panel(
                title="Trainings of the LoRA service",
                queries={
                    "sum(tribrain_training)": "under way",
                    "sum(tribrain_new_pairs)": "new pairs",
                    "sum by (gate) (tribrain_trainings_total)": "finished, {{gate}}",
                    "sum(tribrain_training_seconds_sum) / sum(tribrain_training_seconds_count)": "seconds "
                    "each",
                },
            ),
        ),
    ),
    PanelRow(
        title="Runs and people",
        panels=(
            Panel(
                title="Candidates and votes",
                queries={
                    "sum by (outcome) (increase(tribrain_candidates_total[15m]))": "candidates {{outcome}}",
                    "sum by (critic) (increase(tribrain_critic_failures_total[15m]))": "no score of "
                    "{{critic}}",
                    "sum by (stored) (increase(tribrain_votes_taken_total[15m]))": "votes into {{stored}}",
                },
            ),
            Panel(
                title="Spools",
                queries={
                    "tribrain_spool_records": "{{job}} {{instance}}",
                    "tribrain_spool_quarantined_records": "{{job}} {{instance}}, refused by Kafka",
                    "increase(tribrain_spool_refused_total[15m])": "{{job}} {{instance}}, refused by the "
                    "spool",
                },
            ),
            Panel(
                title="Age of the oldest in a spool, and silence of Kafka",
                queries={
                    "tribrain_spool_oldest_seconds": "spool of {{job}} {{instance}}",
                    "tribrain_feed_silent_seconds": "silence at {{job}} {{instance}}",
                },
                unit="s",
            ),
            Panel(
                title="Bytes in spools, and free on their disks",
                queries={
                    "tribrain_spool_bytes": "spool of {{job}} {{instance}}",
                    "tribrain_disk_free_bytes": "free for {{holds}}, {{job}} {{instance}}",
                    "tribrain_disk_size_bytes": "size for {{holds}}, {{job}} {{instance}}",
                },
                unit="bytes",
            ),
            Panel(
                title="Snapshots that were refused",
                queries={
                    "sum by (job, reason) (increase(tribrain_snapshots_refused_total[15m]))": "{{job}}, "
                    "{{reason}}"
                },
            ),
        ),
    ),
    PanelRow(
        title="Processes",
        panels=(
            Panel(
                title="Versions",
                queries={"tribrain_build_info": "{{service}} {{version}} {{instance}}"},
            ),
            Panel(
                title="Memory",
                queries={"process_resident_memory_bytes": "{{job}} {{instance}}"},
                unit="bytes",
            ),
            Panel(
                title="Processors",
                queries={"rate(process_cpu_seconds_total[5m])": "{{job}} {{instance}}"},
            ),
        ),
    ),
)
