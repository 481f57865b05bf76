"""Runs Apache Kafka as a local process."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Self

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from streams.errors import BadInput
from streams.kafka.settings import Settings, admin_config
from streams.local_broker.folder import end_of_log, hold
from streams.local_broker.jars import KafkaJars, NoKafka

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_START_S = 60.0
_TERMINATE_S = 3.0
_KILL_S = 1.5
_ARCHIVE_S = 60.0
_LOOK_AGAIN_S = 0.02
_JVM_OPTIONS = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN")


class LocalBroker:
    """Apache Kafka in KRaft mode: one process that is both broker and controller.

    Without ``data_dir`` everything is in a temporary directory, which is removed when the broker stops. A
    given directory is formatted once and reused, by one broker at a time. Kafka's log is ``broker.log`` in
    it.

    ``advertised_port`` is the port given to clients if it is not the broker's own, for example the port of a
    tunnel or a proxy. ``terminate_s`` is how long the process may take to end before it is killed.
    ``properties`` holds further settings of Kafka.
    """

    def __init__(
        self,
        kafka: KafkaJars,
        *,
        port: int | None = None,
        data_dir: Path | None = None,
        advertised_port: int | None = None,
        java_options: Sequence[str] = (),
        terminate_s: float = _TERMINATE_S,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self._kafka = kafka
        self._java_options = [*_JVM_OPTIONS, *kafka.shared_classes, *java_options]
        self._terminate_s = terminate_s
        self._properties = dict(properties or {})
        self._advertised_port = advertised_port
        self._fixed_port = port
        self._port = port
        self._given_dir = data_dir
        self._dir: Path | None = None
        self._lock: IO[bytes] | None = None
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self if self._process is not None else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self._port}"

    @property
    def description(self) -> str:
        return f"Apache Kafka {self._kafka.version} (local)"

    @property
    def note(self) -> str:
        kept = "keeps nothing" if self._given_dir is None else f"keeps its data in {self._given_dir}"
        return f"Apache Kafka {self._kafka.version} answers at {self.bootstrap_servers} and {kept}"

    @property
    def pid(self) -> int | None:
        """Process id; None if it is not running."""
        return None if self._process is None else self._process.pid

    @property
    def log_file(self) -> Path | None:
        return None if self._dir is None else self._dir / "broker.log"

    @property
    def failure(self) -> str | None:
        """Why it has ended by itself, with the end of its log; None if it is running or was stopped."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return None
        how = f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
        return f"Apache Kafka has ended {how}; {self._log_end()}"

    def start(self) -> Self:
        """Start the broker and wait until it answers.

        Raises BadInput if the port or the folder is in use, or Kafka cannot start.
        """
        if self._fixed_port is not None and not _is_free(self._fixed_port):
            raise BadInput(f"port {self._fixed_port} is in use; stop what listens on it or give another port")
        broker_port, controller_port = _free_ports(2)
        self._port = self._fixed_port or broker_port
        try:
            self._dir = self._make_dir()
            properties = self._dir / "server.properties"
            data = self._dir / "data"
            properties.write_text(
                _server_properties(self._port, self._advertised_port or self._port, controller_port, data)
                + "".join(f"{name}={value}\n" for name, value in self._properties.items())
            )
            if not (data / "meta.properties").exists():
                self._format(properties)
            self._process = self._launch(properties)
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the process within 5 s, and remove its temporary data. May be called twice."""
        process, self._process = self._process, None
        if process is not None:
            _end(process, self._terminate_s)
        if self._given_dir is None and self._dir is not None:
            shutil.rmtree(self._dir, ignore_errors=True)
        self._dir = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _make_dir(self) -> Path:
        if self._given_dir is None:
            return Path(tempfile.mkdtemp(prefix="tribrain-kafka-"))
        self._lock = hold(self._given_dir)
        return self._given_dir.resolve()

    def _format(self, properties: Path) -> None:
        data = properties.parent / "data"
        beside = properties.parent / f".data.{os.getpid()}"
        try:
            if self._kafka.formatted is not None:
                shutil.copytree(self._kafka.formatted, beside)
            else:
                self._kafka.format(beside)
            beside.rename(data)
        except NoKafka as reason:
            raise BadInput(f"Apache Kafka cannot start: {reason}") from None
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _launch(self, properties: Path) -> subprocess.Popen[bytes]:
        assert self.log_file is not None
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            return subprocess.Popen(
                self._kafka.command("kafka.Kafka", str(properties), options=self._java_options),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # In its own process group, so that Ctrl-C in a terminal reaches it only through stop().
                start_new_session=True,
                # The broker inherits the folder's lock, in case it outlives this process.
                pass_fds=[] if self._lock is None else [self._lock.fileno()],
            )

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        assert self._port is not None
        deadline = time.monotonic() + _START_S
        while not (_accepts(self._port) and _answers(self.bootstrap_servers)):
            if self._process.poll() is not None:
                raise BadInput(f"Apache Kafka ended during startup; {self._log_end()}")
            if time.monotonic() > deadline:
                raise BadInput(
                    f"Apache Kafka did not answer within {_START_S:g} s; {self._log_end()}. "
                    "If this computer is busy, try again later"
                )
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LOOK_AGAIN_S)

    def _log_end(self) -> str:
        assert self.log_file is not None
        where = "" if self._given_dir is None else f" ({self.log_file})"
        told = end_of_log(self.log_file, self._log_start)
        return f"its log{where} ends with: {told}" if told else f"its log{where} does not say why"


def archive_classes(kafka: KafkaJars) -> None:
    """Start a broker once, so that Java archives the classes it loads (JEP 350).

    The archive halves the time of every later start. A failure is ignored.
    """
    if kafka.classes is None or kafka.classes.exists():
        return
    beside = kafka.classes.with_name(f".{os.getpid()}.{kafka.classes.name}")
    options = (f"-XX:ArchiveClassesAtExit={beside}",)
    try:
        with LocalBroker(replace(kafka, classes=None), java_options=options, terminate_s=_ARCHIVE_S):
            pass
        beside.rename(kafka.classes)
    except (BadInput, OSError):
        log.debug("Kafka's classes could not be archived", exc_info=True)
    finally:
        beside.unlink(missing_ok=True)


def _server_properties(port: int, advertised_port: int, controller_port: int, data: Path) -> str:
    """The properties file. A killed broker can rejoin only after its old session, by default 9 s, has
    expired."""
    return (
        f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{HOST}:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}
advertised.listeners=PLAINTEXT://{HOST}:{advertised_port}
log.dirs={data}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=16777216
"""
        + "".join(
            f"{name}.num.partitions=1\n{name}.replication.factor=1\n{name}.min.isr=1\n"
            for name in ("transaction.state.log", "share.coordinator.state.topic")
        )
        + "offsets.topic.num.partitions=1\noffsets.topic.replication.factor=1\n"
    )


def _end(process: subprocess.Popen[bytes], terminate_s: float) -> None:
    """End the whole process group (``start_new_session``), including what the process has started."""
    for sig, patience_s in ((signal.SIGTERM, terminate_s), (signal.SIGKILL, _KILL_S)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sig)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
            return


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind((HOST, 0))
        return [free.getsockname()[1] for free in sockets]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As Kafka does, so that connections of a broker that has just ended do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _answers(bootstrap_servers: str) -> bool:
    """Whether the broker is ready; it accepts connections before that."""
    settings = Settings(bootstrap_servers=bootstrap_servers)
    try:
        with KafkaAdminClient(**admin_config(settings, timeout_s=1.0)) as admin:
            return bool(admin.describe_cluster()["brokers"])
    except KafkaError:
        return False
