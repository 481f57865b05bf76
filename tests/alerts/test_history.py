"""How scrapes become series, and that the engine tells what is not as it is to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.alerts.engine import Fault, complaints
from tests.alerts.history import History, Look
from tribrain.observability.alerts import ALERTS

HEALTHY, FAULTY = (Look(at_s, f"tribrain_healthy {value}\n") for at_s, value in ((0.0, 1), (2.0, 0)))
SEEN = History(job="page", healthy=(HEALTHY,), faulty=(FAULTY,), recovered=(HEALTHY,))
UNHEALTHY = next(alert for alert in ALERTS if alert.name == "TribrainUnhealthy")
LABELS = {"job": "page", "instance": "page:9464"}
SERIES = 'tribrain_healthy{job="page",instance="page:9464"}'


def values(history: History, series: str = SERIES) -> str:
    return history.case(UNHEALTHY, LABELS).series[series]


def test_what_one_look_saw_stands_and_what_two_saw_goes_on_in_a_line() -> None:
    assert values(SEEN) == "1x20 0x30 1x74"
    growing = (Look(0.0, "tribrain_healthy 3\n"), Look(2.0, "tribrain_healthy 4\n"))
    assert values(replace(SEEN, faulty=growing)) == "1x20 3+30.0x30 1x74"


def test_a_target_that_does_not_answer_is_down_and_one_that_is_gone_has_no_series() -> None:
    up = 'up{job="page",instance="page:9464"}'
    silent = replace(SEEN, faulty=(Look(0.0, None),))
    assert (values(silent), values(silent, up)) == ("1x20 stale _x30 1x74", "1.0x20 0.0x30 1.0x74")
    assert values(replace(SEEN, faulty=()), up) == "1.0x20 stale _x30 1.0x74"


def test_labels_are_kept_whatever_is_in_them() -> None:
    odd = Look(0.0, 'tribrain_healthy{why="a \\"b\\" \\\\ c"} 1\n')
    name = r'tribrain_healthy{why="a \"b\" \\ c",job="page",instance="page:9464"}'
    assert values(replace(SEEN, healthy=(odd,)), name).startswith("1x20 stale")


@pytest.mark.parametrize(
    ("history", "labels", "is_right"),
    [
        (SEEN, LABELS, True),
        (SEEN, LABELS | {"job": "trainer"}, False),
        (replace(SEEN, healthy=(FAULTY,)), LABELS, False),
        (replace(SEEN, faulty=(HEALTHY,)), LABELS, False),
        (replace(SEEN, recovered=(FAULTY,)), LABELS, False),
    ],
    ids=["as it is to be", "another label", "in health, too", "not in the fault", "after it, too"],
)
def test_the_engine_tells_when_an_alert_is_not_as_it_is_to_be(
    history: History, labels: dict[str, str], is_right: bool, tmp_path: Path
) -> None:
    fault = Fault(UNHEALTHY.name, labels)
    found = complaints({"a": fault, "b": Fault(UNHEALTHY.name, LABELS)}, {"a": history, "b": SEEN}, tmp_path)
    assert (found["a"] == "", found["b"]) == (is_right, "")
