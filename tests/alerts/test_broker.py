"""The alerts that tell of a broker that is slow or away: real services, and a real Kafka of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from streams.kafka.settings import Settings
from streams.local_broker.apache_kafka import LocalBroker
from streams.local_broker.jars import KafkaJars
from streams.metrics.instruments import Instruments
from streams.spool.publisher import TracePublisher
from tests.alerts.engine import Fault, complaints
from tests.alerts.history import History, Look, Phase
from tests.alerts.targets import Target, first_look, looked_at, page_at
from tests.factories import event
from tests.faults.brokers import RestartableBroker
from tests.kafka.test_trainer import publish, random_runs, wait_until_learnt
from tests.pages import write_runs
from tests.scrapes import Scrape
from tribrain.cli import main
from tribrain.run.metrics import RunMetrics

MODEL = {"job": "trainer", "kind": "bt", "model": "default"}


def instance_of(job: str) -> dict[str, str]:
    return {"job": job, "instance": f"{job}:9464"}


FAULTS = {
    "a broker does not answer": Fault("TribrainSnapshotStale", MODEL),
    "a broker answers after seconds": Fault("TribrainPublicationSlow", {"job": "trainer"}),
    "a broker is away while a trainer reads": Fault("TribrainLagUnknown", instance_of("trainer")),
    "a broker is away while a page is shown": Fault("TribrainFeedSilent", instance_of("page")),
    "a broker is away for longer than a page takes for well": Fault("TribrainUnhealthy", instance_of("page")),
    "a broker is away while a run makes events": Fault("TribrainSpoolGrowing", instance_of("node")),
    "a run has ended while a broker was away": Fault("TribrainSpoolGrowing", instance_of("node")),
}
_WAIT_S = 60.0
_HEARD_S = 3.0
"""So long may a page that hears Kafka not have heard of it."""
_PUBLISH_EVERY_S = "3"
"""So there is time to stop the broker before what was learnt is published."""


def hears_kafka(found: Scrape) -> bool:
    return found["tribrain_healthy"] == 1 and found["tribrain_feed_silent_seconds"] < _HEARD_S


def unpublished_s(found: Scrape) -> float:
    return found.get("tribrain_snapshot_unpublished_seconds", "bt", "default")


def slow(found: Scrape) -> float:
    """Snapshots whose publication took more than five seconds."""
    took = "tribrain_publication_seconds"
    return found.get(f"{took}_count", "snapshot") - found.get(f"{took}_bucket", "snapshot", "5.0")


@dataclass(frozen=True)
class Services:
    """What goes on while the broker stops, goes and comes back; all of it is looked at."""

    settings: Settings
    trainer: Target
    page: Target
    publisher: TracePublisher
    of_publisher: Instruments

    def look_at_run(self) -> Look:
        """At the part of a run that publishes, as its file would show it."""
        return Look.now(self.of_publisher.text(with_process=False).decode())

    def well(self) -> dict[str, Look]:
        """Each of them, once Kafka has what was made and everything has been heard."""
        assert self.publisher.flush(_WAIT_S) == 0
        return {
            "trainer": self.trainer.well(),
            "page": self.page.once(hears_kafka),
            "node": self.look_at_run(),
        }


@contextmanager
def services(settings: Settings, folder: Path) -> Iterator[Services]:
    write_runs(folder)
    instruments = Instruments("runner")
    spool = folder / "spool.sqlite"
    with (
        looked_at(
            settings, "--snapshot-every-pairs", "1000000", "--snapshot-every-s", _PUBLISH_EVERY_S
        ) as trainer,
        page_at(folder, settings) as page,
        TracePublisher(settings, spool) as publisher,
    ):
        RunMetrics(instruments, None, ()).begin(folder, publisher, spool)
        yield Services(settings, trainer, page, publisher, instruments)


def slow_broker(broker: LocalBroker, of: Services) -> Iterator[tuple[str, History]]:
    """It is stopped between what a trainer has learnt and its publication, for some seconds."""
    publish(of.settings, random_runs(1, seed=41)[0])
    wait_until_learnt(of.settings, 1)
    well = of.trainer.well()
    publish(of.settings, random_runs(1, seed=42, prefix="unpublished")[0])
    begun = of.trainer.once(unpublished_s)
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        late = of.trainer.once(lambda found: unpublished_s(found) > float(_PUBLISH_EVERY_S) + 5.5)
    finally:
        os.kill(broker.pid, signal.SIGCONT)
    published = of.trainer.once(lambda found: slow(found) > slow(late.scrape))
    again = of.trainer.once(lambda found: unpublished_s(found) == 0.0)
    yield (
        "a broker does not answer",
        History(job="trainer", healthy=(well,), faulty=(begun, late), recovered=(again,)),
    )
    yield (
        "a broker answers after seconds",
        History(job="trainer", healthy=(well,), faulty=(late, published), recovered=(again,)),
    )


def run_to_its_end(settings: Settings, out: Path, file: Path) -> Look:
    """What the file of a short run says after it."""
    with pytest.raises(SystemExit) as ended:
        main([
            "run-simulated", "--goal", "move the red cube", "--iters", "1", "--out", str(out),
            "--bootstrap-servers", settings.bootstrap_servers, "--metrics-file", str(file),
        ])  # fmt: skip
    assert ended.value.code == 0
    return Look.into(file)


def away(of: Services) -> dict[str, Phase]:
    """Looks at each while there is no broker."""
    of.publisher.push(event(0, 0.5))
    grown = {
        "node": "tribrain_spool_oldest_seconds",
        "page": "tribrain_feed_silent_seconds",
    }
    looks = {"node": of.look_at_run, "page": of.page.look}
    found: dict[str, Phase] = {}
    for job, metric in grown.items():
        begun = first_look(looks[job], lambda found, metric=metric: found[metric] > _HEARD_S)  # type: ignore[misc]
        later = first_look(
            looks[job],
            lambda found, metric=metric, begun=begun: found[metric] > begun.scrape[metric] + 1.0,  # type: ignore[misc]
        )
        found[job] = (begun, later)
    unknown = of.trainer.once(lambda found: found["tribrain_lag_unknown_partitions"])
    return found | {"trainer": (unknown,)}


@pytest.fixture(scope="module")
def found(
    rules_folder: Path, kafka_jars: KafkaJars, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What the rule engine finds wrong, by fault."""
    folder = tmp_path_factory.mktemp("broker")
    broker = RestartableBroker(kafka_jars, folder / "kafka")
    settings = broker.settings
    histories: dict[str, History] = {}
    with ExitStack() as running:
        with broker.up() as up:
            of = running.enter_context(services(settings, folder))
            histories.update(slow_broker(up, of))
            of.publisher.push(event(0, 0.5, run_id="in-health"))
            well = of.well()
            ended_well = run_to_its_end(settings, folder / "a", folder / "run.prom")
        wrong = away(of)
        ended_wrong = run_to_its_end(settings, folder / "b", folder / "run.prom")
        unhealthy = of.page.once(lambda found: found["tribrain_healthy"] == 0)
        with broker.up():
            again = of.well()
            running.close()  # a service ends at once where there is a broker
    histories["a broker is away for longer than a page takes for well"] = History(
        job="page", healthy=(well["page"],), faulty=(unhealthy,), recovered=(again["page"],)
    )
    for job, what in {
        "trainer": "a broker is away while a trainer reads",
        "page": "a broker is away while a page is shown",
        "node": "a broker is away while a run makes events",
    }.items():
        histories[what] = History(job=job, healthy=(well[job],), faulty=wrong[job], recovered=(again[job],))
    histories["a run has ended while a broker was away"] = History(
        job="node", healthy=(ended_well,), faulty=(ended_wrong,), recovered=(Look.now(""),)
    )
    return complaints(FAULTS, histories, rules_folder)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_alert_fires_in_its_fault_and_neither_before_nor_after(fault: str, found: dict[str, str]) -> None:
    assert found[fault] == ""
