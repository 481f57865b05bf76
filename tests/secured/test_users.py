"""``tribrain users create``: who is made so can do what it was made for, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streams.errors import BadInput
from streams.kafka.probe import check_access
from streams.kafka.security import Secret
from streams.kafka.settings import TOPIC_PREFIX_VARIABLE, Settings
from tests.secured.broker import SecuredBroker, lets_in
from tests.waiting import wait_until
from tribrain.shell.exit_codes import BAD_INPUT
from tribrain.shell.kafka_access import rights_of

_COMMANDS = {"learner": ("serve trainer",), "lab": ("suite run", "log snapshots list")}
_GIVEN = tuple(each for name in _COMMANDS for each in ("--user", f"{name}={','.join(_COMMANDS[name])}"))


@pytest.fixture
def admin(secured: SecuredBroker, prefix: str) -> Settings:
    """Who makes users, by a certificate."""
    holder = secured.holder("admin")
    secured.allow_certificate("admin", rights_of("log users create", secured.open))
    return replace(holder, topic_prefix=prefix)


def _login(folder: Path, prefix: str) -> Settings:
    environment = {
        "TRIBRAIN_KAFKA_CONFIG": str(folder / "client.properties"),
        TOPIC_PREFIX_VARIABLE: prefix,
    }
    return Settings.from_environment(None, environment)


def test_each_has_the_rights_of_its_commands_for_every_model_and_no_others(
    secured: SecuredBroker, admin: Settings, tribrain_on: Callable[[Settings], Any], tmp_path: Path
) -> None:
    to = f"localhost:{secured.port}"
    options = ("--out", str(tmp_path), "--connect-to", to, "--model", "default", "--model", "other")
    code, said = tribrain_on(admin)("users", "create", *_GIVEN, *options)
    assert (code, [user["new"] for user in said["users"]]) == (0, [True, True])
    for name, others in (("learner", "suite run"), ("lab", "serve trainer")):
        settings = _login(tmp_path / name, admin.topic_prefix)
        wait_until(lambda: lets_in(settings))  # noqa: B023
        for model in ("default", "other"):
            for command in _COMMANDS[name]:
                assert check_access(settings, rights_of(command, settings, model))
        with pytest.raises(BadInput, match=f"user '{name}' may not "):
            check_access(settings, rights_of(others, settings))
    assert _password(tmp_path / "learner") != _password(tmp_path / "lab")


def test_given_again_it_keeps_passwords_and_new_ones_are_made_where_they_are_asked_for(
    secured: SecuredBroker, admin: Settings, tribrain_on: Callable[[Settings], Any], tmp_path: Path
) -> None:
    to = f"localhost:{secured.port}"
    call = ("users", "create", "--user", "again=log publish", "--out", str(tmp_path), "--connect-to", to)
    tribrain_on(admin)(*call)
    first = _login(tmp_path / "again", admin.topic_prefix)
    wait_until(lambda: lets_in(first))
    assert tribrain_on(admin)(*call)[1]["users"][0]["new"] is False
    assert _login(tmp_path / "again", admin.topic_prefix) == first
    assert tribrain_on(admin)(*call, "--new-passwords")[1]["users"][0]["new"] is True
    renewed = _login(tmp_path / "again", admin.topic_prefix)
    wait_until(lambda: lets_in(renewed))
    with pytest.raises(BadInput, match="does not let user 'again' in with SCRAM-SHA-512"):
        check_access(first)


def test_nobody_s_password_is_changed_by_accident(
    secured: SecuredBroker, admin: Settings, cli_error: Callable[..., Any], tmp_path: Path
) -> None:
    there = secured.user("somebody")
    given = ("--user", "somebody=status", "--out", str(tmp_path))
    code, said = cli_error(admin, "users", "create", *given)
    assert (code, "user 'somebody' is there already at" in said) == (BAD_INPUT, True), said
    assert check_access(there)
    assert list(tmp_path.iterdir()) == []


def test_where_everyone_may_do_everything_no_login_is_made(
    kafka: str, cli_error: Callable[..., Any], tmp_path: Path
) -> None:
    open_to_all = Settings(bootstrap_servers=kafka)
    code, said = cli_error(open_to_all, "users", "create", "--user", "lab=status", "--out", str(tmp_path))
    assert (code, "lets everyone do everything; set its authorizer.class.name" in said) == (BAD_INPUT, True)
    assert list(tmp_path.iterdir()) == []


def test_an_in_memory_broker_has_no_users(
    in_memory_broker: str, cli_error: Callable[..., Any], tmp_path: Path
) -> None:
    settings = Settings(bootstrap_servers=in_memory_broker)
    code, said = cli_error(settings, "users", "create", "--user", "lab=status", "--out", str(tmp_path))
    assert (code, "which lets everyone in; users need Apache Kafka" in said) == (BAD_INPUT, True), said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("trainer",), "'trainer' is no user with its commands"),
        (("=status",), "'=status' is no user with its commands"),
        (("../out=status",), "'../out=status' is no user"),
        (("trainer=",), "'' is no command that needs rights on Kafka"),
        (("trainer=serve-trainr",), "did you mean 'serve trainer'?"),
        (("a=status", "a=dlq list"), "--user a is given twice; give all of its commands at once"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anyone_is_asked(
    given: tuple[str, ...], said: str, cli_error: Callable[..., Any], tmp_path: Path
) -> None:
    users = [word for each in given for word in ("--user", each)]
    nowhere = Settings(bootstrap_servers="localhost:1")
    code, told = cli_error(nowhere, "users", "create", *users, "--out", str(tmp_path))
    assert (code, said in told) == (BAD_INPUT, True), told


def _password(folder: Path) -> Secret:
    return _login(folder, "any").security.password
