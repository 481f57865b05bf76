"""The members of a consumer group."""

from __future__ import annotations

from kafka.errors import KafkaError

from streams.kafka.failures import failure
from streams.kafka.settings import Settings
from streams.kafka.topics import connect_admin, is_in_memory


def members_of(settings: Settings, group: str, timeout_s: float = 10.0) -> int | None:
    """How many processes are members of ``group`` now; None if the broker does not report groups.

    A killed process counts until the group notices. Raises BadInput if the broker does not allow the request
    or stays silent for ``timeout_s`` seconds.
    """
    with connect_admin(settings, timeout_s) as admin:
        try:
            if is_in_memory(admin):
                return None
            described = admin.describe_groups([group])[group]
        except KafkaError as error:
            raise failure(settings, error) from None
    return len(described["members"]) if described["error"] is None else 0
