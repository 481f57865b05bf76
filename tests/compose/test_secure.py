"""The stack with a Kafka that asks who you are, as runs of this computer and others meet it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.errors import BadInput
from streams.kafka.login import password_in
from streams.kafka.probe import check_access
from streams.kafka.security import Security
from streams.kafka.settings import Settings
from streams.local_broker.certificates import AUTHORITY
from tests.compose.learnt import check_learnt, published
from tests.compose.stack import FILE, SECURE, TOKEN, Stack, docker
from tests.waiting import wait_until
from tribrain.shell.exit_codes import BAD_INPUT

pytestmark = pytest.mark.compose

_LEARNT_S = 120.0
_USERS = re.findall(r"^ +- --user=(\w+)=", SECURE.read_text(), flags=re.MULTILINE)


@pytest.fixture(scope="module")
def stack(new_stack: Callable[..., Stack], tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Healthy, with text rewards too, and with the login for runs of this computer."""
    made = new_stack(files=(FILE, SECURE), profiles=("text",))
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
    votes = tmp_path / "votes.csv"
    votes.write_text("left_run_id,left_iter_idx,right_run_id,right_iter_idx,answer\na,0,a,1,left\n")
    refused = _tribrain(stack.login, "vote", "--import", str(votes))
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


def test_no_password_is_to_be_seen_beside_the_volumes(stack: Stack, tmp_path: Path) -> None:
    passwords = _passwords(stack, tmp_path)
    told = json.dumps(stack.containers())
    assert "/logins/host" in told
    assert [user for user, password in passwords.items() if password in told] == []


def test_no_log_holds_a_password_and_none_but_the_pages_own_its_token(stack: Stack, tmp_path: Path) -> None:
    passwords, address = _passwords(stack, tmp_path), f"{stack.url}/?token={TOKEN}"
    with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(address) as answer:
        assert answer.status == 200
    services = {each["Config"]["Labels"]["com.docker.compose.service"] for each in stack.containers()}
    logs = {service: stack.logs(service) for service in services}
    # They did say something: it is no test of silence.
    assert all(logs.values())
    found = {(service, user) for service, log in logs.items() for user in passwords if passwords[user] in log}
    assert found == set()
    told = [(service, line) for service, log in logs.items() for line in log.splitlines() if TOKEN in line]
    assert told == [("ui", f"the page is at {address} (Ctrl-C ends it)")] * len(told)
    assert told


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


def test_a_stack_restored_into_an_empty_volume_knows_its_users_again(stack: Stack) -> None:
    def run(*arguments: str) -> None:
        stack.compose("run", "--rm", "--no-TTY", *arguments)

    runs = published(stack, 4, "before-the-backup")
    check_learnt(stack, runs)
    run("tools", "log", "backup", "/backup/secured.backup")
    stack.down()
    docker("volume", "rm", f"{stack.name}_kafka-data")
    stack.up("kafka")
    run("users")
    run("--no-deps", "tools", "log", "restore", "/backup/secured.backup")
    stack.up()
    check_learnt(stack, [*runs, *published(stack, 4, "after-the-restore")])


def test_certificates_are_kept_by_a_second_start_and_renewed_without_their_volume(
    stack: Stack, tmp_path: Path
) -> None:
    before = stack.login
    assert before is not None
    stack.up()
    assert "the certificates are kept, and hold until 20" in stack.logs("certificates")
    assert _authority(_login(stack, "host", tmp_path / "kept")) == _authority(before)
    stack.down()
    docker("volume", "rm", f"{stack.name}_certificates")
    stack.up()
    refused = _tribrain(before, "status")
    assert refused.returncode == BAD_INPUT
    assert "certificate" in refused.stderr
    stack.login = _login(stack, "host", tmp_path / "renewed")
    assert _authority(stack.login) != _authority(before)
    check_learnt(stack, published(stack, 4, "renewed"))


def _passwords(stack: Stack, folder: Path) -> dict[str, str]:
    """User to password, of all that the stack made."""
    found = {user: str(password_in(_login(stack, user, folder), user)) for user in _USERS}
    assert min(map(len, found.values())) > 40
    return found


def _authority(login: Path) -> bytes:
    return (login / AUTHORITY).read_bytes()


def _login(stack: Stack, user: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    stack.compose("cp", f"users:/logins/{user}", str(folder))
    return folder / user


def _tribrain(login: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    config = f"{login}/client.properties"
    return subprocess.run(
        [sys.executable, "-m", "tribrain.cli", *arguments, "--kafka-config", config],
        capture_output=True,
        text=True,
    )
