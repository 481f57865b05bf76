"""What a process exposes, scraped and taken apart."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from streams.metrics.catalogue import METRICS

_ORDER = {metric.name: metric.labels for metric in METRICS}


class Scrape:
    """Samples by name, or by name and the values of the labels in the order of the catalogue."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._values: dict[Any, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                known = _ORDER.get(sample.name) or _ORDER.get(sample.name.rpartition("_")[0]) or ()
                labels = [sample.labels[name] for name in known if name in sample.labels]
                labels += [value for name, value in sample.labels.items() if name not in known]
                self._values[(sample.name, *labels) if labels else sample.name] = sample.value

    @classmethod
    def of(cls, url: str) -> Scrape:
        """From an address that ends in ``/metrics``."""
        with urllib.request.urlopen(url, timeout=10) as answer:
            return cls(answer.read().decode())

    def __getitem__(self, key: object) -> float:
        return self._values[key]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def get(self, *key: str, default: float = 0.0) -> float:
        return self._values.get(key if len(key) > 1 else key[0], default)

    def all(self, name: str) -> dict[tuple[str, ...], float]:
        """The samples of one name, by the values of their labels."""
        return {
            key[1:]: value for key, value in self._values.items() if isinstance(key, tuple) and key[0] == name
        }

    @property
    def names(self) -> Iterator[str]:
        return (key if isinstance(key, str) else key[0] for key in self._values)
