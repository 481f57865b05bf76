"""The pages of the docs on metrics and alerts."""

from __future__ import annotations

from streams.metrics.catalogue import METRICS, SERVICES, Metric
from tribrain.observability.alerts import ALERTS, Alert
from tribrain.observability.prometheus import PORT

_COMMANDS = {
    "trainer": "`serve-trainer`",
    "text": "`serve-text`",
    "lora": "`serve-lora`",
    "runner": "`run-simulated`, `run-subprocess`, `run-wow` and `run-suite`",
    "page": "`ui`",
}
_METRICS = f"""# Metrics

This page is made of the list in `streams/metrics/catalogue.py` by `python -m tribrain.observability`.

Nothing listens unless it is asked to. `--metrics-port {PORT}` (or `TRIBRAIN_METRICS_PORT`) serves two
addresses:

- `/metrics`, for Prometheus;
- `/health`: 200 or 503, and one sentence. `tribrain health` asks it, with a timeout of its own, and ends
  with exit code 0 or 1.

They are on loopback; in a container `--metrics-host 0.0.0.0` (or `TRIBRAIN_METRICS_HOST`) lets others ask.
The page answers `/health` under its own address, too.

A run on a node that nobody can scrape writes the same into a file for the textfile collector of
node_exporter: `--metrics-file FOLDER/NAME.prom` (or `TRIBRAIN_METRICS_FILE`), every 15 seconds and at its
end. The file is whole at any time, and stays after the run with its last numbers; node_exporter's
`node_textfile_mtime_seconds` says how old it is. Each run on a node needs a file, or a port, of its own.

A process has one registry. Counters begin at 0 with the process, except `tribrain_gate_closings_total`,
which is the model's own. No label tells runs, tasks or annotators apart. Beside what is listed, a port
shows `process_*` (memory, processor time, open files).

The lag is measured by the reader itself every few seconds: its position first, and then where the topic
ends. So it is never below 0; where Kafka does not answer it is unknown, which is counted apart, and no
number is shown. What an open transaction keeps back is no lag.
"""
_ALERTS = """# Alerts

This page is made of the list in `tribrain/observability/alerts.py` by `python -m tribrain.observability`,
as are the rules in `compose/obs/rules.yml` and their tests. Each alert is seen to fire in a fault that is
injected into the real component, and neither before nor after it (`tests/alerts`).
"""


def metrics_page() -> str:
    """Every metric, by who exposes it."""
    parts = [_METRICS]
    everybody = [metric for metric in METRICS if metric.services == SERVICES]
    parts.append(_table("Every process", everybody))
    for service in SERVICES:
        own = [m for m in METRICS if service in m.services and m not in everybody]
        parts.append(_table(f"{service.capitalize()}: {_COMMANDS[service]}", own))
    return "\n".join(parts)


def alerts_page() -> str:
    """Every alert, with what it means and what to do."""
    return "\n".join([_ALERTS, *map(_section, ALERTS)])


def _table(title: str, metrics: list[Metric]) -> str:
    lines = [f"## {title}", "", "| metric | type | unit | labels | |", "|---|---|---|---|---|"]
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.type} | {metric.unit} | {labels} | {metric.help} |")
    return "\n".join([*lines, ""])


def _section(alert: Alert) -> str:
    holds = (
        f", for {alert.for_min} minutes" if alert.for_min > 1 else ", for a minute" if alert.for_min else ""
    )
    return (
        f"## {alert.name}\n\n**{alert.summary}** ({alert.severity}{holds})\n\n{alert.means}\n\n"
        f"What to do: {alert.do}\n\n```promql\n{alert.expr}\n```\n"
    )
