"""What the files say, before anything runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compose.stack import FILE, ROOT, SECURE, Stack

pytestmark = pytest.mark.compose

PROFILES = ("commands", "demo", "text", "lora", "obs", "tools")
FILES = [(FILE,), (FILE, SECURE)]
by_files = pytest.mark.parametrize("files", FILES, ids=["as it is", "secured"])


def _config(files: tuple[Path, ...], profile: str, *options: str) -> str:
    stack = Stack(
        name="tribrain", runs=Path("/runs"), image="tribrain:local", profiles=(profile,), files=files
    )
    return stack.compose("config", *options).stdout


@by_files
@pytest.mark.parametrize("profile", [*PROFILES, "*"])
def test_every_profile_is_a_stack_that_compose_accepts(
    engine: None, profile: str, files: tuple[Path, ...]
) -> None:
    _config(files, profile, "--quiet")


def test_every_profile_is_tested(engine: None) -> None:
    assert sorted(_config((FILE,), "", "--profiles").split()) == sorted(PROFILES)


@by_files
def test_every_published_port_is_on_loopback(engine: None, files: tuple[Path, ...]) -> None:
    services = json.loads(_config(files, "*", "--format", "json"))["services"]
    published = [(name, port) for name, service in services.items() for port in service.get("ports", [])]
    assert {name for name, _ in published} >= {"kafka", "ui"}
    assert [(name, port) for name, port in published if port.get("host_ip") != "127.0.0.1"] == []


def test_the_linter_finds_nothing_at_its_strictest() -> None:
    _lint(FILE)


def test_the_linter_finds_nothing_in_the_secured_stack(engine: None, tmp_path: Path) -> None:
    whole = tmp_path / "compose.yaml"
    whole.write_text(_config((FILE, SECURE), "*", "--no-interpolate"))
    _lint(whole)


def test_every_service_of_a_model_is_told_which(engine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIBRAIN_MODEL", "of-the-lab")
    services = json.loads(_config((FILE, SECURE), "*", "--format", "json"))["services"]
    told = {name for name, service in services.items() if "of-the-lab" in str(service.get("command"))}
    assert told == {"trainer", "ui", "demo", "text", "lora", "users"}


def test_every_service_that_talks_to_kafka_has_a_login_of_its_own(engine: None) -> None:
    services = json.loads(_config((FILE, SECURE), "*", "--format", "json"))["services"]
    logins = {
        name: [volume["source"] for volume in service.get("volumes", []) if volume["target"] == "/login"]
        for name, service in services.items()
        if "TRIBRAIN_BOOTSTRAP_SERVERS" in service.get("environment", {}) and name != "users"
    }
    assert logins == {name: [f"login-{name}"] for name in logins}
    assert {"topics", "trainer", "ui", "tools", "demo", "text", "lora"} == set(logins)


def _lint(file: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "compose_lint", "check", "--fail-on", "low", "--strict-config", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout
