"""``python -m tribrain.observability``: writes what is made of the lists, in the repository."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from streams.files import write_atomically
from tribrain.observability import grafana, pages, prometheus
from tribrain.observability.yaml import as_yaml

_MADE = "Made by `python -m tribrain.observability`; change the lists there."
_OBS = "compose/obs"


def files() -> Mapping[str, bytes]:
    """Content of each file that is made, by its path in the repository."""
    return {
        f"{_OBS}/prometheus.yml": as_yaml(prometheus.configuration(), _MADE),
        f"{_OBS}/{prometheus.RULES}": as_yaml(prometheus.rules(), _MADE),
        f"{_OBS}/rules_test.yml": as_yaml(prometheus.rule_tests(), _MADE),
        f"{_OBS}/grafana/provisioning/datasources/prometheus.yml": as_yaml(grafana.data_source(), _MADE),
        f"{_OBS}/grafana/provisioning/dashboards/tribrain.yml": as_yaml(grafana.dashboards(), _MADE),
        f"{_OBS}/grafana/dashboards/tribrain.json": _as_json(grafana.dashboard()),
        "docs/reference/metrics.md": pages.metrics_page().encode(),
        "docs/reference/alerts.md": pages.alerts_page().encode(),
    }


def _as_json(value: object) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def main() -> None:
    """Write all files that are made from the lists."""
    parser = argparse.ArgumentParser(prog="python -m tribrain.observability", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="The folder of the repository.")
    root = parser.parse_args().root
    for name, content in files().items():
        write_atomically(root / name, content)
        print(root / name)


if __name__ == "__main__":
    main()
