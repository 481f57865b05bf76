"""One blocking connection to a broker, for a few requests; it distinguishes all reasons for a failure.

The clients retry whatever the reason is, and report little about it. Here each step is tried once: the
address, TLS, the broker's identity, the client's identity. kafka-python encodes Kafka's protocol and
authentication.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from typing import Any, Self

from kafka import errors
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.broker_version_data import BrokerVersionData
from kafka.protocol.metadata import ApiVersionsRequest
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from streams.errors import BadInput, NoBroker
from streams.kafka.security import BY_TOKEN, NOT_SECURED, Security, kafka_python_security, ssl_context
from streams.kafka.tokens import token_of

_CHUNK = 1 << 16
_SECOND_LOOK_S = 2.0
_HOSTNAME_MISMATCH = (62, 64)
_HAS_EXPIRED, _NOT_YET_VALID = 10, 9
_CLIENT_IS_ASKED = ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE")
_CLIENT_IS_REFUSED = (
    "TLSV1_ALERT_UNKNOWN_CA",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "TLSV1_ALERT_ACCESS_DENIED",
)


class _Lost(Exception):
    """The connection ended without an answer."""


class Connection:
    """A connected and authenticated connection.

    Raises NoBroker if nothing answers at ``host:port``, and BadInput if something answers but does not let
    this client in: what was found, what is needed, what to do.
    """

    def __init__(
        self, security: Security, host: str, port: int, deadline_s: float, *, looks_again: bool = True
    ) -> None:
        """``deadline_s`` is on the monotonic clock.

        With ``looks_again``, a failure is looked into by connections of other kinds, of 2 s each.
        """
        self.address = (host, port)
        self._looks_again = looks_again
        self._where = f"{host}:{port}"
        self._security = security
        self._deadline_s = deadline_s
        self._protocol = KafkaProtocol(client_id="tribrain")
        self._versions: BrokerVersionData | None = None
        self._socket = self._connect()
        try:
            self._encrypt()
            self._greet()
            if security.is_authenticated:
                self._authenticate()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def knows(self, request: Any) -> bool:
        """Whether the broker and this program share a version of the request."""
        assert self._versions is not None
        try:
            self._versions.api_version(request)
        except errors.IncompatibleBrokerVersion:
            return False
        return True

    def ask(self, request: Any) -> Any:
        """The answer to a request. Raises BadInput and NoBroker as the constructor does."""
        try:
            return self._ask(request)
        except _Lost:
            raise self._why_nothing_is_answered() from None

    def _connect(self) -> socket.socket:
        try:
            return socket.create_connection(self.address, timeout=self._left_s())
        except OSError as error:
            reason = error.strerror or str(error)
            raise NoBroker(f"no Kafka broker answers at {self._where} ({reason})") from None

    def _encrypt(self) -> None:
        context = ssl_context(self._security)
        if context is None:
            return
        try:
            self._socket = context.wrap_socket(self._socket, server_hostname=self.address[0].strip("[]"))
        except ssl.SSLCertVerificationError as error:
            raise BadInput(self._why_no_trust(error)) from None
        except OSError as error:
            raise self._why_no_tls(error) from None

    def _greet(self) -> None:
        try:
            answer = self._ask(ApiVersionsRequest(version=0))
        except _Lost:
            raise self._why_nothing_is_answered() from None
        self._versions = BrokerVersionData(
            api_versions={each.api_key: (each.min_version, each.max_version) for each in answer.api_keys}
        )

    def _authenticate(self) -> None:
        security = self._security
        if security.mechanism == BY_TOKEN:
            token_of(security.token_command)  # raises if the token is bad, before the broker is asked
        handshake = self.ask(SaslHandshakeRequest(mechanism=security.mechanism, version=1))
        error = errors.for_code(handshake.error_code)
        if error is errors.IllegalSaslStateError:
            better = "SSL" if security.is_encrypted else "PLAINTEXT"
            raise BadInput(
                f"{self._where} has no SASL, but security.protocol is {security.protocol}; "
                f"set it to {better}, or give the port of a listener with SASL"
            )
        if error is not errors.NoError:
            offered = ", ".join(sorted(handshake.mechanisms)) or "none"
            raise BadInput(
                f"{self._where} does not accept sasl.mechanism {security.mechanism}; it offers {offered}"
            )
        config = kafka_python_security(security)
        mechanism = get_sasl_mechanism(security.mechanism)(host=self.address[0], **config)
        while not mechanism.is_done():
            answer = self.ask(SaslAuthenticateRequest(auth_bytes=mechanism.auth_bytes(), version=1))
            if answer.error_code != 0:
                raise BadInput(self._why_not_let_in(answer.error_message))
            try:
                mechanism.receive(answer.auth_bytes)
            except Exception:
                raise BadInput(
                    f"{self._where} does not prove that it knows the password of {security.principal}; "
                    f"check that it is the right broker and that its {security.mechanism} works"
                ) from None
        if not mechanism.is_authenticated():
            raise BadInput(self._why_not_let_in(None))

    def _ask(self, request: Any) -> Any:
        """The answer to a request. Raises _Lost, and BadInput if a TLS alert gives the reason."""
        if request.API_VERSION is None and self._versions is not None:
            request.API_VERSION = self._versions.api_version(request)
        self._protocol.send_request(request)
        try:
            self._socket.settimeout(self._left_s())
            self._socket.sendall(self._protocol.send_bytes())
            while True:
                chunk = self._socket.recv(_CHUNK)
                if not chunk:
                    raise _Lost
                for _, answer in self._protocol.receive_bytes(chunk):
                    return answer
                self._socket.settimeout(self._left_s())
        except ssl.SSLError as error:
            # TLS 1.3 checks the client's certificate after the handshake.
            if (why := self._why_client_is_refused(error)) is not None:
                raise BadInput(why) from None
            raise _Lost from None
        except (OSError, errors.KafkaError):
            raise _Lost from None

    def _left_s(self) -> float:
        """Seconds until the deadline, but never 0, which would mean no waiting at all."""
        return max(0.05, self._deadline_s - time.monotonic())

    def _why_no_trust(self, error: ssl.SSLCertVerificationError) -> str:
        of = f"the certificate of {self._where}"
        if error.verify_code in _HOSTNAME_MISMATCH:
            return (
                f"{of} is not for the name {self.address[0]!r}; give the broker by the name in its "
                "certificate, or a certificate for this one "
                "(ssl.endpoint.identification.algorithm=none trusts any name)"
            )
        if error.verify_code in (_HAS_EXPIRED, _NOT_YET_VALID):
            found = "has expired" if error.verify_code == _HAS_EXPIRED else "is not valid yet"
            return f"{of} {found}; give the broker a new one, and check this computer's clock"
        trusted = self._security.ca_location or "the authorities of this system"
        return (
            f"{of} is signed by no authority in {trusted} ({error.verify_message}); "
            "give the certificate file of its authority as ssl.ca.location"
        )

    def _why_no_tls(self, error: OSError) -> BadInput:
        if isinstance(error, ssl.SSLError) and (why := self._why_client_is_refused(error)) is not None:
            return BadInput(why)
        if self._looks_again and self._speaks_without_tls():
            better = "SASL_PLAINTEXT" if self._security.is_authenticated else "PLAINTEXT"
            return BadInput(
                f"{self._where} does not use TLS, but security.protocol is {self._security.protocol}; "
                f"give the port of a listener with TLS, or set it to {better}"
            )
        return NoBroker(f"no Kafka broker answers at {self._where} (no TLS: {error.strerror or error})")

    def _why_client_is_refused(self, error: ssl.SSLError) -> str | None:
        given = self._security.certificate_location
        if given and error.reason in _CLIENT_IS_REFUSED:
            return (
                f"{self._where} refuses the certificate in {given} ({_said(error)}); "
                "give one signed by an authority that the broker trusts as ssl.certificate.location"
            )
        if error.reason in _CLIENT_IS_ASKED or (not given and error.reason in _CLIENT_IS_REFUSED):
            return (
                f"{self._where} asks for a client certificate ({_said(error)}); "
                "give it as ssl.certificate.location, and its key as ssl.key.location"
            )
        return None

    def _why_nothing_is_answered(self) -> BadInput:
        security = self._security
        unanswered = NoBroker(f"no Kafka broker answers at {self._where} (the connection was closed)")
        if not self._looks_again:
            return unanswered
        if not security.is_encrypted and self._speaks_tls():
            better = "SASL_SSL" if security.is_authenticated else "SSL"
            return BadInput(
                f"{self._where} uses TLS, but security.protocol is {security.protocol}; set it to {better}"
            )
        if not security.is_authenticated and (offered := self._sasl_mechanisms()):
            better = "SASL_SSL" if security.is_encrypted else "SASL_PLAINTEXT"
            return BadInput(
                f"{self._where} requires SASL, but security.protocol is {security.protocol}; set it to "
                f"{better}, and sasl.mechanism to one of {offered}"
            )
        return unanswered

    def _why_not_let_in(self, said: str | None) -> str:
        security = self._security
        check = (
            "have its command print a token that the broker accepts and that has not expired"
            if security.mechanism == BY_TOKEN
            else "check sasl.username and sasl.password"
        )
        return (
            f"{self._where} does not let {security.principal} in with {security.mechanism} "
            f"({said or 'it does not say why'}); {check}"
        )

    def _speaks_tls(self) -> bool:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with (
                socket.create_connection(self.address, timeout=_SECOND_LOOK_S) as plain,
                context.wrap_socket(plain, server_hostname=self.address[0].strip("[]")),
            ):
                return True
        except ssl.SSLError as error:
            return error.reason in (*_CLIENT_IS_ASKED, *_CLIENT_IS_REFUSED)
        except OSError:
            return False

    def _speaks_without_tls(self) -> bool:
        try:
            deadline_s = time.monotonic() + _SECOND_LOOK_S
            Connection(NOT_SECURED, *self.address, deadline_s, looks_again=False).close()
        except BadInput:
            return False
        return True

    def _sasl_mechanisms(self) -> str:
        """The mechanisms that the listener offers, in words; empty if it has no SASL."""
        with suppress(BadInput):
            deadline_s = time.monotonic() + _SECOND_LOOK_S
            with Connection(self._security, *self.address, deadline_s, looks_again=False) as second:
                answer = second._ask_quietly(SaslHandshakeRequest(mechanism="?", version=1))
            if answer is not None:
                return ", ".join(sorted(answer.mechanisms))
        return ""

    def _ask_quietly(self, request: Any) -> Any:
        try:
            return self._ask(request)
        except _Lost:
            return None


def _said(error: ssl.SSLError) -> str:
    return (error.reason or "no reason").lower().replace("_", " ")
