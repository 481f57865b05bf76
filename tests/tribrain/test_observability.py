"""What is made of the list of metrics: it is current, and names nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from streams.metrics.catalogue import METRICS
from tests.prometheus import promtool
from tribrain.observability.__main__ import files
from tribrain.observability.alerts import ALERTS
from tribrain.observability.grafana import dashboard
from tribrain.observability.panels import ROWS
from tribrain.observability.prometheus import configuration
from tribrain.observability.yaml import as_yaml

ROOT = Path(__file__).parents[2]
OBS = ROOT / "compose" / "obs"
PANELS = [panel for row in ROWS for panel in row.panels]
KNOWN = {metric.name: set(metric.labels) for metric in METRICS}
SUFFIXES = ("_bucket", "_sum", "_count")
OF_PROMETHEUS = {"job", "instance", "le"}
QUERIES = [query for panel in PANELS for query in panel.queries] + [alert.expr for alert in ALERTS]


def metrics_in(query: str) -> set[str]:
    """Names of ours, without what a histogram adds."""
    found = set()
    for name in re.findall(r"\btribrain_\w+", query):
        suffix = next((each for each in SUFFIXES if name not in KNOWN and name.endswith(each)), "")
        found.add(name.removesuffix(suffix))
    return found


@pytest.mark.parametrize("name", files())
def test_what_is_in_the_repository_is_what_the_lists_give(name: str) -> None:
    assert (ROOT / name).read_bytes() == files()[name], "run python -m tribrain.observability"


def test_nothing_else_is_beside_it() -> None:
    there = {str(path.relative_to(ROOT)) for path in OBS.rglob("*") if path.is_file()}
    assert there == {name for name in files() if name.startswith("compose/obs/")}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_metrics_and_labels_that_are_there(query: str) -> None:
    assert metrics_in(query) <= KNOWN.keys()
    allowed = OF_PROMETHEUS.union(*(KNOWN[name] for name in metrics_in(query)))
    groups = ",".join(re.findall(r"by \(([^)]*)\)", query))
    grouped = {label.strip() for label in groups.split(",") if label}
    matched = set(re.findall(r'(\w+)=~?"', query))
    assert grouped | matched <= allowed


def test_every_metric_is_on_the_dashboard() -> None:
    shown = set().union(*(metrics_in(query) for panel in PANELS for query in panel.queries))
    assert set(KNOWN) - shown == set()


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_legend_names_labels_that_its_query_has(panel: Any) -> None:
    for query, legend in panel.queries.items():
        grouped = re.search(r"by \(([^)]*)\)", query)
        has = OF_PROMETHEUS.union(*(KNOWN.get(name, set()) for name in metrics_in(query)))
        if grouped is not None:
            has = {label.strip() for label in grouped[1].split(",")}
        elif query.startswith("sum("):
            has = set()
        assert set(re.findall(r"{{(\w+)}}", legend)) <= has


def test_no_panel_lies_over_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & taken
        assert max(x for x, _ in own) < 24
        taken |= own
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_has_a_line_on_what_to_do(alert: Any) -> None:
    assert f"## {alert.name}\n" in (ROOT / "docs" / "reference" / "alerts.md").read_text()
    assert alert.do.endswith(".")
    assert alert.means.endswith(".")


def test_it_is_told_that_a_service_is_unhealthy_before_its_container_is_ended() -> None:
    """What is seen so late is still to be seen when the container ends, until the next scrape."""
    (alert,) = (each for each in ALERTS if each.name == "TribrainUnhealthy")
    seen_within_s = sum(int(of.removesuffix("s")) for of in configuration()["global"].values())
    ended_after_s = re.findall(r'--end-after-s, "(\d+)"', (ROOT / "compose" / "compose.yaml").read_text())
    assert ended_after_s
    assert all(seen_within_s + alert.for_s <= int(each) for each in ended_after_s)


@pytest.mark.parametrize(
    "arguments", ["check config prometheus.yml", "check rules rules.yml", "test rules rules_test.yml"]
)
def test_promtool_takes_it_and_each_alert_fires_and_resolves(arguments: str) -> None:
    said = promtool(*arguments.split(), folder=OBS)
    assert said.returncode == 0, said.stdout + said.stderr


def test_yaml_keeps_texts_that_would_mean_something_else_in_quotes() -> None:
    texts = ["on", "2m", "x: y", "#", "", "plain"]
    value: dict[str, object] = {"a": texts, "b": {}, "c": [], "d": None, "e": [{"f": 1, "g": True}]}
    assert as_yaml(value, "Made.").decode() == (
        '# Made.\na:\n  - "on"\n  - "2m"\n  - "x: y"\n  - "#"\n  - ""\n  - plain\nb: {}\nc: []\nd: null\n'
        "e:\n  - f: 1\n    g: true\n"
    )
