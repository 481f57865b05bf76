"""What a real trainer exposes, and how its health is seen from outside."""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streams.kafka.settings import Settings
from streams.kafka.writer import produce
from streams.messages.stored import Outgoing
from streams.metrics.catalogue import metrics_of
from tests.kafka.test_trainer import interleaved, publish, random_runs, wait_until_learnt
from tests.prometheus import promtool
from tests.scrapes import Scrape
from tests.services import Service, service, trainer
from tests.waiting import wait_until
from tribrain.watch.health import ask

_UNHEALTHY_WITHIN_S = 30.0
_SOON_S = 2.0
"""So long may one stand here, rather than the trainer's 15 and 20 s."""
_WAIT_S = 90.0


def url_of(process: Service) -> str:
    """Where it serves its metrics, once it has said so."""
    wait_until(lambda: "metrics are at " in process.said)
    return process.said.partition("metrics are at ")[2].partition("/metrics")[0]


@contextmanager
def measured_trainer(settings: Settings, *options: str, **given: Any) -> Iterator[tuple[Service, str]]:
    with service(settings, "serve-trainer", "--metrics-port", "0", *options, **given) as process:
        yield process, url_of(process)


def condition(url: str) -> tuple[bool, str]:
    return ask(f"{url}/health", 2.0)


def wait_until_well(url: str) -> None:
    wait_until(lambda: condition(url) == (True, "It has read everything."), _WAIT_S)


@pytest.fixture(scope="module")
def scraped(kafka: str) -> Iterator[tuple[Scrape, int]]:
    """Of a trainer that has read twelve runs and a message that is none, and the runs' events."""
    from streams.kafka.topics import create_topics

    settings = Settings(bootstrap_servers=kafka, topic_prefix=f"test-metrics-{uuid.uuid4().hex[:12]}")
    create_topics(settings)
    runs = random_runs(12, seed=3)
    with measured_trainer(settings) as (_, url):
        publish(settings, interleaved(runs, seed=4))
        list(produce(settings, [Outgoing(settings.trace_topic, b"run", b"{]")]))
        snapshot = wait_until_learnt(settings, len(runs))
        wait_until(
            lambda: (
                Scrape.of(f"{url}/metrics").get("tribrain_snapshot_version", "bt", "default")
                == snapshot.version
            )
        )
        events = sum(map(len, runs))
        wait_until(lambda: Scrape.of(f"{url}/metrics")["tribrain_events_total"] == events + 1)
        wait_until_well(url)
        yield Scrape.of(f"{url}/metrics"), events


def test_every_metric_of_the_list_is_in_the_scrape(scraped: tuple[Scrape, int]) -> None:
    found = set(scraped[0].names)
    missing = [
        metric.name for metric in metrics_of("trainer") if not {metric.name, f"{metric.name}_count"} & found
    ]
    assert missing == []


def test_events_and_dead_letters_are_those_that_came(scraped: tuple[Scrape, int]) -> None:
    found, events = scraped
    assert found["tribrain_events_total"] == events + 1
    assert found["tribrain_dead_letters_total", "damaged"] == 1
    assert sum(found.all("tribrain_dead_letters_total").values()) == 1


def test_all_pairs_that_were_formed_are_learnt(scraped: tuple[Scrape, int]) -> None:
    found, _ = scraped
    assert found["tribrain_pairs_total"] == found["tribrain_pairs_formed_total", "runs"] > 0
    assert found["tribrain_pairs_formed_total", "votes"] == 0
    labels = found.all("tribrain_labels")
    assert sum(labels.values()) == found["tribrain_pairs_total"]


def test_the_lag_of_each_partition_is_known_and_0(scraped: tuple[Scrape, int]) -> None:
    found, _ = scraped
    lags = found.all("tribrain_lag_messages")
    assert lags == {("trace", str(n)): 0 for n in range(4)} | {("pairs", "0"): 0, ("votes", "0"): 0}
    assert set(found.all("tribrain_lag_seconds").values()) == {0.0}
    assert found["tribrain_lag_unknown_partitions"] == 0


def test_the_disk_of_kafka_is_known(scraped: tuple[Scrape, int]) -> None:
    found, _ = scraped
    assert found["tribrain_disk_size_bytes", "kafka"] > found["tribrain_disk_free_bytes", "kafka"] > 0


def test_promtool_finds_nothing_to_say(scraped: tuple[Scrape, int], tmp_path: Path) -> None:
    said = promtool("check", "metrics", folder=tmp_path, stdin=scraped[0].text)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_a_restarted_trainer_shows_the_snapshot_that_is_there(settings: Settings) -> None:
    runs = random_runs(3, seed=5)
    with trainer(settings):
        publish(settings, interleaved(runs, seed=6))
        version = wait_until_learnt(settings, len(runs)).version
    with measured_trainer(settings) as (_, url):
        wait_until_well(url)
        found = Scrape.of(f"{url}/metrics")
    assert found["tribrain_snapshot_version", "bt", "default"] >= version
    assert found["tribrain_snapshot_timestamp_seconds", "bt", "default"] > 1.7e9


def version_at(url: str) -> float | None:
    """Of the snapshot that a trainer shows; None if it shows none."""
    return Scrape.of(f"{url}/metrics").all("tribrain_snapshot_version").get(("bt", "default"))


def test_of_two_trainers_the_one_that_learns_alone_shows_the_newest_snapshot(settings: Settings) -> None:
    runs = random_runs(4, seed=3)
    with measured_trainer(settings) as first:
        publish(settings, interleaved(runs[:2], seed=4))
        wait_until_learnt(settings, 2)
        with measured_trainer(settings) as second:
            publish(settings, interleaved(runs[2:], seed=5))
            newest = wait_until_learnt(settings, 4).version
            wait_until(lambda: {version_at(url) for _, url in (first, second)} == {None, newest}, _WAIT_S)
            learning, other = sorted((first, second), key=lambda each: version_at(each[1]) is None)
            learning[0].terminate()
            wait_until(lambda: (version_at(other[1]) or 0) >= newest, _WAIT_S)


def test_a_trainer_that_is_stopped_by_a_signal_is_not_well(settings: Settings) -> None:
    with measured_trainer(settings) as (process, url):
        wait_until_well(url)
        process.send_signal(signal.SIGSTOP)
        try:
            is_well, said = condition(url)
        finally:
            process.send_signal(signal.SIGCONT)
        assert (is_well, said) == (False, f"{url}/health has not answered within 2 s.")
        wait_until_well(url)


def test_a_trainer_that_is_told_to_stop_has_nothing_to_complain_of(settings: Settings) -> None:
    with measured_trainer(settings) as (process, url):
        wait_until_well(url)
        process.terminate()
        assert process.wait(20) == 0
        assert "Traceback" not in process.said


def _hang_the_loop() -> None:
    from streams.worker.shell import Shell
    from tribrain.serve import trainer_metrics

    async def hang(self: Shell, batch: object) -> None:
        threading.Event().wait()

    Shell.read_traces = hang  # type: ignore[method-assign]
    trainer_metrics.LONGEST_TURN_S = _SOON_S  # type: ignore[attr-defined]


def test_a_trainer_whose_event_loop_hangs_is_not_well(settings: Settings) -> None:
    with measured_trainer(settings, change=_hang_the_loop) as (process, url):
        wait_until_well(url)
        publish(settings, random_runs(1, seed=7)[0])
        wait_until(lambda: "event loop has not turned" in condition(url)[1], _UNHEALTHY_WITHIN_S)
        assert not condition(url)[0]
        process.kill()


def _never_come_back() -> None:
    import asyncio

    from streams.metrics import lag
    from streams.worker.shell import Shell

    async def wait_for_ever(self: Shell, batch: object) -> None:
        await asyncio.Event().wait()

    Shell.read_traces = wait_for_ever  # type: ignore[method-assign]
    lag.STUCK_S = _SOON_S


def test_a_trainer_whose_position_stands_while_there_is_lag_is_not_well(settings: Settings) -> None:
    (first, second) = random_runs(2, seed=8)
    with measured_trainer(settings, change=_never_come_back) as (process, url):
        wait_until_well(url)
        publish(settings, first)
        publish(settings, second)
        wait_until(lambda: "has been stuck at offset" in condition(url)[1], _UNHEALTHY_WITHIN_S)
        assert not condition(url)[0]
        assert Scrape.of(f"{url}/metrics")["tribrain_healthy"] == 0
        process.kill()
