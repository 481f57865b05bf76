"""What the files say, before anything runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compose.stack import FILE, ROOT, Stack, docker

pytestmark = pytest.mark.compose

PROFILES = ("commands", "demo", "text", "lora", "obs", "tools")


@pytest.mark.parametrize("profile", [*PROFILES, "*"])
def test_every_profile_is_a_stack_that_compose_accepts(engine: None, profile: str) -> None:
    Stack(name="tribrain", runs=Path("/runs"), image="tribrain:local", profiles=(profile,)).compose(
        "config", "--quiet"
    )


def test_every_profile_is_tested(engine: None) -> None:
    named = docker("compose", "-f", str(FILE), "config", "--profiles").split()
    assert sorted(named) == sorted(PROFILES)


def test_every_published_port_is_on_loopback(engine: None) -> None:
    said = docker("compose", "-f", str(FILE), "--profile", "*", "config", "--format", "json")
    services = json.loads(said)["services"]
    published = [(name, port) for name, service in services.items() for port in service.get("ports", [])]
    assert {name for name, _ in published} >= {"kafka", "ui"}
    assert [(name, port) for name, port in published if port.get("host_ip") != "127.0.0.1"] == []


def test_the_linter_finds_nothing_at_its_strictest() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "compose_lint", "check", "--fail-on", "low", "--strict-config", str(FILE)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout
