"""The dashboard's and the alerts' queries on a real Prometheus, over what real services have exposed."""

from __future__ import annotations

import socket
import subprocess
import threading
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.kafka.settings import TOPIC_PREFIX_VARIABLE, Settings
from streams.kafka.topics import create_topics
from streams.kafka.writer import produce
from streams.messages.stored import Outgoing
from streams.metrics.disks import Disk
from streams.metrics.instruments import Instruments
from tests.kafka.test_serve_text import send
from tests.kafka.test_trainer import interleaved, publish, random_runs, wait_until_learnt
from tests.kafka.test_trainer_metrics import url_of
from tests.pages import page_server, write_runs
from tests.prometheus import prometheus_command
from tests.scrapes import Scrape
from tests.services import service
from tests.trainers.text.factories import polite_pairs
from tests.waiting import wait_until
from trainers.lora.meter import Meter
from tribrain.cli import main
from tribrain.observability.alerts import ALERTS
from tribrain.observability.panels import ROWS
from tribrain.observability.prometheus import rules
from tribrain.observability.yaml import as_yaml
from tribrain.serve.lora_metrics import expose_lora

QUERIES = [query for row in ROWS for panel in row.panels for query in panel.queries]
Ask = Callable[[str], list[Any]]


@contextmanager
def exposing(texts: Mapping[str, str]) -> Iterator[int]:
    """What was scraped once is there to be scraped again, each job's under its own name."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = texts.get(self.path.strip("/"), "").encode()
            self.send_response(200 if body else 500)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def prometheus(folder: Path, port: int, jobs: Mapping[str, str]) -> Iterator[Ask]:
    """A Prometheus that scrapes the jobs there every second; asks it a query."""
    program = prometheus_command("prometheus", folder)
    scrape = [
        {"job_name": job, "metrics_path": f"/{job}", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        for job in jobs
    ]
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": scrape,
    }
    (folder / "prometheus.yml").write_bytes(as_yaml(configuration, "For a test."))
    (folder / "rules.yml").write_bytes(as_yaml(rules(), "As compose has them."))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        own = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [*program, "--config.file=prometheus.yml", f"--web.listen-address={own}", "--storage.tsdb.path=data"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "prometheus.log").open("wb"),
    )

    def ask(query: str) -> list[Any]:
        asked = urllib.parse.urlencode({"query": query})
        with urllib.request.urlopen(f"http://{own}/api/v1/query?{asked}", timeout=10) as answer:
            found: list[Any] = orjson.loads(answer.read())["data"]["result"]
            return found

    def answers() -> bool:
        try:
            return len(ask("min_over_time(up[5s])")) == len(jobs)
        except OSError:
            assert process.poll() is None, (folder / "prometheus.log").read_text()
            return False

    try:
        wait_until(answers)
        yield ask
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def exposed(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Job to what it exposed: trainer, text service and page at work, a run's file, and a LoRA service."""
    folder = tmp_path_factory.mktemp("exposed")
    settings = Settings(bootstrap_servers=kafka, topic_prefix=f"test-dashboard-{uuid.uuid4().hex[:12]}")
    create_topics(settings)
    write_runs(folder)
    runs, texts = random_runs(12, seed=21), {}
    with (
        service(settings, "serve-trainer", "--metrics-port", "0") as trainer,
        service(settings, "serve-text", "--metrics-port", "0", "--every-s", "0.1") as text,
        page_server(folder, "--metrics-port", "0", settings=settings) as page,
    ):
        assert page.process is not None
        urls = {"trainer": url_of(trainer), "text": url_of(text), "page": url_of(page.process)}
        publish(settings, interleaved(runs, seed=22))
        list(produce(settings, [Outgoing(settings.trace_topic, b"k", b"{]")]))
        wait_until_learnt(settings, len(runs))
        send(settings, polite_pairs(30))
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv(TOPIC_PREFIX_VARIABLE, settings.topic_prefix)
            with pytest.raises(SystemExit):
                main([
                    "run-simulated", "--goal", "move the cube", "--iters", "2", "--out", str(folder / "run"),
                    "--bootstrap-servers", kafka, "--metrics-file", str(folder / "run.prom"),
                ])  # fmt: skip
        wanted = {
            "trainer": ("tribrain_log_loss", "bt", "default", "model"),
            "text": ("tribrain_snapshot_version", "text", "default"),
            "page": ("tribrain_log_loss", "bt", "default", "model"),
        }
        # Measured every other second, and not before.
        wait_until(lambda: "tribrain_lag_messages{" in Scrape.of(f"{urls['trainer']}/metrics").text)
        for job, sample in wanted.items():
            wait_until(lambda sample=sample, job=job: sample in Scrape.of(f"{urls[job]}/metrics"))  # type: ignore[misc]
            texts[job] = Scrape.of(f"{urls[job]}/metrics").text
    lora = Instruments("lora")
    expose_lora(lora, Meter(), folder)
    return texts | {"node": (folder / "run.prom").read_text(), "lora": lora.text().decode()}


@pytest.fixture(scope="module")
def ask(exposed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    with (
        exposing(exposed) as port,
        prometheus(tmp_path_factory.mktemp("prometheus"), port, {**exposed, "gone": ""}) as asked,
    ):
        yield asked


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_of_the_dashboard_finds_a_series(query: str, ask: Ask) -> None:
    wait_until(lambda: ask(query))


FIRING = {"TribrainScrapeMissing", "TribrainDeadLettersPending"}
"""A service that is gone, and a dead letter; the others' faults are in the cases of their rules. This
computer's disk can be filling, too."""


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_over_services_that_work_an_alert_holds_only_for_what_is_wrong(
    alert: Any, ask: Ask, tmp_path: Path
) -> None:
    found = ask(alert.expr)
    filling = {"TribrainDiskFilling"} if Disk.under(tmp_path).is_filling else set()
    assert bool(found) == (alert.name in FIRING | filling)
    if alert.name == "TribrainScrapeMissing":
        assert {each["metric"]["job"] for each in found} == {"gone"}
