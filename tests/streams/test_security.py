"""Settings of security: what is taken, from where, and what is refused."""

from __future__ import annotations

import ssl
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from streams.errors import BadInput
from streams.kafka.security import NOT_SECURED, Secret, Security, ssl_context
from streams.kafka.security_sources import read_sources
from streams.kafka.settings import Settings, aiokafka_config, consumer_config, faust_config
from streams.local_broker.certificates import Authority, make_certificates

_PLANTED = "planted-93ab"
_LOGIN = {
    "TRIBRAIN_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
    "TRIBRAIN_KAFKA_SASL_MECHANISM": "scram-sha-512",
    "TRIBRAIN_KAFKA_SASL_USERNAME": "trainer",
    "TRIBRAIN_KAFKA_SASL_PASSWORD": _PLANTED,
}


def test_nothing_said_is_a_plain_connection() -> None:
    assert read_sources({"TRIBRAIN_KAFKA_SASL_USERNAME": "", "PATH": "/bin"}).security == NOT_SECURED


def test_variables_are_called_after_the_properties_of_librdkafka() -> None:
    security = read_sources(_LOGIN).security
    assert (security.protocol, security.mechanism, security.username, security.password) == (
        "SASL_SSL",
        "SCRAM-SHA-512",
        "trainer",
        _PLANTED,
    )


def test_a_file_of_properties_is_read_and_variables_win_over_it(tmp_path: Path) -> None:
    config = tmp_path / "client.properties"
    config.write_text(
        "# who we are\nbootstrap.servers = kafka:9093\n\nsecurity.protocol=SASL_SSL\nsasl.mechanisms=PLAIN\n"
        "sasl.username=runner\nsasl.password=a=b # no comment\n"
    )
    environment = {"TRIBRAIN_KAFKA_CONFIG": str(config)}
    settings = Settings.from_environment(None, environment)
    assert settings.bootstrap_servers == "kafka:9093"
    assert settings.security.password == "a=b # no comment"
    assert Settings.from_environment("near:1", environment).bootstrap_servers == "near:1"
    ours = read_sources(environment | {"TRIBRAIN_KAFKA_SASL_USERNAME": "trainer"}).security
    assert (ours.username, ours.mechanism) == ("trainer", "PLAIN")


def test_a_byte_order_mark_is_no_part_of_a_name_nor_of_a_secret(tmp_path: Path) -> None:
    config, password = tmp_path / "client.properties", tmp_path / "password"
    config.write_text("\ufeffsecurity.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username=runner\n")
    password.write_text(f"\ufeff{_PLANTED}\n")
    environment = {
        "TRIBRAIN_KAFKA_CONFIG": str(config),
        "TRIBRAIN_KAFKA_SASL_PASSWORD_FILE": str(password),
    }
    security = read_sources(environment).security
    assert (security.protocol, security.password) == ("SASL_SSL", _PLANTED)


def test_a_path_in_a_file_of_properties_is_beside_it_and_one_of_a_variable_where_the_process_is(
    tmp_path: Path,
) -> None:
    config = tmp_path / "client.properties"
    config.write_text("security.protocol=SSL\nssl.ca.location=ca.pem\nssl.key.location=/own.key\n")
    environment = {"TRIBRAIN_KAFKA_CONFIG": str(config)}
    environment["TRIBRAIN_KAFKA_SSL_CERTIFICATE_LOCATION"] = "own.pem"
    security = read_sources(environment).security
    assert security.ca_location == str(tmp_path / "ca.pem")
    assert (security.certificate_location, security.key_location) == ("own.pem", "/own.key")


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_may_be_in_a_file_of_its_own(tmp_path: Path, ending: str) -> None:
    (tmp_path / "password").write_bytes(f" {_PLANTED} {ending}".encode())
    environment = _LOGIN | {"TRIBRAIN_KAFKA_SASL_PASSWORD": ""}
    environment["TRIBRAIN_KAFKA_SASL_PASSWORD_FILE"] = str(tmp_path / "password")
    assert read_sources(environment).security.password == f" {_PLANTED} "


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "is empty"), (b"one\ntwo\n", "has several lines"), (b"\xff", "is not UTF-8 text")],
)
def test_a_file_that_holds_no_secret_is_bad_input(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "password").write_bytes(content)
    with pytest.raises(BadInput, match=f"TRIBRAIN_KAFKA_SASL_PASSWORD_FILE: .*password {found}"):
        read_sources({"TRIBRAIN_KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password")})


def test_a_secret_and_its_file_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"SASL_PASSWORD and .*SASL_PASSWORD_FILE are both set; set one"):
        read_sources(_LOGIN | {"TRIBRAIN_KAFKA_SASL_PASSWORD_FILE": str(tmp_path)})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sasl.user=a", r":1: sasl.user is not a setting that TriBrain knows; did you mean sasl.username\?"),
        ("sasl.username=a\nsasl.username=b", ":2: sasl.username is given twice; give it once"),
        ("sasl.username=", ":1: sasl.username has no value"),
        (_PLANTED, ":1 has no name and '='; expected a line such as"),
        (f"={_PLANTED}", ":1 has no name and '='; expected a line such as"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_and_not_quoted(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "config").write_text(line)
    with pytest.raises(BadInput, match=said) as raised:
        read_sources({"TRIBRAIN_KAFKA_CONFIG": str(tmp_path / "config")})
    assert _PLANTED not in str(raised.value)


def test_a_file_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothing cannot be read: No such file"):
        read_sources({"TRIBRAIN_KAFKA_CONFIG": str(tmp_path / "nothing")})


def test_an_unknown_variable_is_bad_input_that_names_the_near_one() -> None:
    with pytest.raises(BadInput, match=r"TRIBRAIN_KAFKA_SASL_PASWORD .*did you mean .*_SASL_PASSWORD\?"):
        read_sources({"TRIBRAIN_KAFKA_SASL_PASWORD": _PLANTED})
    with pytest.raises(BadInput, match="set TRIBRAIN_BOOTSTRAP_SERVERS"):
        read_sources({"TRIBRAIN_KAFKA_BOOTSTRAP_SERVERS": "a:1"})


def test_what_kubernetes_says_of_a_service_of_that_name_is_no_setting() -> None:
    said = {
        "TRIBRAIN_KAFKA_SERVICE_HOST": "10.0.0.1",
        "TRIBRAIN_KAFKA_SERVICE_PORT_SASL": "9093",
        "TRIBRAIN_KAFKA_PORT": "tcp://10.0.0.1:9093",
        "TRIBRAIN_KAFKA_PORT_9093_TCP_ADDR": "10.0.0.1",
    }
    assert read_sources(said).security == NOT_SECURED


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"protocol": "TLS"}, "security.protocol is 'TLS'; expected one of PLAINTEXT, SSL"),
        ({"username": "a"}, "sasl.username is given, but security.protocol is PLAINTEXT.*SASL_SSL"),
        ({"ca_location": "a"}, "ssl.ca.location is given, but .*not encrypted; set security.protocol=SSL"),
        ({"protocol": "SSL", "mechanism": "PLAIN"}, "sasl.mechanism is given, but .*has no SASL"),
        ({"protocol": "SASL_SSL"}, "no sasl.mechanism is given; give one of PLAIN"),
        ({"protocol": "SASL_SSL", "mechanism": "GSSAPI"}, "sasl.mechanism is 'GSSAPI'; expected one of"),
        ({"protocol": "SASL_SSL", "mechanism": "PLAIN", "username": "a"}, "needs sasl.password"),
        ({"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER"}, "needs sasl.oauthbearer.token.command"),
        (
            {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER", "token_command": "a", "username": "b"},
            "sasl.username is given, but sasl.mechanism OAUTHBEARER does not use it",
        ),
        (
            {"protocol": "SASL_PLAINTEXT", "mechanism": "OAUTHBEARER", "token_command": "a"},
            "a bearer token over SASL_PLAINTEXT can be read .*set security.protocol=SASL_SSL",
        ),
        ({"protocol": "SSL", "key_location": "a"}, "ssl.key.location is given without a certificate"),
        ({"protocol": "SSL", "key_password": "a"}, "ssl.key.password is given without a certificate"),
        ({"protocol": "SSL", "endpoint_identification": "no"}, "is 'no'; expected one of https, none"),
    ],
)
def test_settings_that_contradict_each_other_are_one_clear_error(given: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Security(**given)  # type: ignore[arg-type]


def test_no_repr_and_no_traceback_with_variables_shows_a_secret() -> None:
    settings = Settings.from_environment("a:1", _LOGIN | {"TRIBRAIN_KAFKA_SSL_KEY_PASSWORD": ""})
    configs = (consumer_config(replace(settings, security=_without_tls())), settings)
    try:
        raise RuntimeError(settings.bootstrap_servers)
    except RuntimeError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "settings = Settings(" in shown
    assert "(secret)" in shown
    assert _PLANTED not in shown + repr(configs)


@pytest.mark.parametrize("setting", ["PASSWORD", "KEY_PASSWORD_FILE", "NO_SUCH_SETTING"])
def test_no_error_about_what_is_given_shows_a_secret_with_its_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    config = tmp_path / "config"
    config.write_text(f"security.protocol=SASL_SSL\nsasl.password={_PLANTED}\nsasl.password={_PLANTED}\n")
    for name, value in (_LOGIN | {"TRIBRAIN_KAFKA_CONFIG": str(config)}).items():
        monkeypatch.setenv(name, value)
    if setting != "PASSWORD":
        monkeypatch.delenv("TRIBRAIN_KAFKA_CONFIG")
        monkeypatch.setenv(f"TRIBRAIN_KAFKA_SASL_{setting}", _PLANTED)
    with pytest.raises(BadInput) as raised:
        Settings.from_environment("a:1")
    shown = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    # The frame of this test has the environment's values itself.
    assert all(_PLANTED not in str(frame.locals) for frame in list(shown.stack)[1:])
    assert len(shown.stack) > 2


def test_every_client_gets_the_same_context(tmp_path: Path) -> None:
    make_certificates(tmp_path, ["localhost"], ["trainer"])
    security = Security(
        protocol="SASL_SSL",
        mechanism="SCRAM-SHA-256",
        username="a",
        password=Secret("b"),
        ca_location=str(tmp_path / "ca.pem"),
    )
    settings = Settings(bootstrap_servers="a:1", security=security)
    context = ssl_context(security)
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert consumer_config(settings)["ssl_context"] is context
    assert aiokafka_config(settings)["ssl_context"] is context
    assert faust_config(settings)["broker_credentials"].ssl_context is context


def test_any_name_is_taken_only_where_it_is_asked_for() -> None:
    context = ssl_context(Security(protocol="SSL", endpoint_identification="none"))
    assert context is not None
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ca_location": "no.pem"}, "ssl.ca.location: .*no.pem cannot be read: No such file"),
        ({"ca_location": "empty"}, "empty contains no certificate; expected PEM certificates"),
        ({"certificate_location": "no.pem"}, "ssl.certificate.location: .*no.pem cannot be read"),
        ({"key_location": "no.key"}, "ssl.key.location: .*no.key cannot be read"),
        ({"key_location": "empty"}, "are not a certificate and a key"),
        ({"key_location": "other.key"}, "other.key does not match the certificate in"),
        ({"key_location": "locked.key"}, "locked.key is encrypted; give its password as ssl.key.password"),
        (
            {"key_location": "locked.key", "key_password": "wrong"},
            "locked.key cannot be decrypted with ssl.key.password",
        ),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    make_certificates(tmp_path, ["localhost"], ["own", "other"])
    (tmp_path / "empty").touch()
    (tmp_path / "locked.key").write_bytes(Authority().identity("own", password=_PLANTED)[1])
    files = {"ca_location": "ca.pem", "certificate_location": "own.pem", "key_location": "own.key"} | changes
    password = Secret(files.pop("key_password", ""))
    given = {name: str(tmp_path / file) for name, file in files.items()}
    with pytest.raises(BadInput, match=said):
        ssl_context(Security(protocol="SSL", key_password=password, **given))  # type: ignore[arg-type]


def test_keys_are_for_their_owner_alone_and_a_second_making_may_be_left_out(tmp_path: Path) -> None:
    from streams.local_broker.certificates import _main

    _main(["--out", str(tmp_path), "--host", "kafka", "--client", "trainer"])
    assert {file.name for file in tmp_path.iterdir()} == {
        "ca.pem",
        "broker.pem",
        "trainer.pem",
        "trainer.key",
    }
    assert {(tmp_path / name).stat().st_mode & 0o077 for name in ("broker.pem", "trainer.key")} == {0}
    before = (tmp_path / "ca.pem").read_bytes()
    _main(["--out", str(tmp_path), "--host", "kafka", "--if-missing"])
    assert (tmp_path / "ca.pem").read_bytes() == before


def _without_tls() -> Security:
    return Security(protocol="SASL_PLAINTEXT", mechanism="PLAIN", username="a", password=Secret(_PLANTED))
