"""Finds Apache Kafka's jars: in ``KAFKA_HOME``, or else fetched once by Maven into the user's cache."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_JAVA_NEEDED = 17
_MAVEN_S = 900.0
_JAVA_S = 60.0
_POMS = (
    Path(__file__).parent / "pom.xml",  # in an installed wheel
    Path(__file__).parent.parent.parent / "compose" / "kafka" / "pom.xml",  # in a clone
)


class NoKafka(Exception):
    """Apache Kafka cannot run here; the message gives the reason in one clause."""


@dataclass(frozen=True, slots=True)
class KafkaJars:
    """An installation of Apache Kafka that can be run."""

    java: Path
    libs: Path
    version: str
    formatted: Path | None = None
    """A freshly formatted data directory to copy, which saves a one-second run of Kafka's StorageTool."""
    classes: Path | None = None
    """Path of Java's archive of the loaded classes, which may not exist yet."""

    @property
    def shared_classes(self) -> Sequence[str]:
        """Java options to use that archive, if it exists; Java ignores one that does not fit."""
        return [f"-XX:SharedArchiveFile={self.classes}"] if self.classes and self.classes.exists() else []

    def command(self, main_class: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
        return [str(self.java), *options, "-cp", f"{self.libs}/*", main_class, *arguments]

    def format(self, data: Path) -> None:
        """Format ``data`` as the data directory of node 1. Raises NoKafka."""
        with tempfile.TemporaryDirectory(prefix="tribrain-kafka-format-") as scratch:
            properties = Path(scratch) / "server.properties"
            properties.write_text(
                "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:1\n"
                "listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1\n"
                f"controller.listener.names=CONTROLLER\nlog.dirs={data}\n"
            )
            tool = ("kafka.tools.StorageTool", "format", "-t", new_cluster_id(), "-c", str(properties))
            done = subprocess.run(
                self.command(*tool, options=("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_JAVA_S,
            )
        if done.returncode != 0:
            raise NoKafka(f"Kafka's StorageTool failed: {_last_line(done.stderr or done.stdout)}")


def find_kafka(*, fetch: bool = True) -> KafkaJars:
    """Kafka's jars and a Java to run them; missing jars are fetched by default. Raises NoKafka."""
    java, java_version = _find_java()
    home = os.environ.get("KAFKA_HOME")
    if home:
        libs = Path(home) / "libs"
        return KafkaJars(java, libs, _version_of(libs))
    pom = next((pom for pom in _POMS if pom.is_file()), None)
    if pom is None:
        raise NoKafka("this installation lacks kafka/pom.xml")
    version = _version_in(pom)
    home_dir = _cache() / f"kafka-{version}"
    if not home_dir.is_dir():
        if not fetch:
            raise NoKafka(
                f"Apache Kafka {version} is not fetched yet; run tribrain serve broker --fetch-only"
            )
        _fetch(java, pom, version, home_dir)
    # Java refuses an archive that another version of Java has made.
    classes = home_dir / f"classes-{java_version}.jsa"
    return KafkaJars(java, home_dir / "libs", version, home_dir / "formatted", classes)


def new_cluster_id() -> str:
    """16 random bytes in Kafka's encoding of ids."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _fetch(java: Path, pom: Path, version: str, home_dir: Path) -> None:
    """Fetch into a temporary directory, then rename it, so that ``home_dir`` is complete or absent.

    Two processes may do this at once.
    """
    maven = shutil.which("mvn")
    if maven is None:
        raise NoKafka("no Maven (mvn) on the PATH to fetch Apache Kafka, and KAFKA_HOME is not set")
    try:
        home_dir.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".kafka-{version}-", dir=home_dir.parent))
    except OSError as error:
        raise NoKafka(f"{home_dir.parent} cannot hold Apache Kafka: {error.strerror}") from None
    try:
        # Copy the POM, so that Maven writes nothing into the source tree.
        shutil.copy(pom, beside / "pom.xml")
        goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={beside}/libs")
        done = subprocess.run(
            [maven, "--quiet", "--batch-mode", "--file", str(beside / "pom.xml"), *goal],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_MAVEN_S,
        )
        if done.returncode != 0:
            raise NoKafka(f"Maven could not fetch Apache Kafka {version}: {_first_error(done.stdout)}")
        KafkaJars(java, beside / "libs", version).format(beside / "formatted")
        beside.chmod(0o755)
        beside.rename(home_dir)
    except subprocess.TimeoutExpired as late:
        raise NoKafka(f"{Path(late.cmd[0]).name} did not end within {late.timeout:g} s") from None
    except OSError as error:
        if not home_dir.is_dir():
            raise NoKafka(f"{home_dir} cannot be created: {error.strerror}") from None
        # Another process was faster, and its copy is as good.
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _find_java() -> tuple[Path, str]:
    """The Java executable and its version. Raises NoKafka."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    where = "in JAVA_HOME" if home else "on the PATH"
    if found is None:
        raise NoKafka(f"no Java {_JAVA_NEEDED} {where}")
    try:
        told = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=_JAVA_S).stderr
    except (OSError, subprocess.TimeoutExpired):
        raise NoKafka(f"{found} does not run") from None
    version = re.search(r'version "((\d+)[^"]*)"', told)
    if version is None or int(version[2]) < _JAVA_NEEDED:
        raise NoKafka(f"Java {version[2] if version else '?'} {where} is older than {_JAVA_NEEDED}")
    return Path(found), version[1]


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tribrain"


def _version_in(pom: Path) -> str:
    version = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", pom.read_text())
    if version is None:
        raise NoKafka(f"{pom} names no kafka.version")
    return version[1].strip()


def _version_of(libs: Path) -> str:
    for jar in libs.glob("kafka_2.13-*.jar"):
        if version := re.fullmatch(r"kafka_2\.13-([0-9.]+)\.jar", jar.name):
            return version[1]
    raise NoKafka(f"KAFKA_HOME is set, but {libs} holds no kafka_2.13-*.jar")


def _first_error(output: str) -> str:
    errors = [line for line in output.splitlines() if "[ERROR]" in line]
    return errors[0].split("[ERROR]", 1)[1].strip() if errors else _last_line(output)


def _last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1].strip() if lines else "(it said nothing)"
