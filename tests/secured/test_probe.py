"""What keeps a client out is found at the start, and said in one line."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from streams.errors import BadInput
from streams.kafka import tokens
from streams.kafka.probe import check_access
from streams.kafka.rights import Right
from streams.kafka.security import NOT_SECURED, Secret, Security
from streams.kafka.settings import Settings
from streams.local_broker.certificates import Authority
from tests.ports import free_port
from tests.secured.broker import PASSWORD, SecuredBroker
from tests.secured.tokens import TokenCommand

_PROMISED_S = 10.0


def _refused(settings: Settings, rights: Sequence[Right] = ()) -> str:
    began = time.monotonic()
    with pytest.raises(BadInput) as raised:
        check_access(settings, rights)
    assert time.monotonic() - began < _PROMISED_S
    assert PASSWORD not in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_user_with_the_right_password_is_let_in(secured: SecuredBroker, mechanism: str) -> None:
    assert check_access(secured.user(f"in-{mechanism}", mechanism))


def test_plain_and_certificates_and_tokens_are_let_in(secured: SecuredBroker, tmp_path: Path) -> None:
    assert check_access(secured.user("plain", "PLAIN"))
    assert check_access(secured.holder("holder"))
    assert check_access(secured.holder("locked", password="of-the-key"))
    assert check_access(secured.bearer(TokenCommand(tmp_path, "bearer", 60).command))


@pytest.mark.parametrize(("name", "mechanism"), [("plain", "PLAIN"), ("wrong", "SCRAM-SHA-512")])
def test_a_wrong_password_is_named(secured: SecuredBroker, name: str, mechanism: str) -> None:
    settings = secured.user(name, mechanism)
    wrong = replace(settings, security=replace(settings.security, password=Secret("other")))
    said = _refused(wrong)
    assert f"does not let user '{name}' in with {mechanism}" in said
    assert said.endswith("check sasl.username and sasl.password")


def test_an_authority_that_is_not_trusted_is_named(secured: SecuredBroker, tmp_path: Path) -> None:
    user = secured.user("distrustful")
    (tmp_path / "other.pem").write_bytes(Authority().pem)
    for trusted, shown in (("", "the authorities of this system"), (tmp_path / "other.pem",) * 2):
        said = _refused(replace(user, security=replace(user.security, ca_location=str(trusted))))
        assert f"is signed by no authority in {shown} (" in said
        assert said.endswith("give the certificate file of its authority as ssl.ca.location")


def test_a_certificate_for_another_name_is_refused_unless_any_name_will_do(secured: SecuredBroker) -> None:
    security = secured.user("elsewhere").security
    said = _refused(secured.settings(security, host="127.0.0.1"))
    assert "is not for the name '127.0.0.1'; give the broker by the name in its certificate" in said
    any_name = replace(security, endpoint_identification="none")
    assert check_access(secured.settings(any_name, host="127.0.0.1"))


@pytest.mark.parametrize("listener", ["SASL_SSL", "SSL"])
def test_plaintext_to_a_port_with_tls_is_named(secured: SecuredBroker, listener: str) -> None:
    said = _refused(secured.settings(NOT_SECURED, listener=listener))
    assert said.endswith("uses TLS, but security.protocol is PLAINTEXT; set it to SSL")


@pytest.mark.parametrize("listener", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_tls_to_a_port_without_it_is_named(secured: SecuredBroker, listener: str) -> None:
    said = _refused(secured.settings(secured.user("encrypted").security, listener=listener))
    assert "does not use TLS, but security.protocol is SASL_SSL; give the port of a listener with TLS" in said


@pytest.mark.parametrize(("protocol", "better"), [("PLAINTEXT", "SASL_PLAINTEXT"), ("SSL", "SASL_SSL")])
def test_a_port_that_asks_who_you_are_is_named(secured: SecuredBroker, protocol: str, better: str) -> None:
    trusted = str(secured.authority) if protocol == "SSL" else ""
    security = Security(protocol=protocol, ca_location=trusted)
    said = _refused(secured.settings(security, listener=better))
    assert f"requires SASL, but security.protocol is {protocol}; set it to {better}" in said
    assert said.endswith("to one of OAUTHBEARER, PLAIN, SCRAM-SHA-256, SCRAM-SHA-512")


def test_a_login_where_nobody_asks_is_named(secured: SecuredBroker) -> None:
    security = Security(protocol="SASL_PLAINTEXT", mechanism="PLAIN", username="plain", password=PASSWORD)
    said = _refused(secured.settings(security, listener="PLAINTEXT"))
    assert "has no SASL, but security.protocol is SASL_PLAINTEXT; set it to PLAINTEXT" in said


def test_a_certificate_of_the_client_that_is_missing_or_not_trusted_is_named(
    secured: SecuredBroker, tmp_path: Path
) -> None:
    nobody = Security(protocol="SSL", ca_location=str(secured.authority))
    assert "asks for a client certificate" in _refused(secured.settings(nobody))
    certificate, key = Authority().identity("stranger")
    (tmp_path / "stranger.pem").write_bytes(certificate + key)
    stranger = replace(nobody, certificate_location=str(tmp_path / "stranger.pem"))
    said = _refused(secured.settings(stranger))
    assert f"refuses the certificate in {tmp_path / 'stranger.pem'}" in said


def test_a_token_that_expired_is_named_before_it_is_sent(secured: SecuredBroker, tmp_path: Path) -> None:
    assert "printed a token that expired at 20" in _refused(
        secured.bearer(TokenCommand(tmp_path, "bearer", -60).command)
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("false", "(false) failed with exit code 1; run it yourself to see why"),
        ("/no/such/program --secret planted", "(/no/such/program) does not run: No such file"),
        ("true", "printed no token; expected one bearer token and nothing else"),
        ("echo two words", "printed more than a token"),
        ("sleep 60", "printed no token within 0.5 s; check why it hangs"),
        ("echo 'a", "cannot be read: No closing quotation"),
        ("echo token-nobody-knows", '({"status":"invalid_token"}); have its command print a token that'),
    ],
)
def test_a_command_that_gives_no_token_is_named(
    secured: SecuredBroker, monkeypatch: pytest.MonkeyPatch, command: str, said: str
) -> None:
    monkeypatch.setattr(tokens, "_LONGEST_S", 0.5)
    found = _refused(secured.bearer(command))
    assert said in found
    assert "planted" not in found


def test_rights_that_are_missing_are_named_by_resource_and_operation(secured: SecuredBroker) -> None:
    settings = secured.user("limited")
    rights = [
        Right("Read", "topic", "tribrain.trace"),
        Right("Write", "topic", "tribrain.pairs"),
        Right("Read", "group", "a-group"),
        Right("Write", "transactional id", "an-id"),
    ]
    for given, right in enumerate(rights):
        said = _refused(settings, rights)
        assert all(str(missing) in said for missing in rights[given:])
        assert not any(str(present) in said for present in rights[:given])
        secured.allow("limited", [right])
    assert check_access(settings, rights)


def test_a_topic_that_may_be_read_is_not_one_that_may_be_written(secured: SecuredBroker) -> None:
    settings = secured.user("reader")
    secured.allow("reader", [Right("Read", "topic", "tribrain.votes")])
    said = _refused(
        settings, [Right("Read", "topic", "tribrain.votes"), Right("Write", "topic", "tribrain.votes")]
    )
    assert said.startswith("user 'reader' may not Write on topic 'tribrain.votes' at localhost:")


def test_a_broker_that_is_away_is_no_error() -> None:
    away = f"127.0.0.1:{free_port()}"
    assert not check_access(Settings(bootstrap_servers=away))
    assert not check_access(Settings(bootstrap_servers=f"no-such-host.invalid:1,{away}"))


def test_one_of_several_brokers_is_enough(secured: SecuredBroker) -> None:
    servers = f"127.0.0.1:{free_port()},{secured.open.bootstrap_servers}"
    assert check_access(Settings(bootstrap_servers=servers), [Right("Write", "topic", "tribrain.trace")])
