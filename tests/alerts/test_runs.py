"""The alerts that tell of runs, each in its fault: real runs, as their files for node_exporter show them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from streams.kafka.settings import TOPIC_PREFIX_VARIABLE, Settings
from streams.metrics.instruments import Instruments
from streams.spool.publisher import TracePublisher
from tests.alerts.engine import Fault, complaints
from tests.alerts.history import History, Look
from tests.alerts.targets import new_settings
from tests.factories import event
from tests.faults.disks import fill, small_disk
from tribrain.cli import main
from tribrain.run.metrics import RunMetrics

NODE = {"job": "node", "instance": "node:9464"}
FAULTS = {
    "a critic breaks": Fault("TribrainCriticFails", {"critic": "judge"}),
    "the spool of a run is damaged": Fault("TribrainSpoolRefuses", NODE),
    "an event is larger than Kafka takes": Fault("TribrainSpoolRefuses", NODE),
}
FAULTS_OF_A_DISK = {
    "the disk under a spool is full": Fault("TribrainDiskFilling", NODE | {"holds": "spool"}),
    "a spool is refused by its disk": Fault("TribrainSpoolRefuses", NODE),
}
_SMALL_DISK_MB = 40
"""Of which a spool leaves 16 free."""
_WORKS, _BREAKS = "print('{{\"quality\": 0.5}}')", "raise SystemExit(1)"


class Node:
    """Where runs are made, each of which writes the same file of metrics."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._folder, self._runs = settings, folder, 0

    def next_run(self) -> Path:
        """The folder of the run that comes next."""
        return self._folder / f"run-{self._runs}"

    def run(self, *options: str) -> Look:
        """What the file says after one more run."""
        out, file = self.next_run(), self._folder / "run.prom"
        self._runs += 1
        kafka = ("--bootstrap-servers", self._settings.bootstrap_servers)
        run = ("run-simulated", "--goal", "move the red cube", "--iters", "3", "--out", str(out))
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv(TOPIC_PREFIX_VARIABLE, self._settings.topic_prefix)
            with pytest.raises(SystemExit):
                main([*run, *kafka, "--metrics-file", str(file), *options])
        return Look.into(file)

    def judged_by(self, program: str) -> Look:
        """The same, with one more critic."""
        command = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} {{video}}"
        return self.run("--critic", f"judge={command}")


def critics(node: Node) -> Iterator[tuple[str, History]]:
    works = node.judged_by(_WORKS)
    breaks = node.judged_by(_BREAKS)
    again = node.judged_by(_WORKS)
    yield (
        "a critic breaks",
        History(job="node", healthy=(works,), faulty=(breaks,), recovered=(again,)),
    )


def damaged_spool(node: Node) -> Iterator[tuple[str, History]]:
    takes = node.run()
    node.next_run().mkdir()
    (node.next_run() / "spool.sqlite").write_bytes(b"not a database, but long enough to be one" * 50)
    refuses = node.run()
    again = node.run()
    yield (
        "the spool of a run is damaged",
        History(job="node", healthy=(takes,), faulty=(refuses,), recovered=(again,)),
    )


def large_event(settings: Settings, folder: Path) -> Iterator[tuple[str, History]]:
    """To the part of a run that publishes."""
    instruments, spool = Instruments("runner"), folder / "large.sqlite"

    def look() -> Look:
        return Look.now(instruments.text(with_process=False).decode())

    metrics = RunMetrics(instruments, None, ())
    with TracePublisher(settings, spool) as publisher:
        metrics.begin(folder, publisher, spool)
        publisher.push(event(0, 0.5))
        well = look()
        publisher.push(replace(event(1, 0.5), prompt="x" * 2_000_000))
        large = look()
    yield (
        "an event is larger than Kafka takes",
        History(job="node", healthy=(well,), faulty=(large,), recovered=(Look.now(""),)),
    )


def full_disk(node: Node, disk: Path) -> Iterator[tuple[str, History]]:
    spools = ("--spool-dir", str(disk))
    roomy = node.run(*spools)
    filler = fill(disk)
    full = node.run(*spools)
    filler.unlink()
    again = node.run(*spools)
    yield (
        "the disk under a spool is full",
        History(job="node", healthy=(roomy,), faulty=(full,), recovered=(again,)),
    )
    yield (
        "a spool is refused by its disk",
        History(job="node", healthy=(roomy,), faulty=(full,), recovered=(again,)),
    )


@pytest.fixture(scope="module")
def settings(in_memory_broker: str) -> Settings:
    return new_settings(in_memory_broker)


@pytest.fixture(scope="module")
def found(rules_folder: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the rule engine finds wrong, by fault."""
    folder = tmp_path_factory.mktemp("runs")
    node = Node(settings, folder)
    histories = dict(critics(node)) | dict(damaged_spool(node)) | dict(large_event(settings, folder))
    return complaints(FAULTS, histories, rules_folder)


@pytest.fixture(scope="module")
def found_of_a_disk(
    rules_folder: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("disk")
    with (
        small_disk(folder / "runs", _SMALL_DISK_MB) as runs,
        small_disk(folder / "spools", _SMALL_DISK_MB) as spools,
    ):
        histories = dict(full_disk(Node(settings, runs), spools))
    return complaints(FAULTS_OF_A_DISK, histories, rules_folder)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_alert_fires_in_its_fault_and_neither_before_nor_after(fault: str, found: dict[str, str]) -> None:
    assert found[fault] == ""


@pytest.mark.parametrize("fault", FAULTS_OF_A_DISK)
def test_an_alert_fires_when_a_disk_is_full_and_neither_before_nor_after(
    fault: str, found_of_a_disk: dict[str, str]
) -> None:
    assert found_of_a_disk[fault] == ""
