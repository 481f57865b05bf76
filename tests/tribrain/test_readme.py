"""Every command of the README is run, in its order, as a reader would."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from streams.local_broker.jars import KafkaJars
from tests.runner.wow_doubles.checkout import fake_checkout
from tests.waiting import wait_until
from trainers.lora.base_model import packaged_base
from tribrain import cli

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


def base_model() -> str:
    """In place of a model of the hub, which no test asks."""
    base = packaged_base()
    assert base is not None, "make lora installs it"
    return base


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def in_background(command: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A command that runs until Ctrl-C, once it has said that it is ready."""
    log = folder / f"{re.sub('[^a-z0-9]+', '-', command)}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            shlex.split(command), cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: log.read_text().strip() or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(20)


def test_every_command_of_the_readme_runs(tmp_path: Path, kafka_jars: KafkaJars) -> None:
    fake_checkout(tmp_path / "WoW")  # and first.png beside it
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
    environment["XDG_STATE_HOME"] = str(tmp_path / "state")
    port, restored_port, metrics_port = (str(free_port()) for _ in range(3))
    ran = []
    with ExitStack() as background:
        for line in COMMANDS:
            command = line.replace("9092", port).replace("9093", restored_port).replace("9464", metrics_port)
            command = command.replace("distilbert-base-uncased", base_model())
            command = command.replace("tribrain ui", "tribrain ui --port 0")
            if command.startswith(("tribrain broker", "tribrain serve", "tribrain ui")):
                background.enter_context(in_background(command, tmp_path, environment))
                continue
            if command.startswith("make "):
                # This test is a part of `make test`, and the demo has a test of its own.
                command = f"{command} --dry-run -C {shlex.quote(str(ROOT))}"
            elif command.startswith("docker "):
                continue  # tests/compose runs these, where a Docker engine answers
            elif command == "tribrain demo --ui":
                continue  # it ends by Ctrl-C, and has a test of its own
            elif command.startswith(". "):
                assert BIN.name == "bin", "the README activates the environment that make has made"
                continue
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            ran.append(done.stdout)
    assert any("bit for bit the published snapshot" in output for output in ran)


def test_every_command_of_the_program_is_in_the_readme() -> None:
    for entry in cli.COMMANDS:
        names = "|".join(filter(None, (entry.name, entry.old_name)))
        assert entry.name == "serve page" or re.search(
            rf"(tribrain|tribrain\.cli|make) ({names})\b", README
        ), names


def test_every_test_that_the_readme_names_is_there() -> None:
    named = re.findall(r"`(?:tests/)?((?:[a-z_]+/)*test_[a-z_]+\.py)`", README)
    assert named
    for name in named:
        assert any((ROOT / "tests" / folder / name).is_file() for folder in ("", "faults")), name
