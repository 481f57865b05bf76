"""The metrics registry of one process; values are read from their sources at scrape time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from streams.metrics.catalogue import Metric, Service, metrics_of
from streams.metrics.health import Check, doing_well

log = logging.getLogger(__name__)

# Otherwise each histogram gets a second metric with its creation time.
disable_created_metrics()  # type: ignore[no-untyped-call]

Labels = tuple[str, ...]
"""Values of a metric's labels, in the order of the catalogue."""
Source = Callable[[], float | Mapping[Labels, float]]
"""Called at every scrape, in the scrape's thread; returns one number, or one per combination of labels."""


class Instruments:
    """All metrics that one process of a service exposes.

    ``expose`` sets the source of a metric. If a source raises, its metric is left out of the scrape and the
    error is logged once; other metrics are not affected. ``/health`` calls ``health``.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.health: Check = doing_well
        self._metrics = {metric.name: metric for metric in metrics_of(service)}
        self._sources: dict[str, Source] = {}
        self._histograms: dict[str, Histogram] = {}
        self._logged: set[str] = set()
        self._registry = CollectorRegistry(auto_describe=False)
        for metric in self._metrics.values():
            if metric.type == "histogram":
                self._histograms[metric.name] = Histogram(
                    metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=self._registry
                )
        self._registry.register(_Read(self))
        self._process = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._process)
        self.expose("tribrain_build_info", lambda: {(service, version("tribrain")): 1.0})
        self.expose("tribrain_healthy", lambda: float(self.health().is_well))

    def expose(self, name: str, source: Source) -> None:
        """Read a counter or gauge from ``source``. Raises KeyError if the service has no such metric."""
        if self._metrics[name].type == "histogram":
            raise KeyError(f"{name} is a histogram: pass its observations to histogram()")
        self._sources[name] = source

    def histogram(self, name: str, *labels: str) -> Histogram:
        """The histogram to pass observations to. Raises KeyError if the service has no such histogram."""
        histogram = self._histograms[name]
        return histogram.labels(*labels) if labels else histogram

    def text(self, *, with_process: bool = True) -> bytes:
        """All metrics in Prometheus' text format 0.0.4; ``with_process`` adds memory, CPU and open files."""
        own = generate_latest(self._registry)
        return own + generate_latest(self._process) if with_process else own

    @property
    def names(self) -> frozenset[str]:
        """Names of all metrics that the service must expose."""
        return frozenset(self._metrics)

    @property
    def exposed(self) -> frozenset[str]:
        """Names of all histograms, and of the metrics that have a source."""
        return frozenset(self._sources.keys() | self._histograms.keys())

    def collected(self) -> Iterator[Family]:
        """The current counters and gauges."""
        for name, source in list(self._sources.items()):
            try:
                yield _family(self._metrics[name], source())
            except Exception as error:
                if name not in self._logged:
                    self._logged.add(name)
                    log.error("%s cannot be read and is left out", name, exc_info=error)


class _Read(Collector):
    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments

    def collect(self) -> Iterator[Family]:
        return self._instruments.collected()


def _family(metric: Metric, value: float | Mapping[Labels, float]) -> Family:
    kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, number in (value if isinstance(value, Mapping) else {(): value}).items():
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} needs values of the labels {metric.labels}; got {labels}")
        family.add_metric(labels, number)
    return family
