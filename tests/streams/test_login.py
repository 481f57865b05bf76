"""The folder with which a user logs in."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from streams.errors import BadInput
from streams.kafka.login import PROPERTIES, Login, password_in, write_login
from streams.kafka.security import Secret
from streams.kafka.settings import Settings

_PASSWORD = Secret("planted-5c1a")


def _login(ca_location: str = "") -> Login:
    return Login(
        bootstrap_servers="kafka:19092",
        mechanism="SCRAM-SHA-512",
        username="lab",
        password=_PASSWORD,
        ca_location=ca_location,
    )


def test_it_is_all_that_a_client_needs_wherever_it_is_moved(tmp_path: Path) -> None:
    (tmp_path / "authority.pem").write_bytes(b"of the broker")
    write_login(tmp_path / "lab", _login(str(tmp_path / "authority.pem")))
    moved = (tmp_path / "lab").rename(tmp_path / "elsewhere")
    settings = Settings.from_environment(None, {"TRIBRAIN_KAFKA_CONFIG": str(moved / PROPERTIES)})
    assert settings.bootstrap_servers == "kafka:19092"
    assert (settings.security.protocol, settings.security.username) == ("SASL_SSL", "lab")
    assert settings.security.password == password_in(moved, "lab") == _PASSWORD
    assert Path(settings.security.ca_location).read_bytes() == b"of the broker"


@pytest.mark.parametrize(("group_may_read", "mode"), [(False, 0o600), (True, 0o640)])
def test_nobody_else_may_read_it(tmp_path: Path, group_may_read: bool, mode: int) -> None:
    (tmp_path / PROPERTIES).touch(mode=0o666)
    write_login(tmp_path, _login(), group_may_read=group_may_read)
    assert stat.S_IMODE((tmp_path / PROPERTIES).stat().st_mode) == mode


def test_a_folder_of_authorities_is_named(tmp_path: Path) -> None:
    (tmp_path / "authorities").mkdir()
    write_login(tmp_path / "lab", _login(str(tmp_path / "authorities")))
    assert f"ssl.ca.location={tmp_path}/authorities\n" in (tmp_path / "lab" / PROPERTIES).read_text()


def test_an_authority_that_is_missing_leaves_no_login(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no\.pem: no such file"):
        write_login(tmp_path / "lab", _login(str(tmp_path / "no.pem")))
    assert password_in(tmp_path / "lab", "lab") is None


def test_the_login_of_another_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    write_login(tmp_path, _login())
    with pytest.raises(BadInput, match="is the login of user 'lab'; expected the login of user 'trainer'"):
        password_in(tmp_path, "trainer")
