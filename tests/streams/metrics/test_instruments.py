"""The registry of a process: it shows what is counted elsewhere, and nothing that is not on the list."""

from __future__ import annotations

import logging

import pytest

from streams.metrics.health import Condition
from streams.metrics.instruments import Instruments
from tests.scrapes import Scrape


def scrape(instruments: Instruments) -> Scrape:
    return Scrape(instruments.text().decode())


def test_a_number_is_read_when_it_is_asked_for() -> None:
    count = 1
    instruments = Instruments("trainer")
    instruments.expose("tribrain_events_total", lambda: count)
    assert scrape(instruments)["tribrain_events_total"] == 1
    count = 5
    assert scrape(instruments)["tribrain_events_total"] == 5


def test_what_labels_tell_apart_is_there_for_each() -> None:
    instruments = Instruments("trainer")
    instruments.expose("tribrain_lag_messages", lambda: {("trace", "0"): 3, ("pairs", "0"): 0})
    found = scrape(instruments)
    assert found["tribrain_lag_messages", "trace", "0"] == 3
    assert found["tribrain_lag_messages", "pairs", "0"] == 0


@pytest.mark.parametrize("name", ["tribrain_candidates_total", "tribrain_no_such_thing"])
def test_what_is_not_on_the_list_of_the_service_is_refused(name: str) -> None:
    with pytest.raises(KeyError):
        Instruments("trainer").expose(name, lambda: 1)


def test_a_histogram_counts_what_it_is_told() -> None:
    instruments = Instruments("trainer")
    instruments.histogram("tribrain_publication_seconds", "snapshot").observe(0.2)
    found = scrape(instruments)
    assert found["tribrain_publication_seconds_count", "snapshot"] == 1
    assert found["tribrain_publication_seconds_sum", "snapshot"] == pytest.approx(0.2)
    with pytest.raises(KeyError, match="histogram"):
        instruments.expose("tribrain_publication_seconds", lambda: 1)


def test_a_source_that_raises_is_left_out_said_once_and_takes_no_other_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> float:
        raise RuntimeError("no number")

    instruments = Instruments("trainer")
    instruments.expose("tribrain_events_total", broken)
    instruments.expose("tribrain_votes_total", lambda: 2)
    with caplog.at_level(logging.ERROR):
        found = [scrape(instruments), scrape(instruments)][-1]
    assert "tribrain_events_total" not in found
    assert found["tribrain_votes_total"] == 2
    assert [record.message for record in caplog.records] == [
        "tribrain_events_total cannot be read and is left out"
    ]


def test_labels_that_are_not_those_of_the_list_are_left_out() -> None:
    instruments = Instruments("trainer")
    instruments.expose("tribrain_lag_messages", lambda: {("trace",): 3})
    assert "tribrain_lag_messages" not in scrape(instruments)


def test_health_is_a_metric_too() -> None:
    instruments = Instruments("trainer")
    assert scrape(instruments)["tribrain_healthy"] == 1
    instruments.health = lambda: Condition(False, "It hangs.")
    assert scrape(instruments)["tribrain_healthy"] == 0


def test_figures_of_the_process_are_there_unless_another_has_them() -> None:
    instruments = Instruments("runner")
    assert b"process_resident_memory_bytes" in instruments.text()
    assert b"process_" not in instruments.text(with_process=False)
