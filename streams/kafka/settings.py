"""Where Kafka is, what the topics are called, and how each client is set up to talk to it.

The clients' settings were measured; each line that is not kafka-python's default has its reason beside it.
kafka-python's logger, ``kafka``, is its user's to set, as the command line does: below INFO it logs keys and
values.
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
    """Everything that a client of the topics needs to know. Raises BadInput where a value cannot be used."""

    bootstrap_servers: str
    """``host:port``, or several with commas between them."""
    topic_prefix: str = "tribrain"
    trace_partitions: int = 4
    """Runs are spread over these, so it is how many pair formers can share the work."""
    replication_factor: int = 1
    security: Security = NOT_SECURED

    def __post_init__(self) -> None:
        for server in self.bootstrap_servers.split(","):
            match = _HOST_AND_PORT.fullmatch(server)
            if match is None or not 0 < int(match["port"]) < 65536:
                raise BadInput(f"{server!r} is no Kafka broker; give it as host:port, e.g. localhost:9092")
        if not _TOPIC_PREFIX.fullmatch(self.topic_prefix):
            raise BadInput(
                f"{self.topic_prefix!r} cannot begin a topic's name; use letters, digits, '.', '_' and '-'"
            )

    @classmethod
    def from_environment(
        cls, bootstrap_servers: str | None = None, environment: Mapping[str, str] | None = None
    ) -> Settings:
        """The given broker, else ``TRIBRAIN_BOOTSTRAP_SERVERS``, else that of ``TRIBRAIN_KAFKA_CONFIG``.

        The prefix is from ``TRIBRAIN_TOPIC_PREFIX``, and security as ``read_sources`` finds it.

        Raises BadInput where no broker is named or a value cannot be used.
        """
        sources = read_sources(environment)
        servers = (
            bootstrap_servers
            or _variable(BOOTSTRAP_SERVERS_VARIABLE, environment)
            or sources.bootstrap_servers
        )
        if not servers:
            raise BadInput(
                f"no Kafka broker is named; give --bootstrap-servers host:port or set "
                f"{BOOTSTRAP_SERVERS_VARIABLE} (`tribrain serve broker` starts one)"
            )
        return cls(
            bootstrap_servers=",".join(server.strip() for server in servers.split(",")),
            topic_prefix=_variable(TOPIC_PREFIX_VARIABLE, environment) or "tribrain",
            security=sources.security,
        )

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
        """There only where a backup was restored: what stands for what."""
        return f"{self.topic_prefix}.restores"


def _variable(name: str, environment: Mapping[str, str] | None) -> str:
    return (os.environ if environment is None else environment).get(name, "")


def trainer_group(settings: Settings, model: str) -> str:
    """The group in which the trainers of a model share the partitions."""
    return f"{settings.topic_prefix}-trainer-{model}"


def producer_config(settings: Settings) -> dict[str, Any]:
    """Arguments of ``kafka.KafkaProducer``."""
    return {
        **_client_config(settings),
        "acks": "all",
        "enable_idempotence": True,
        # With batches of 128 KiB it costs half of what gzip costs in batches of 16, and stores less.
        "compression_type": "zstd",
        "batch_size": 128 << 10,
        # Whoever sends waits for what was sent, so nothing more comes; but with no linger at all the first
        # message would go by itself, and every partition in a request of its own.
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
        # What a fenced learner wrote must not be seen.
        "isolation_level": "read_committed",
        # kafka-python 3.0.12 forgets topics that it is told of while it first connects, until this is over.
        "metadata_max_age_ms": 2_000,
        "max_partition_fetch_bytes": 4 << 20,
        "allow_auto_create_topics": False,
        # No deserialisers: one that raises makes poll() return to the same offset for ever.
    }


def admin_config(settings: Settings, timeout_s: float = 5.0) -> dict[str, Any]:
    """Arguments of ``kafka.KafkaAdminClient``, whose constructor waits up to ``timeout_s`` for a broker."""
    return {**_client_config(settings), "bootstrap_timeout_ms": int(timeout_s * 1000)}


def aiokafka_config(settings: Settings) -> dict[str, Any]:
    """What every client of aiokafka is told of the broker."""
    return {"bootstrap_servers": settings.bootstrap_servers, **aiokafka_security(settings.security)}


def faust_config(settings: Settings) -> dict[str, Any]:
    """What a Faust app is told of the broker."""
    servers = settings.bootstrap_servers.split(",")
    return {"broker": [f"kafka://{server}" for server in servers], **faust_security(settings.security)}


def no_broker_answers(settings: Settings) -> NoBroker:
    """The error for a broker that is away."""
    return NoBroker(
        f"no Kafka broker answers at {settings.bootstrap_servers}; "
        "start one with `tribrain serve broker` or give --bootstrap-servers"
    )


def _client_config(settings: Settings) -> dict[str, Any]:
    return {
        "bootstrap_servers": settings.bootstrap_servers.split(","),
        **kafka_python_security(settings.security),
        # Kafka 4 and librdkafka's test broker both speak 2.3. Left to find out for itself, kafka-python
        # would wait for an answer in each constructor, and would not get along with the test broker.
        "api_version": (2, 3),
        "request_timeout_ms": 10_000,
        # The default, 30 s, is felt long after the broker is back.
        "reconnect_backoff_max_ms": 1_000,
    }
