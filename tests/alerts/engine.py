"""Prometheus' own rule engine over what components exposed: what it finds wrong with each alert."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.alerts.history import History
from tests.prometheus import promtool
from tribrain.observability.alerts import ALERTS
from tribrain.observability.prometheus import RULES, rule_test, rules
from tribrain.observability.yaml import as_yaml

_ALERTS = {alert.name: alert for alert in ALERTS}
_FAILED = "    name: "
"""Before the name of a test in what promtool says of it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that is injected, and the alert that tells of it."""

    alert: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the alert, beside its severity."""


def complaints(faults: Mapping[str, Fault], histories: Mapping[str, History], folder: Path) -> dict[str, str]:
    """By fault, what is not as it is to be; empty where the alert is quiet, fires and resolves.

    promtool is called once, over the rules of the stack.
    """
    tests = []
    for name, history in histories.items():
        fault = faults[name]
        alert = _ALERTS[fault.alert]
        tests.append(rule_test(replace(alert, case=history.case(alert, fault.labels)), name))
    (folder / RULES).write_bytes(as_yaml(rules(), "As compose has them."))
    content = {"rule_files": [RULES], "evaluation_interval": "1m", "tests": tests}
    (folder / "histories.yml").write_bytes(as_yaml(content, "Of real scrapes."))
    done = promtool("test", "rules", "histories.yml", folder=folder)
    said = done.stdout + done.stderr
    found = dict.fromkeys(histories, "")
    failed = said.split(_FAILED)[1:]
    assert bool(failed) == bool(done.returncode), said
    for complaint in failed:
        found[complaint.partition(",\n")[0]] += complaint
    return found
