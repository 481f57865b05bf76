"""Apache Kafka that asks who you are: SASL and TLS on ports of their own, and ACLs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    UserScramCredentialUpsertion,
)

from streams.kafka.rights import Right
from streams.kafka.security import Secret, Security
from streams.kafka.settings import Settings, admin_config
from streams.local_broker.apache_kafka import LocalBroker
from streams.local_broker.certificates import Authority
from streams.local_broker.jars import KafkaJars
from tests.tribrain.test_readme import free_port

PASSWORD = Secret("planted-7c1f0e")
_MODULE = "org.apache.kafka.common.security"
_TYPES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
}


class SecuredBroker:
    """Its certificate is for ``localhost`` alone, and of an authority that only ``authority`` names.

    Users are made with ``user``, and may do what ``allow`` says. ``open`` are settings of a listener that
    asks nothing, and lets anyone do all.
    """

    def __init__(
        self, jars: KafkaJars, folder: Path, *, data_dir: Path | None = None, session_ms: int = 0
    ) -> None:
        self.authority = folder / "ca.pem"
        self._folder = folder
        self._signs = Authority()
        self._ports = {name: free_port() for name in ("PLAINTEXT", "SASL_SSL", "SSL", "SASL_PLAINTEXT")}
        certificate, key = self._signs.identity("localhost", ["localhost"])
        (folder / "broker.pem").write_bytes(key + certificate + self._signs.pem)
        self.authority.write_bytes(self._signs.pem)
        self.broker = LocalBroker(
            jars,
            port=self._ports["PLAINTEXT"],
            data_dir=data_dir,
            properties=self._properties(folder, session_ms),
        )
        self.open = Settings(bootstrap_servers=f"127.0.0.1:{self._ports['PLAINTEXT']}")

    def _properties(self, folder: Path, session_ms: int) -> dict[str, str]:
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self._ports.items())
        advertised = ",".join(f"{name}://localhost:{port}" for name, port in self._ports.items())
        protocols = ",".join(f"{name}:{name}" for name in self._ports)
        given = {
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{(controller := free_port())}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "advertised.listeners": advertised,
            "listener.security.protocol.map": f"{protocols},CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(folder / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority),
            "listener.name.ssl.ssl.client.auth": "required",
        }
        for name in ("sasl_ssl", "sasl_plaintext"):
            listener = f"listener.name.{name}"
            given |= {
                f"{listener}.sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN,OAUTHBEARER",
                f"{listener}.plain.sasl.jaas.config": f"{_MODULE}.plain.PlainLoginModule required "
                f'user_plain="{PASSWORD}";',
                f"{listener}.oauthbearer.sasl.jaas.config": f"{_MODULE}.oauthbearer.OAuthBearerLoginModule "
                'required unsecuredLoginStringClaim_sub="broker";',
            }
            for size in ("256", "512"):
                given[f"{listener}.scram-sha-{size}.sasl.jaas.config"] = (
                    f"{_MODULE}.scram.ScramLoginModule required;"
                )
                given[f"{listener}.scram-sha-{size}.connections.max.reauth.ms"] = str(session_ms)
            given[f"{listener}.oauthbearer.connections.max.reauth.ms"] = str(session_ms)
        return given

    def user(self, name: str, mechanism: str = "SCRAM-SHA-512", **changes: Any) -> Settings:
        """Settings of a user, over SASL_SSL, who may do nothing yet."""
        if mechanism.startswith("SCRAM"):
            with self.admin() as admin:
                made = UserScramCredentialUpsertion(name, mechanism, str(PASSWORD))
                answers = admin.alter_user_scram_credentials([made])
            assert set(answers.values()) == {None}
        security = Security(
            protocol="SASL_SSL",
            mechanism=mechanism,
            username=name,
            password=PASSWORD,
            ca_location=str(self.authority),
        )
        return self.settings(replace(security, **changes))

    def bearer(self, command: str) -> Settings:
        """Settings of whoever the command's token names."""
        return self.settings(
            Security(
                protocol="SASL_SSL",
                mechanism="OAUTHBEARER",
                token_command=command,
                ca_location=str(self.authority),
            )
        )

    def holder(self, name: str, password: str | None = None) -> Settings:
        """Settings of a client with a certificate."""
        certificate, key = self._signs.identity(name, password=password)
        (self._folder / f"{name}.pem").write_bytes(certificate)
        (self._folder / f"{name}.key").write_bytes(key)
        return self.settings(
            Security(
                protocol="SSL",
                ca_location=str(self.authority),
                certificate_location=str(self._folder / f"{name}.pem"),
                key_location=str(self._folder / f"{name}.key"),
                key_password=Secret(password or ""),
            )
        )

    def settings(self, security: Security, host: str = "localhost", listener: str | None = None) -> Settings:
        port = self._ports[listener or security.protocol]
        return Settings(bootstrap_servers=f"{host}:{port}", security=security)

    def allow(self, user: str, rights: Iterable[Right]) -> None:
        with self.admin() as admin:
            admin.create_acls([_acl(user, right) for right in rights])
        self._until_known(user)

    def take_away(self, user: str, rights: Iterable[Right]) -> None:
        with self.admin() as admin:
            for right in rights:
                acl = _acl(user, right)
                admin.delete_acls(
                    [
                        ACLFilter(
                            principal=acl.principal,
                            host="*",
                            operation=acl.operation,
                            permission_type=ACLPermissionType.ALLOW,
                            resource_pattern=ResourcePatternFilter(
                                acl.resource_pattern.resource_type,
                                acl.resource_pattern.resource_name,
                                ACLResourcePatternType.LITERAL,
                            ),
                        )
                    ]
                )

    @contextmanager
    def admin(self) -> Iterator[Any]:
        with KafkaAdminClient(**admin_config(self.open) | {"api_version": (2, 7)}) as admin:
            yield admin

    def _until_known(self, user: str) -> None:
        """Controller and broker are one process here, and the answer comes once the controller has it."""


def variables(settings: Settings) -> Mapping[str, str]:
    """The environment that says what ``settings`` say of security."""
    from streams.kafka.security import NAMES
    from streams.kafka.security_sources import variable_of

    given = {variable_of(name): str(getattr(settings.security, field)) for field, name in NAMES.items()}
    return {name: value for name, value in given.items() if value}


def _acl(user: str, right: Right) -> ACL:
    return ACL(
        principal=f"User:{user}",
        host="*",
        operation=ACLOperation[right.operation.upper()],
        permission_type=ACLPermissionType.ALLOW,
        resource_pattern=ResourcePattern(_TYPES[right.resource], right.name, ACLResourcePatternType.LITERAL),
    )
