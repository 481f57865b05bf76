"""Certificates that are there already: kept while they hold, named when they end, renewed all together."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streams.errors import BadInput
from streams.local_broker.certificates import AUTHORITY, Authority, _main, end_of, make_certificates

_GIVEN = ("--host", "kafka", "--client", "admin")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def make(folder: Path, *options: str) -> None:
    _main(["--out", str(folder), *_GIVEN, *options])


def test_a_second_call_keeps_them_to_the_byte_and_says_until_when_they_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, "--if-missing")
    day = (datetime.now(UTC) + timedelta(days=825)).date()
    assert capsys.readouterr().out == f"{tmp_path}: the certificates are new, and hold until {day}\n"
    before = contents(tmp_path)
    make(tmp_path, "--if-missing")
    assert capsys.readouterr().out == f"{tmp_path}: the certificates are kept, and hold until {day}\n"
    assert contents(tmp_path) == before


def test_they_hold_until_the_first_of_them_ends(tmp_path: Path) -> None:
    make_certificates(tmp_path, ["kafka"], ["admin"])
    (tmp_path / "admin.pem").write_bytes(Authority(days=40).identity("admin")[0])
    assert end_of(tmp_path).date() == (datetime.now(UTC) + timedelta(days=40)).date()


@pytest.mark.parametrize(("days", "is_soon"), [(29, True), (31, False)])
def test_in_the_month_before_their_end_it_says_how_they_are_renewed(
    days: int, is_soon: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / AUTHORITY).write_bytes(Authority(days=days).pem)
    make(tmp_path, "--if-missing")
    said = capsys.readouterr().out
    assert ("that is soon: remove them, make new ones, and give clients the new ca.pem" in said) is is_soon


def test_those_that_have_ended_are_an_error_and_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / AUTHORITY).write_bytes(Authority(days=-1).pem)
    before = contents(tmp_path)
    with pytest.raises(SystemExit) as ended:
        make(tmp_path, "--if-missing")
    assert ended.value.code == 2
    assert "the certificates ended on " in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_renewed_ones_are_of_another_authority(tmp_path: Path) -> None:
    make(tmp_path)
    before = contents(tmp_path)
    make(tmp_path)
    after = contents(tmp_path)
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    ssl.create_default_context(cadata=after[AUTHORITY].decode())


@pytest.mark.parametrize("content", [b"", b"no certificate"])
def test_one_that_cannot_be_read_is_named(content: bytes, tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "admin.pem").write_bytes(content)
    with pytest.raises(BadInput, match=r"admin\.pem: no certificate can be read: .*; remove "):
        end_of(tmp_path)
