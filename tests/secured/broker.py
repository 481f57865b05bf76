"""Apache Kafka that asks who you are: SASL and TLS on ports of their own, and ACLs."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient

from streams.errors import BadInput
from streams.kafka.probe import check_access
from streams.kafka.rights import Right
from streams.kafka.security import PROTOCOLS, Secret, Security
from streams.kafka.settings import Settings, admin_config
from streams.kafka.users import allow, make_user
from streams.local_broker.apache_kafka import LocalBroker
from streams.local_broker.certificates import Authority
from streams.local_broker.jars import KafkaJars
from tests.ports import free_ports
from tests.waiting import wait_until
from tribrain.shell.kafka_access import rights_of

PASSWORD = Secret("planted-7c1f0e")
_MODULE = "org.apache.kafka.common.security"


class SecuredBroker:
    """Its certificate is for ``localhost`` alone, and of an authority that only ``authority`` names.

    Users are made with ``user``, and may do what ``allow`` says. ``open`` are settings of a listener that
    asks nothing, and lets anyone do all.
    """

    def __init__(
        self,
        jars: KafkaJars,
        folder: Path,
        *,
        data_dir: Path | None = None,
        session_ms: int = 0,
        through: int | None = None,
    ) -> None:
        """``through``: the port of a proxy by which clients reach the listener SASL_SSL."""
        self.authority = folder / "ca.pem"
        self._folder = folder
        self._signs = Authority()
        *ports, self._controller_port = free_ports(len(PROTOCOLS) + 1)
        self._ports = dict(zip(PROTOCOLS, ports, strict=True))
        certificate, key = self._signs.identity("localhost", ["localhost"])
        (folder / "broker.pem").write_bytes(key + certificate + self._signs.pem)
        self.authority.write_bytes(self._signs.pem)
        self.broker = LocalBroker(
            jars,
            port=self._ports["PLAINTEXT"],
            data_dir=data_dir,
            properties=self._properties(folder, session_ms, through),
        )
        self.open = Settings(bootstrap_servers=f"127.0.0.1:{self._ports['PLAINTEXT']}")

    def _properties(self, folder: Path, session_ms: int, through: int | None) -> dict[str, str]:
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self._ports.items())
        reached = self._ports | ({"SASL_SSL": through} if through else {})
        advertised = ",".join(f"{name}://localhost:{port}" for name, port in reached.items())
        protocols = ",".join(f"{name}:{name}" for name in self._ports)
        given = {
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{self._controller_port}",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
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
            make_user(self.open, name, PASSWORD, mechanism)
        security = Security(
            protocol="SASL_SSL",
            mechanism=mechanism,
            username=name,
            password=PASSWORD,
            ca_location=str(self.authority),
        )
        wait_until(lambda: lets_in(self.settings(security)))
        return self.settings(replace(security, **changes))

    def allowed(self, command: str, prefix: str, without: Right | None = None) -> Settings:
        """Settings of a user who may do what this command needs on these topics, and nothing else."""
        name = f"{command.replace(' ', '-')}-{uuid.uuid4().hex[:8]}"
        of_prefix = replace(self.open, topic_prefix=prefix)
        rights = [right for right in rights_of(command, of_prefix) if right != without]
        if rights:
            self.allow(name, rights)
        # Last, so that whoever can log in has the rights.
        return replace(self.user(name), topic_prefix=prefix)

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

    @property
    def port(self) -> int:
        """Of the listener SASL_SSL."""
        return self._ports["SASL_SSL"]

    def change_password(self, name: str, password: str) -> None:
        make_user(self.open, name, Secret(password))

    def settings(self, security: Security, host: str = "localhost", listener: str | None = None) -> Settings:
        port = self._ports[listener or security.protocol]
        return Settings(bootstrap_servers=f"{host}:{port}", security=security)

    def allow(self, user: str, rights: Iterable[Right]) -> None:
        allow(self.open, user, rights)

    def allow_certificate(self, name: str, rights: Iterable[Right]) -> None:
        """As ``allow``, for who has a certificate of that name."""
        allow(self.open, f"CN={name}", rights)

    @contextmanager
    def admin(self) -> Iterator[Any]:
        with KafkaAdminClient(**admin_config(self.open) | {"api_version": (2, 7)}) as admin:
            yield admin


def lets_in(settings: Settings) -> bool:
    """Whether the broker has heard of the user, a moment after the controller."""
    try:
        return check_access(settings)
    except BadInput:
        return False
