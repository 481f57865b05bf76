"""Grafana's dashboard, and the files by which it finds the dashboard and Prometheus."""

from __future__ import annotations

from typing import Any

from tribrain.observability.panels import ROWS, Panel

_SOURCE = {"type": "prometheus", "uid": "tribrain-prometheus"}
_COLUMNS, _WIDTH, _HEIGHT = 24, 8, 8


def data_source() -> dict[str, Any]:
    """The data source: Prometheus, by its name in compose."""
    return {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "Prometheus",
                "uid": _SOURCE["uid"],
                "type": _SOURCE["type"],
                "url": "http://prometheus:9090",
                "access": "proxy",
                "isDefault": True,
                "editable": False,
            }
        ],
    }


def dashboards() -> dict[str, Any]:
    """The provider of the dashboard: a folder."""
    return {
        "apiVersion": 1,
        "providers": [
            {
                "name": "TriBrain",
                "type": "file",
                "disableDeletion": True,
                "allowUiUpdates": False,
                "options": {"path": "/etc/grafana/dashboards"},
            }
        ],
    }


def dashboard() -> dict[str, Any]:
    """The dashboard: rows of panels, three side by side."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in ROWS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
                "panels": [],
            }
        )
        y += 1
        per_line = _COLUMNS // _WIDTH
        for index, panel in enumerate(row.panels):
            x, line = index % per_line * _WIDTH, index // per_line
            panels.append(_panel(panel, len(panels) + 1, x, y + line * _HEIGHT))
        y += -(-len(row.panels) // per_line) * _HEIGHT
    return {
        "uid": "tribrain",
        "title": "TriBrain",
        "tags": ["tribrain"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": []},
        "annotations": {"list": []},
        "panels": panels,
    }


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for at, (query, legend) in enumerate(panel.queries.items())
        ],
    }
