"""The stack with a Kafka that asks who you are, as runs of this computer and others meet it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.errors import BadInput
from streams.kafka.probe import check_access
from streams.kafka.security import Security
from streams.kafka.settings import Settings
from tests.compose.learnt import check_learnt, published
from tests.compose.stack import FILE, SECURE, Stack
from tests.waiting import wait_until
from tribrain.shell.exit_codes import BAD_INPUT

pytestmark = pytest.mark.compose

_LEARNT_S = 120.0


@pytest.fixture(scope="module")
def stack(new_stack: Callable[..., Stack], tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Healthy, with the login for runs of this computer."""
    made = new_stack(files=(FILE, SECURE))
    made.up()
    made.login = _login(made, "host", tmp_path_factory.mktemp("host"))
    return made


def test_a_run_of_this_computer_is_learnt_and_its_state_verified(stack: Stack, tmp_path: Path) -> None:
    of_run = ("--goal", "move the red cube", "--out", str(tmp_path / "a"), "--iters", "4")
    ran = _tribrain(stack.login, "run-simulated", *of_run)
    assert ran.returncode == 0, ran.stderr

    def is_settled() -> bool:
        said = _tribrain(stack.login, "verify-state", "--json")
        return said.returncode == 0 and json.loads(said.stdout)["settled"]

    wait_until(is_settled, _LEARNT_S)
    check_learnt(stack, published(stack, 6, "first"))


def test_who_has_no_login_is_not_let_in(stack: Stack) -> None:
    given = stack.settings.security
    nobody = Settings(bootstrap_servers=f"127.0.0.1:{stack.kafka_port}")
    with pytest.raises(BadInput, match=r"uses TLS, but security\.protocol is PLAINTEXT"):
        check_access(nobody)
    encrypted = Security(protocol="SSL", ca_location=given.ca_location)
    with pytest.raises(BadInput, match=r"requires SASL, but security\.protocol is SSL"):
        check_access(Settings(bootstrap_servers=nobody.bootstrap_servers, security=encrypted))


def test_a_login_is_for_what_it_was_made_for(stack: Stack, tmp_path: Path) -> None:
    refused = _tribrain(stack.login, "vote", "--import", str(tmp_path / "votes.csv"))
    assert refused.returncode == BAD_INPUT
    assert "user 'host' may not Write on topic 'tribrain.votes' at" in refused.stderr


def test_the_administrators_listener_wants_a_certificate(stack: Stack) -> None:
    variables = {
        "TRIBRAIN_KAFKA_CONFIG": "",
        "TRIBRAIN_BOOTSTRAP_SERVERS": "kafka:19093",
        "TRIBRAIN_KAFKA_SECURITY_PROTOCOL": "SSL",
        "TRIBRAIN_KAFKA_SSL_CA_LOCATION": "/login/ca.pem",
    }
    options = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    refused = stack.compose("exec", "-T", *options, "ui", "tribrain", "status", check=False)
    assert refused.returncode == BAD_INPUT
    assert "kafka:19093 asks for a client certificate" in refused.stderr


def test_no_password_is_to_be_seen_beside_the_volumes(stack: Stack) -> None:
    password = str(stack.settings.security.password)
    assert len(password) > 40
    told = json.dumps(stack.containers())
    assert "/logins/host" in told
    assert password not in told
    assert password not in stack.compose("logs").stdout


def test_an_operator_takes_a_backup(stack: Stack, tmp_path: Path) -> None:
    login = _login(stack, "tools", tmp_path)
    said = _tribrain(login, "backup", str(tmp_path / "tribrain.backup"), "--json")
    assert said.returncode == 0, said.stderr
    assert "tribrain-trainer-default" in json.loads(said.stdout)["groups"]


def test_a_stack_that_was_taken_down_knows_its_users_again(stack: Stack) -> None:
    runs = published(stack, 4, "before-it-went-down")
    stack.down()
    stack.up()
    check_learnt(stack, [*runs, *published(stack, 4, "after-it-came-up")])


def _login(stack: Stack, user: str, folder: Path) -> Path:
    stack.compose("cp", f"users:/logins/{user}", str(folder))
    return folder / user


def _tribrain(login: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    config = f"{login}/client.properties"
    return subprocess.run(
        [sys.executable, "-m", "tribrain.cli", *arguments, "--kafka-config", config],
        capture_output=True,
        text=True,
    )
