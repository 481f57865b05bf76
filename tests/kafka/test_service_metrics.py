"""What each service but the trainer exposes, on a real broker: all of the list, and what has happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams.kafka.settings import Settings
from streams.kafka.writer import produce
from streams.messages.dead_letters import dead_letter
from streams.messages.stored import StoredMessage
from streams.metrics.catalogue import Service, metrics_of
from streams.metrics.instruments import Instruments
from tests.kafka.test_serve_text import n_learnt, send, stream, wait_for
from tests.kafka.test_trainer import interleaved, publish, random_runs, wait_until_learnt
from tests.kafka.test_trainer_metrics import condition, url_of
from tests.pages import page_server, write_runs
from tests.prometheus import promtool
from tests.scrapes import Scrape
from tests.services import serve_text, trainer
from tests.waiting import wait_until
from tribrain.cli import main

GOAL = "move the red cube to the bowl"


def not_exposed(found: Scrape, service: Service) -> list[str]:
    """Of the service's metrics, those that a scrape has nothing of."""
    names = set(found.names)
    return [m.name for m in metrics_of(service) if not {m.name, f"{m.name}_count"} & names]


def check(found: Scrape, folder: Path) -> None:
    said = promtool("check", "metrics", folder=folder, stdin=found.text)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def learnt(settings: Settings) -> int:
    """Let a trainer learn some runs; the version of its snapshot."""
    runs = random_runs(4, seed=11)
    with trainer(settings):
        publish(settings, interleaved(runs, seed=12))
        return wait_until_learnt(settings, len(runs)).version


def test_serve_text_shows_its_lag_and_what_it_has_learnt(settings: Settings, tmp_path: Path) -> None:
    messages = stream()
    with serve_text(settings, "--every-s", "0.05", "--metrics-port", "0") as process:
        url = url_of(process)
        send(settings, messages)
        version = wait_for(settings, n_learnt(messages)).version
        wait_until(
            lambda: Scrape.of(f"{url}/metrics").get("tribrain_lag_messages", "pairs", "0", default=1) == 0
        )
        found = Scrape.of(f"{url}/metrics")
        assert condition(url) == (True, "It has read everything.")
    assert not_exposed(found, "text") == []
    assert found["tribrain_pairs_total"] == version
    assert found["tribrain_snapshot_version", "text", "default"] == version
    assert found["tribrain_snapshot_unpublished_seconds", "text", "default"] == 0
    check(found, tmp_path)


@pytest.fixture
def run_simulated(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Any:
    """Makes a run of three iterations on the test's topics, with more options."""
    monkeypatch.setenv("TRIBRAIN_TOPIC_PREFIX", settings.topic_prefix)

    def run(out: Path, *options: str) -> None:
        with pytest.raises(SystemExit) as ended:
            main([
                "run-simulated", "--goal", GOAL, "--iters", "3", "--seed", "1", "--out", str(out), *options,
            ])  # fmt: skip
        assert ended.value.code == 0

    return run


def test_a_run_writes_all_that_it_counts_into_a_file(
    settings: Settings, tmp_path: Path, run_simulated: Any
) -> None:
    version, path = learnt(settings), tmp_path / "node" / "run.prom"
    run_simulated(
        tmp_path / "a", "--bootstrap-servers", settings.bootstrap_servers, "--metrics-file", str(path)
    )
    found = Scrape(path.read_text())
    assert not_exposed(found, "runner") == []
    assert found["tribrain_candidates_total", "judged"] == 3
    assert found["tribrain_candidates_total", "failed"] == 0
    assert found["tribrain_critic_failures_total", "flicker"] == 0
    assert found["tribrain_spool_records"] == found["tribrain_spool_refused_total"] == 0
    assert found["tribrain_snapshot_version", "bt", "default"] == version
    assert found["tribrain_disk_size_bytes", "run"] > found["tribrain_disk_free_bytes", "run"] > 0
    check(found, tmp_path)


def test_a_run_shows_what_it_has_left_in_its_spool(tmp_path: Path, run_simulated: Any) -> None:
    path = tmp_path / "run.prom"
    run_simulated(tmp_path / "a", "--bootstrap-servers", "127.0.0.1:1", "--metrics-file", str(path))
    found = Scrape(path.read_text())
    assert found["tribrain_spool_records"] == 4  # three iterations and the end
    assert found["tribrain_spool_bytes"] > 0
    assert found["tribrain_spool_oldest_seconds"] > 0
    assert found["tribrain_feed_silent_seconds"] == 0  # it listens no more, so no alert is to go on for ever


def test_a_run_goes_on_with_metrics_elsewhere(tmp_path: Path, run_simulated: Any) -> None:
    run_simulated(tmp_path / "a", "--metrics-file", str(tmp_path / "one.prom"))
    run_simulated(tmp_path / "a", "--metrics-file", str(tmp_path / "two.prom"), "--metrics-port", "0")


def test_the_page_shows_what_it_follows_and_is_well(settings: Settings, tmp_path: Path) -> None:
    version = learnt(settings)
    unusable = StoredMessage(
        topic=settings.trace_topic, partition=0, offset=7, timestamp_ms=1, key=b"k", value=b"{]"
    )
    list(produce(settings, [dead_letter(unusable, "why", settings.dead_letters_topic, kind="damaged")]))
    write_runs(tmp_path)
    with page_server(tmp_path, "--metrics-port", "0", settings=settings) as server:
        assert server.process is not None
        url = url_of(server.process)
        scrape = f"{url}/metrics"
        wait_until(lambda: Scrape.of(scrape).get("tribrain_dead_letters_pending", "damaged") == 1)
        wait_until(lambda: Scrape.of(scrape).get("tribrain_snapshot_version", "bt", "default") == version)
        found = Scrape.of(scrape)
        assert condition(url) == (True, "It is reading Kafka.")
        assert server.request("GET", "/health")[::2] == (200, b"It is reading Kafka.\n")
    assert not_exposed(found, "page") == []
    assert found["tribrain_votes_taken_total", "kafka"] == 0
    check(found, tmp_path)


def test_the_page_counts_a_dead_letter_until_it_is_dismissed(
    settings: Settings, tmp_path: Path, tribrain: Any
) -> None:
    unusable = StoredMessage(topic="t", partition=0, offset=7, timestamp_ms=1, key=b"k", value=b"{]")
    list(produce(settings, [dead_letter(unusable, "why", settings.dead_letters_topic, kind="damaged")]))
    write_runs(tmp_path)
    with page_server(tmp_path, "--metrics-port", "0", settings=settings) as server:
        assert server.process is not None
        scrape = f"{url_of(server.process)}/metrics"

        def n_pending() -> float | None:
            return Scrape.of(scrape).get("tribrain_dead_letters_pending", "damaged")

        wait_until(lambda: n_pending() == 1)
        assert tribrain("log", "dead-letters", "dismiss", unusable.source) == (0, {"dismissed": 1})
        wait_until(lambda: n_pending() == 0)


def test_serve_lora_shows_its_trainings(settings: Settings, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="make lora installs it")
    from tests.trainers.lora.serving import job_at, numbered, train_once
    from tests.trainers.lora.tiny import tiny_base
    from trainers.lora.meter import Meter
    from tribrain.serve.lora_metrics import condition_of, expose_lora

    base = tiny_base(tmp_path / "base", "bert")
    send(settings, numbered(40))
    instruments, meter = Instruments("lora"), Meter()
    job = job_at(settings, base, tmp_path, meter=meter)
    expose_lora(instruments, meter, job.work)
    snapshot = train_once(job)
    found = Scrape(instruments.text().decode())
    assert not_exposed(found, "lora") == []
    assert found["tribrain_trainings_total", snapshot.gate] == 1
    assert found["tribrain_training_seconds_count"] == 1
    assert found["tribrain_snapshot_version", "lora", "default"] == 1
    assert found["tribrain_new_pairs"] == found["tribrain_training"] == 0
    assert condition_of(meter).sentence == "It waits for pairs, and 0 are new."
    check(found, tmp_path)
