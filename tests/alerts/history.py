"""What a component exposed in health, in a fault and after it, as series for Prometheus' rule engine."""

from __future__ import annotations

import math
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.scrapes import Scrape
from tribrain.observability.alerts import Alert, Case

_LONGEST_SCRAPE_S = 2.0
_BEFORE_MIN = 20
"""Beside the minutes for which an alert must hold; more than the windows of the rules, but one."""
_SEEN_AFTER_MIN = 10
"""Within a window of a quarter of an hour that what stands has begun in."""
_GROWN_AFTER_MIN = 20
"""What grows is above its threshold, and a window is filled with it."""
_IN_FAULT_MIN = 30
_AFTER_MIN = 75
"""More than the longest window of a rule, an hour."""


@dataclass(frozen=True, slots=True)
class Look:
    """One scrape of one target."""

    at_s: float
    """By the monotonic clock."""
    text: str | None
    """None where the target did not answer."""

    @classmethod
    def at(cls, url: str) -> Look:
        """At an address that ends in ``/metrics``, as Prometheus does it."""
        try:
            with urllib.request.urlopen(url, timeout=_LONGEST_SCRAPE_S) as answer:
                text = answer.read().decode()
        except OSError:
            text = None
        return cls(time.monotonic(), text)

    @classmethod
    def now(cls, text: str) -> Look:
        """At what is exposed at this moment; nothing is the text of a file that was removed."""
        return cls(time.monotonic(), text)

    @classmethod
    def into(cls, file: Path) -> Look:
        """What node_exporter would show of a file."""
        return cls.now(file.read_text())

    @property
    def scrape(self) -> Scrape:
        return Scrape(self.text or "")

    @property
    def samples(self) -> dict[str, float]:
        """Series, without job and instance, to value; and whether it answered, as ``up``."""
        found = {"up{": float(self.text is not None)}
        for family in text_string_to_metric_families(self.text or ""):
            for sample in family.samples:
                labels = "".join(f"{name}={_quoted(value)}," for name, value in sample.labels.items())
                found[f"{sample.name}{{{labels}"] = sample.value
        return found


Phase = tuple[Look, ...]
"""Without a look there is no such target. What one look saw stands still; what two saw goes on in a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A target through a fault. Minutes pass in it; the looks were taken within seconds."""

    job: str
    healthy: Phase
    faulty: Phase
    recovered: Phase

    def case(self, alert: Alert, labels: Mapping[str, str]) -> Case:
        """The alert, with these labels beside its severity, as this history lets it fire and resolve."""
        held = math.ceil(alert.for_s / 60)
        before = held + _BEFORE_MIN
        during = held + _IN_FAULT_MIN
        after = _GROWN_AFTER_MIN if len(self.faulty) > 1 else _SEEN_AFTER_MIN
        phases = [(self.healthy, before), (self.faulty, during), (self.recovered, _AFTER_MIN)]
        names = {name: None for phase, _ in phases for look in phase for name in look.samples}
        target = f'job="{self.job}",instance="{self.job}:9464"}}'
        return Case(
            series={
                name + target: " ".join(_values(name, phase, n) for phase, n in phases) for name in names
            },
            labels=labels,
            quiet_min=before - 1,
            fires_min=before + held + after,
            resolves_min=before + during + _AFTER_MIN - 1,
        )


def _values(name: str, phase: Phase, minutes: int) -> str:
    """One a minute, in promtool's notation."""
    seen = [look.samples.get(name) for look in phase]
    if not seen or seen[-1] is None:
        return f"stale _x{minutes - 1}"
    first, last = seen[0], seen[-1]
    if first is None or first == last:
        return f"{last!r}x{minutes - 1}"
    a_minute = 60.0 * (last - first) / (phase[-1].at_s - phase[0].at_s)
    return f"{first!r}{a_minute:+}x{minutes - 1}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'
