"""Prometheus' configuration, alert rules, and the tests of these rules for promtool."""

from __future__ import annotations

from typing import Any

from tribrain.observability.alerts import ALERTS, Alert

PORT = 9464
"""Port of every service's metrics, inside its container."""
JOBS = {"trainer": "trainer", "text": "text", "lora": "lora", "page": "ui"}
"""Job to the name of its service in compose."""
RULES = "rules.yml"


def configuration() -> dict[str, Any]:
    """Prometheus' configuration; a service that is not started has no DNS name, and is no target."""
    return {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": [RULES],
        "scrape_configs": [
            {
                "job_name": job,
                "dns_sd_configs": [{"names": [host], "type": "A", "port": PORT, "refresh_interval": "15s"}],
            }
            for job, host in JOBS.items()
        ],
    }


def rules() -> dict[str, Any]:
    """The rules of all alerts, in one group."""
    return {"groups": [{"name": "tribrain", "rules": [_rule(alert) for alert in ALERTS]}]}


def rule_tests() -> dict[str, Any]:
    """Tests for promtool that each alert fires in its case, and resolves."""
    return {
        "rule_files": [RULES],
        "evaluation_interval": "1m",
        "tests": [rule_test(alert) for alert in ALERTS],
    }


def rule_test(alert: Alert, name: str = "") -> dict[str, Any]:
    """A test for promtool that the alert is quiet, fires and resolves as in its case."""
    case = alert.case
    labels = {"severity": alert.severity, **case.labels}
    fires = {"exp_labels": labels, "exp_annotations": _annotations(alert)}
    return {
        "name": name or alert.name,
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": alert.name, "exp_alerts": expected}
            for minute, expected in ((case.quiet_min, []), (case.fires_min, [fires]), (case.resolves_min, []))
        ],
    }


def anchor(alert: Alert) -> str:
    """Path and anchor of the alert's section in the docs."""
    return f"docs/reference/alerts.md#{alert.name.lower()}"


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": f"{alert.for_s}s" if alert.for_s % 60 else f"{alert.for_s // 60}m",
        "labels": {"severity": alert.severity},
        "annotations": _annotations(alert),
    }


def _annotations(alert: Alert) -> dict[str, str]:
    return {"summary": alert.summary, "description": alert.means, "runbook": anchor(alert)}
