"""TLS and SASL settings of Kafka clients, with librdkafka's names.

``Security`` is validated when it is created. Only this module translates it for kafka-python, aiokafka and
Faust, so all of them behave the same and share one ``SSLContext``.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from streams.errors import BadInput

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
BY_PASSWORD = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
BY_TOKEN = "OAUTHBEARER"
MECHANISMS = (*BY_PASSWORD, BY_TOKEN)
IDENTIFICATIONS = ("https", "none")
_REQUEST_LOGGERS = ("kafka.net.connection", "kafka.protocol.parser", "kafka.net.sasl.oauth", "aiokafka.conn")


class Secret(str):
    """A string whose ``repr`` hides it, also inside other objects and in tracebacks with variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'(secret)'"


_NONE = Secret()


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """How connections are encrypted and authenticated. Raises BadInput if settings contradict each other.

    An empty string means that the setting is not given.
    """

    protocol: str = "PLAINTEXT"
    """``security.protocol``: one of ``PROTOCOLS``."""
    mechanism: str = ""
    """``sasl.mechanism``: one of ``MECHANISMS``."""
    username: str = ""
    password: Secret = _NONE
    token_command: str = ""
    """A command that prints a bearer token; run without a shell, once per connection."""
    ca_location: str = ""
    """A PEM file, or a folder of hashed PEM files; by default the authorities that the system trusts."""
    certificate_location: str = ""
    key_location: str = ""
    """A PEM file; by default the key is in the certificate's file."""
    key_password: Secret = _NONE
    endpoint_identification: str = ""
    """``https`` (the default): the certificate must match the host name; ``none``: any name will do."""

    def __post_init__(self) -> None:
        for name, choices in (
            ("protocol", PROTOCOLS),
            ("mechanism", MECHANISMS),
            ("endpoint_identification", IDENTIFICATIONS),
        ):
            given = getattr(self, name)
            if given and given not in choices:
                raise BadInput(f"{NAMES[name]} is {given!r}; expected one of {', '.join(choices)}")
        self._check_tls()
        self._check_sasl()

    @property
    def is_encrypted(self) -> bool:
        return self.protocol.endswith("SSL")

    @property
    def is_authenticated(self) -> bool:
        """Whether the client authenticates by SASL."""
        return self.protocol.startswith("SASL")

    @property
    def principal(self) -> str:
        """The client's identity in words, for messages."""
        if self.username:
            return f"user {self.username!r}"
        if self.is_authenticated:
            return "the bearer of this token"
        return "the owner of this certificate" if self.certificate_location else "an anonymous client"

    def _check_tls(self) -> None:
        if not self.is_encrypted:
            better = "SASL_SSL" if self.is_authenticated else "SSL"
            self._refuse(_TLS, f"security.protocol is {self.protocol}, which is not encrypted", better)
        if self.key_location and not self.certificate_location:
            raise BadInput("ssl.key.location is given without a certificate; give ssl.certificate.location")
        if self.key_password and not self.certificate_location:
            raise BadInput("ssl.key.password is given without a certificate; give ssl.certificate.location")

    def _check_sasl(self) -> None:
        if not self.is_authenticated:
            self._refuse(_SASL, f"security.protocol is {self.protocol}, which has no SASL", "SASL_SSL")
            return
        if not self.mechanism:
            raise BadInput(
                f"security.protocol is {self.protocol} and no sasl.mechanism is given; "
                f"give one of {', '.join(MECHANISMS)}"
            )
        needed, unused = ["username", "password"], ["token_command"]
        if self.mechanism == BY_TOKEN:
            needed, unused = unused, needed
        for name in needed:
            if not getattr(self, name):
                raise BadInput(f"sasl.mechanism is {self.mechanism}, which needs {NAMES[name]}; give it, too")
        for name in unused:
            if getattr(self, name):
                raise BadInput(
                    f"{NAMES[name]} is given, but sasl.mechanism {self.mechanism} does not use it; "
                    "leave it out or choose another mechanism"
                )
        if self.mechanism.startswith("SCRAM") and set(self.username) & set(",="):
            # kafka-python does not escape them as RFC 5802 requires.
            raise BadInput(
                f"sasl.username is {self.username!r}; for {self.mechanism} use a name without ',' and '='"
            )
        if self.mechanism == BY_TOKEN and not self.is_encrypted:
            raise BadInput(
                "a bearer token over SASL_PLAINTEXT can be read and used by anyone on the way; "
                "set security.protocol=SASL_SSL"
            )

    def _refuse(self, names: Iterable[str], why: str, better: str) -> None:
        for name in names:
            if getattr(self, name):
                raise BadInput(
                    f"{NAMES[name]} is given, but {why}; set security.protocol={better} or leave it out"
                )


NAMES: Mapping[str, str] = {
    "protocol": "security.protocol",
    "mechanism": "sasl.mechanism",
    "username": "sasl.username",
    "password": "sasl.password",
    "token_command": "sasl.oauthbearer.token.command",
    "ca_location": "ssl.ca.location",
    "certificate_location": "ssl.certificate.location",
    "key_location": "ssl.key.location",
    "key_password": "ssl.key.password",
    "endpoint_identification": "ssl.endpoint.identification.algorithm",
}
"""Field to librdkafka's name; the name for the token command is our own."""
SECRETS = tuple(each.name for each in fields(Security) if isinstance(each.default, Secret))
_TLS = ("ca_location", "certificate_location", "key_location", "key_password", "endpoint_identification")
_SASL = ("mechanism", "username", "password", "token_command")

NOT_SECURED = Security()


@lru_cache(maxsize=8)
def ssl_context(security: Security) -> ssl.SSLContext | None:
    """The one context of all clients with this security; None if nothing is encrypted.

    Raises BadInput if a file cannot be used. Files are read once; changes need a restart.
    """
    if not security.is_encrypted:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = security.endpoint_identification != "none"
    if security.ca_location:
        _trust(context, Path(security.ca_location))
    else:
        context.load_default_certs()
    if security.certificate_location:
        _identify(context, security)
    return context


def kafka_python_security(security: Security) -> dict[str, Any]:
    """The settings as arguments for kafka-python's clients; empty for a plain connection."""
    if security.protocol == "PLAINTEXT":
        return {}
    given = _common(security)
    if security.is_encrypted:
        from streams.kafka.handshake import bound_handshakes

        bound_handshakes()
    if security.mechanism == BY_TOKEN:
        from streams.kafka.tokens import kafka_python_tokens

        given["sasl_oauth_token_provider"] = kafka_python_tokens(security.token_command)
    return given


def aiokafka_security(security: Security) -> dict[str, Any]:
    """The settings as arguments for aiokafka's clients; empty for a plain connection."""
    if security.protocol == "PLAINTEXT":
        return {}
    given = _common(security)
    if security.mechanism == BY_TOKEN:
        from streams.kafka.tokens import aiokafka_tokens

        given["sasl_oauth_token_provider"] = aiokafka_tokens(security.token_command)
    return given


def faust_security(security: Security) -> dict[str, Any]:
    """The settings as arguments for a Faust app, which passes them to aiokafka; empty if unsecured."""
    if security.protocol == "PLAINTEXT":
        return {}
    import faust

    _keep_logins_out_of_logs()
    context = ssl_context(security)
    credentials: Any
    if security.mechanism == BY_TOKEN:
        from streams.kafka.tokens import aiokafka_tokens

        tokens = aiokafka_tokens(security.token_command)
        credentials = faust.auth.OAuthCredentials(oauth_cb=tokens, ssl_context=context)
    elif security.is_authenticated:
        credentials = faust.SASLCredentials(
            username=security.username,
            password=security.password,
            ssl_context=context,
            mechanism=security.mechanism,
        )
    else:
        credentials = faust.SSLCredentials(context)
    return {"broker_credentials": credentials}


def _common(security: Security) -> dict[str, Any]:
    given: dict[str, Any] = {"security_protocol": security.protocol}
    if security.is_encrypted:
        given["ssl_context"] = ssl_context(security)
    if security.is_authenticated:
        _keep_logins_out_of_logs()
        given["sasl_mechanism"] = security.mechanism
    if security.mechanism in BY_PASSWORD:
        given |= {"sasl_plain_username": security.username, "sasl_plain_password": security.password}
    return given


def _keep_logins_out_of_logs() -> None:
    """Drop the clients' DEBUG logs for the rest of the process: they have the bytes of every request."""
    for name in _REQUEST_LOGGERS:
        logging.getLogger(name).addFilter(_is_above_debug)


def _is_above_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def _trust(context: ssl.SSLContext, location: Path) -> None:
    try:
        if location.is_dir():
            context.load_verify_locations(capath=location)
        else:
            context.load_verify_locations(cafile=location)
    except ssl.SSLError:
        raise BadInput(
            f"ssl.ca.location: {location} contains no certificate; expected PEM certificates of authorities"
        ) from None
    except OSError as error:
        raise BadInput(f"ssl.ca.location: {location} cannot be read: {error.strerror}") from None


def _identify(context: ssl.SSLContext, security: Security) -> None:
    certificate, key = security.certificate_location, security.key_location or None
    for name, location in (("ssl.certificate.location", certificate), ("ssl.key.location", key)):
        if location is None:
            continue
        try:
            Path(location).open("rb").close()
        except OSError as error:
            raise BadInput(f"{name}: {location} cannot be read: {error.strerror}") from None
    is_asked = False

    def password() -> str:
        """The key's password; given even if empty, or OpenSSL would ask for it on the terminal."""
        nonlocal is_asked
        is_asked = True
        return str(security.key_password)

    try:
        context.load_cert_chain(certificate, key, password=password)
    except ssl.SSLError as error:
        of = f"the key in {key or certificate}"
        if error.reason == "KEY_VALUES_MISMATCH":
            why = f"{of} does not match the certificate in {certificate}; give two that belong together"
        elif is_asked:
            found = "cannot be decrypted with ssl.key.password" if security.key_password else "is encrypted"
            why = f"{of} {found}; give its password as ssl.key.password"
        else:
            why = f"{certificate} and {of} are not a certificate and a key; expected both as PEM"
        raise BadInput(why) from None
