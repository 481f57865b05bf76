"""The commands on a Kafka that asks who they are: how they are told, and how they end where it says no."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streams.kafka.rights import Right
from streams.kafka.security import Secret
from streams.kafka.security_sources import CONFIG_VARIABLE
from streams.kafka.settings import Settings
from tests.program import COMMANDS as ALL
from tests.secured.broker import PASSWORD, SecuredBroker
from tests.secured.commands import COMMANDS, arguments_of
from tribrain.cli import main
from tribrain.shell.command import Command
from tribrain.shell.exit_codes import BAD_INPUT


def _config(folder: Path, settings: Settings, password: str = PASSWORD) -> Path:
    file = folder / "client.properties"
    file.write_text(
        f"bootstrap.servers={settings.bootstrap_servers}\nsecurity.protocol=SASL_SSL\n"
        f"sasl.mechanism=SCRAM-SHA-512\nsasl.username={settings.security.username}\n"
        f"sasl.password={password}\nssl.ca.location={settings.security.ca_location}\n"
    )
    return file


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_password_ends_every_command_with_one_line_and_exit_code_2(
    command: str, secured: SecuredBroker, tmp_path: Path, cli_error: Callable[..., Any]
) -> None:
    settings = secured.user("plain", "PLAIN")
    wrong = replace(settings, security=replace(settings.security, password=Secret("planted-wrong")))
    code, said = cli_error(wrong, *arguments_of(command, tmp_path))
    assert code == BAD_INPUT
    assert "does not let user 'plain' in by PLAIN" in said
    assert said.endswith("; check sasl.username and sasl.password\n")
    assert "planted" not in said
    assert not (tmp_path / "run").exists()


def test_a_file_of_properties_is_all_that_a_command_needs(
    secured: SecuredBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = secured.user("filed")
    secured.allow("filed", [Right("Read", "topic", "tribrain.dead-letters")])
    config = _config(tmp_path, settings)
    before = os.environ.get(CONFIG_VARIABLE)
    with pytest.raises(SystemExit) as ended:
        main(["dlq", "list", "--kafka-config", str(config)])
    assert (ended.value.code, capsys.readouterr().out) == (0, "0 dead letters\n")
    assert os.environ.get(CONFIG_VARIABLE) == before


def test_the_environment_may_name_the_file_and_an_option_is_above_what_it_says(
    secured: SecuredBroker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, str(_config(tmp_path, secured.user("named"))))
    elsewhere = ("--bootstrap-servers", "nowhere")
    for options, said in (((), "may not Read on topic"), (elsewhere, "'nowhere' is no Kafka broker")):
        with pytest.raises(SystemExit):
            main(["dlq", "list", *options])
        assert said in capsys.readouterr().err


def test_a_setting_that_is_not_known_ends_a_command_before_it_asks_anyone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "client.properties").write_text("sasl.user=trainer\n")
    with pytest.raises(SystemExit) as ended:
        main(["dlq", "list", "--kafka-config", str(tmp_path / "client.properties")])
    assert ended.value.code == BAD_INPUT
    assert capsys.readouterr().err.startswith(f"tribrain: {tmp_path}/client.properties:1: sasl.user is no")


def test_whatever_takes_a_broker_takes_a_file_of_properties() -> None:
    found = 0
    for words, command in ALL.items():
        options = {option for param in command.params for option in param.opts}
        assert isinstance(command, Command)
        assert ("--kafka-config" in options) == ("--bootstrap-servers" in options), words
        found += "--kafka-config" in options
    assert found > 15


def test_help_needs_no_client_of_kafka() -> None:
    program = (
        "import sys\nfrom tribrain.cli import cli\n"
        "cli.main(['serve-trainer', '--help'], standalone_mode=False)\n"
        "sys.exit(sorted({'kafka', 'aiokafka', 'faust', 'cryptography'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--kafka-config FILE" in done.stdout
