"""The pages of the docs on metrics and alerts."""

from __future__ import annotations

from streams.metrics.catalogue import METRICS, SERVICES, Metric
from tribrain.observability.alerts import ALERTS, Alert
from tribrain.observability.prometheus import PORT

_COMMANDS = {
    "trainer": "`serve trainer`",
    "text": "`serve text`",
    "lora": "`serve lora`",
    "runner": "`run simulated`, `run subprocess`, `run wow` and `suite run`",
    "page": "`ui`",
}
_METRICS = f"""# Metrics

`python -m tribrain.observability` makes this page from the list in `streams/metrics/catalogue.py`.

By default nothing listens. `--metrics-port {PORT}` (or `TRIBRAIN_METRICS_PORT`) serves two addresses:

- `/metrics`, for Prometheus;
- `/health`, which returns 200 or 503 and one sentence. `tribrain health` asks it, with its own timeout, and
  exits with code 0 or 1.

They listen on loopback. In a container, `--metrics-host 0.0.0.0` (or `TRIBRAIN_METRICS_HOST`) lets others
ask. The page also answers `/health` at its own address.

If Prometheus cannot reach a node, a run there can write its metrics to a file for the textfile collector of
node_exporter: `--metrics-file FOLDER/NAME.prom` (or `TRIBRAIN_METRICS_FILE`), every 15 seconds and at its
end. The file is complete at any time. It stays after the run with its last numbers; node_exporter's
`node_textfile_mtime_seconds` says how old it is. Each run on a node needs its own file or port.

A process has one registry. Counters start at 0 with the process, except `tribrain_gate_closings_total`, which
belongs to the model. No label distinguishes runs, tasks or annotators. A port also shows `process_*` (memory,
processor time, open files).

Readers measure their own lag every few seconds: first their position, then the end of the topic. So the lag
is never negative. If Kafka does not answer, the lag is unknown. That is counted separately, and no number is
shown.
Messages held back by an open transaction are not lag.
"""
_ALERTS = """# Alerts

`python -m tribrain.observability` makes this page from the list in `tribrain/observability/alerts.py`, and
the rules in `compose/obs/rules.yml` and their tests.
Each alert is tested by a fault in the real component: it fires then, and not before or after
(`tests/alerts`).
"""


def metrics_page() -> str:
    """The page of every metric, by the service that exposes it."""
    parts = [_METRICS]
    everybody = [metric for metric in METRICS if metric.services == SERVICES]
    parts.append(_table("Every process", everybody))
    for service in SERVICES:
        own = [m for m in METRICS if service in m.services and m not in everybody]
        parts.append(_table(f"{service.capitalize()}: {_COMMANDS[service]}", own))
    return "\n".join(parts)


def alerts_page() -> str:
    """The page of every alert, with what it means and what to do."""
    return "\n".join([_ALERTS, *map(_section, ALERTS)])


def _table(title: str, metrics: list[Metric]) -> str:
    lines = [f"## {title}", "", "| metric | type | unit | labels | |", "|---|---|---|---|---|"]
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.type} | {metric.unit} | {labels} | {metric.help} |")
    return "\n".join([*lines, ""])


def _section(alert: Alert) -> str:
    minutes, seconds = divmod(alert.for_s, 60)
    held = f"{alert.for_s} seconds" if seconds else "a minute" if minutes == 1 else f"{minutes} minutes"
    holds = f", for {held}" if alert.for_s else ""
    return (
        f"## {alert.name}\n\n**{alert.summary}** ({alert.severity}{holds})\n\n{alert.means}\n\n"
        f"What to do: {alert.do}\n\n```promql\n{alert.expr}\n```\n"
    )
