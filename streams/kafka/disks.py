"""How full the brokers' disks are: the log is the state, so it is never deleted and only grows."""

from __future__ import annotations

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from streams.kafka.settings import Settings, admin_config, no_broker_answers
from streams.kafka.topics import is_in_memory
from streams.metrics.disks import Disk

_FIRST_WITH_BYTES = (3, 3)
"""First broker version that reports disk sizes (KIP-827)."""


def fullest_disk(settings: Settings, timeout_s: float = 10.0) -> Disk | None:
    """The disk with the least free for its size, among all brokers; None if they do not report disks.

    Raises BadInput if no broker answers within ``timeout_s`` seconds.
    """
    try:
        with KafkaAdminClient(**admin_config(settings, timeout_s)) as admin:
            if is_in_memory(admin):
                return None
        config = admin_config(settings, timeout_s) | {"api_version": _FIRST_WITH_BYTES}
        with KafkaAdminClient(**config) as admin:
            brokers = admin.describe_log_dirs()
    except KafkaError:
        raise no_broker_answers(settings) from None
    disks = [
        Disk(folder["usable_bytes"], folder["total_bytes"])
        for broker in brokers
        for folder in broker["log_dirs"]
        if folder.get("total_bytes", -1) > 0
    ]
    return min(disks, key=lambda disk: disk.free / disk.least_free, default=None)
