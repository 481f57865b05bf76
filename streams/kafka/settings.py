"""Kafka's address, the topics' names, and the configuration of each client.

The clients' settings were measured; each line that differs from kafka-python's default has its reason beside
it. The level of kafka-python's logger, ``kafka``, is up to the program, as in the command line: below INFO it
logs keys and values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streams.errors import BadInput, NoBroker
from streams.kafka.security import (
    NOT_SECURED,
    Security,
    aiokafka_security,
    faust_security,
    kafka_python_security,
)
from streams.kafka.security_sources import read_sources
from streams.messages.limits import MAX_RECORD_BYTES, topic_bytes

BOOTSTRAP_SERVERS_VARIABLE = "TRIBRAIN_BOOTSTRAP_SERVERS"
TOPIC_PREFIX_VARIABLE = "TRIBRAIN_TOPIC_PREFIX"

_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
_TOPIC_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that a client of the topics needs to know. Raises BadInput if a value cannot be used."""

    bootstrap_servers: str
    """``host:port``, or several separated by commas."""
    topic_prefix: str = "tribrain"
    trace_partitions: int = 4
    """Runs are spread over these partitions, so at most this many pair formers can share the work."""
    replication_factor: int = 1
    security: Security = NOT_SECURED

    def __post_init__(self) -> None:
        for server in self.bootstrap_servers.split(","):
            match = _HOST_AND_PORT.fullmatch(server)
            if match is None or not 0 < int(match["port"]) < 65536:
                raise BadInput(f"{server!r} is not a broker's address; give host:port, e.g. localhost:9092")
        if not _TOPIC_PREFIX.fullmatch(self.topic_prefix):
            raise BadInput(
                f"{self.topic_prefix!r} cannot be a topic prefix; use letters, digits, '.', '_' and '-'"
            )

    @classmethod
    def from_environment(
        cls,
        bootstrap_servers: str | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        given_by: str = "--bootstrap-servers host:port",
    ) -> Settings:
        """Settings for the given broker, else ``TRIBRAIN_BOOTSTRAP_SERVERS``, else ``TRIBRAIN_KAFKA_CONFIG``.

        The prefix comes from ``TRIBRAIN_TOPIC_PREFIX``, and security from ``read_sources``. Raises BadInput
        if no broker is named or a value cannot be used; ``given_by`` is how the caller's user names one.
        """
        sources = read_sources(environment)
        servers = (
            bootstrap_servers
            or _variable(BOOTSTRAP_SERVERS_VARIABLE, environment)
            or sources.bootstrap_servers
        )
        if not servers:
            raise BadInput(
                f"no Kafka broker is named; give {given_by} or set "
                f"{BOOTSTRAP_SERVERS_VARIABLE} (`tribrain serve broker` starts one)"
            )
        return cls(
            bootstrap_servers=",".join(server.strip() for server in servers.split(",")),
            topic_prefix=_variable(TOPIC_PREFIX_VARIABLE, environment) or "tribrain",
            security=sources.security,
        )

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each server; a host is without the brackets of IPv6."""
        parts = (server.rpartition(":") for server in self.bootstrap_servers.split(","))
        return [(host.strip("[]"), int(port)) for host, _, port in parts]

    @property
    def trace_topic(self) -> str:
        return f"{self.topic_prefix}.trace"

    @property
    def pairs_topic(self) -> str:
        return f"{self.topic_prefix}.pairs"

    @property
    def snapshots_topic(self) -> str:
        return f"{self.topic_prefix}.snapshots"

    @property
    def closed_runs_topic(self) -> str:
        return f"{self.topic_prefix}.closed-runs"

    @property
    def votes_topic(self) -> str:
        return f"{self.topic_prefix}.votes"

    @property
    def finetune_topic(self) -> str:
        return f"{self.topic_prefix}.finetune"

    @property
    def dead_letters_topic(self) -> str:
        return f"{self.topic_prefix}.dead-letters"

    @property
    def restores_topic(self) -> str:
        """The topic that maps new topic ids to old ones; it exists only where a backup was restored."""
        return f"{self.topic_prefix}.restores"


def _variable(name: str, environment: Mapping[str, str] | None) -> str:
    return (os.environ if environment is None else environment).get(name, "")


def trainer_group(settings: Settings, model: str) -> str:
    """The consumer group in which the trainers of a model share the partitions."""
    return f"{settings.topic_prefix}-trainer-{model}"


def producer_config(settings: Settings) -> dict[str, Any]:
    """Arguments of ``kafka.KafkaProducer``."""
    return {
        **_client_config(settings),
        "acks": "all",
        "enable_idempotence": True,
        # In batches of 128 KiB zstd costs half of what gzip costs in batches of 16 KiB, and stores less.
        "compression_type": "zstd",
        "batch_size": 128 << 10,
        # The sender waits for its batch, so a longer linger gains nothing. But without any, the first message
        # would be sent alone, and each partition in its own request.
        "linger_ms": 2,
        "max_request_size": topic_bytes(MAX_RECORD_BYTES),
        "delivery_timeout_ms": 30_000,
        "max_block_ms": 2_000,
        "metadata_max_age_ms": 60_000,
        "allow_auto_create_topics": False,
    }


def consumer_config(settings: Settings) -> dict[str, Any]:
    """Arguments of ``kafka.KafkaConsumer`` for a reader without a group that commits nothing."""
    return {
        **_client_config(settings),
        "group_id": None,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        # Messages of a fenced learner must stay invisible.
        "isolation_level": "read_committed",
        # kafka-python 3.0.12 forgets topics subscribed while it first connects, until this time is over.
        "metadata_max_age_ms": 2_000,
        "max_partition_fetch_bytes": 4 << 20,
        "allow_auto_create_topics": False,
        # No deserialisers: if one raises, poll() returns to the same offset again and again.
    }


def admin_config(settings: Settings, timeout_s: float = 5.0) -> dict[str, Any]:
    """Arguments of ``kafka.KafkaAdminClient``; its constructor waits up to ``timeout_s`` for a broker."""
    return {**_client_config(settings), "bootstrap_timeout_ms": int(timeout_s * 1000)}


def aiokafka_config(settings: Settings) -> dict[str, Any]:
    """Connection arguments of every aiokafka client."""
    return {"bootstrap_servers": settings.bootstrap_servers, **aiokafka_security(settings.security)}


def faust_config(settings: Settings) -> dict[str, Any]:
    """Connection arguments of a Faust app."""
    servers = settings.bootstrap_servers.split(",")
    return {"broker": [f"kafka://{server}" for server in servers], **faust_security(settings.security)}


def no_broker_answers(settings: Settings) -> NoBroker:
    """The error for an unreachable broker."""
    return NoBroker(
        f"no Kafka broker answers at {settings.bootstrap_servers}; "
        "start one with `tribrain serve broker` or give --bootstrap-servers"
    )


def _client_config(settings: Settings) -> dict[str, Any]:
    return {
        "bootstrap_servers": settings.bootstrap_servers.split(","),
        **kafka_python_security(settings.security),
        # Kafka 4 and librdkafka's test broker both support 2.3. Without this, kafka-python would wait for an
        # answer in each constructor, and would not work with the test broker.
        "api_version": (2, 3),
        "request_timeout_ms": 10_000,
        # The default, 30 s, delays clients long after the broker is back.
        "reconnect_backoff_max_ms": 1_000,
    }
