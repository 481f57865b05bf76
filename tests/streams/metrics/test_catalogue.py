"""What the list of metrics promises of every one of them."""

from __future__ import annotations

import re

import pytest

from streams.metrics.catalogue import METRICS, SERVICES, Metric, metrics_of

each = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def test_no_name_is_there_twice() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)


@each
def test_a_name_has_the_prefix_and_ends_with_its_unit(metric: Metric) -> None:
    assert re.fullmatch(r"tribrain_[a-z_]+", metric.name)
    base = metric.name.removesuffix("_total")
    assert metric.unit in ("", "seconds", "bytes")
    assert metric.unit == next((unit for unit in ("seconds", "bytes") if base.endswith(f"_{unit}")), "")


@each
def test_counters_alone_end_in_total(metric: Metric) -> None:
    assert metric.name.endswith("_total") == (metric.type == "counter")


@each
def test_no_label_tells_runs_tasks_or_annotators_apart(metric: Metric) -> None:
    assert not {"run", "run_id", "task", "task_id", "annotator"} & set(metric.labels)


@each
def test_every_metric_says_what_it_is_and_who_has_it(metric: Metric) -> None:
    assert metric.help.endswith(".")
    assert metric.services
    assert set(metric.services) <= set(SERVICES)
    assert bool(metric.buckets) == (metric.type == "histogram")


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_says_what_it_is_and_whether_it_is_well(service: str) -> None:
    names = {metric.name for metric in metrics_of(service)}  # type: ignore[arg-type]
    assert {"tribrain_build_info", "tribrain_healthy"} <= names
