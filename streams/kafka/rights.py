"""Rights as defined by Kafka's ACLs, and which of them a client lacks.

The broker is asked what the client may do (KIP-430) rather than tried: nothing is read, written or fenced
off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from streams.kafka.connection import Connection

Resource = Literal["topic", "group", "transactional id", "cluster"]
Operation = Literal[
    "Read", "Write", "Create", "Delete", "Alter", "Describe", "DescribeConfigs", "AlterConfigs"
]
CLUSTER = "kafka-cluster"
"""The cluster's name in Kafka's ACLs."""

_FIRST_THAT_TELLS = 8
_LAST_THAT_TELLS = 9
"""Versions of the metadata request whose answer lists the allowed operations on topics and cluster."""
NUMBERS: dict[Operation, int] = {
    "Read": 3,
    "Write": 4,
    "Create": 5,
    "Delete": 6,
    "Alter": 7,
    "Describe": 8,
    "DescribeConfigs": 10,
    "AlterConfigs": 11,
}
"""The operations' numbers in Kafka's protocol."""
_LOOK_AGAIN_S = 0.1
_NOBODY = 2**62
"""No producer has this id: Kafka counts up from 0."""


@dataclass(frozen=True, slots=True)
class Right:
    """Permission for one operation on one resource.

    ``Read``, ``Write``, ``Delete`` and ``Alter`` include ``Describe``, and ``AlterConfigs`` includes
    ``DescribeConfigs``.
    """

    operation: Operation
    resource: Resource
    name: str

    def __str__(self) -> str:
        return f"{self.operation} on {self.resource} {self.name!r}"


def named(rights: Iterable[Right]) -> str:
    """The rights in words, grouped by resource."""
    of: dict[tuple[str, str], list[str]] = {}
    for right in rights:
        of.setdefault((right.resource, right.name), []).append(right.operation)
    return ", ".join(f"{' and '.join(each)} on {resource} {name!r}" for (resource, name), each in of.items())


def missing_rights(
    connection: Connection, rights: Iterable[Right], connect: Callable[[str, int], Connection]
) -> list[Right]:
    """The rights that the broker does not grant, in their order.

    Unknown rights count as granted: on a topic that does not exist, or on a broker older than 2.3.
    ``connect`` opens a connection to another broker. Raises BadInput and NoBroker.
    """
    wanted = list(dict.fromkeys(rights))
    missing = _missing_of_topics(connection, [right for right in wanted if right.resource == "topic"])
    for right in wanted:
        if right.resource == "cluster":
            is_granted = _cluster_allows(connection, right.operation)
        else:
            is_granted = right.resource == "topic" or _is_granted(connection, right, connect)
        if not is_granted:
            missing.add(right)
    return [right for right in wanted if right in missing]


def _missing_of_topics(connection: Connection, rights: list[Right]) -> set[Right]:
    from kafka.errors import NoError, TopicAuthorizationFailedError, for_code
    from kafka.protocol.metadata import MetadataRequest

    names = list(dict.fromkeys(right.name for right in rights))
    request = MetadataRequest(
        topics=[MetadataRequest.MetadataRequestTopic(name=name) for name in names],
        allow_auto_topic_creation=False,
        include_topic_authorized_operations=True,
        min_version=_FIRST_THAT_TELLS,
        max_version=_LAST_THAT_TELLS,
    )
    if not names or not connection.knows(request):
        return set()
    of_topic = {topic.name: topic for topic in connection.ask(request).topics}
    missing = set()
    for right in rights:
        topic = of_topic[right.name]
        error = for_code(topic.error_code)
        is_refused = error is NoError and not _allows(topic.authorized_operations, right.operation)
        if is_refused or error is TopicAuthorizationFailedError:
            missing.add(right)
    return missing


def _allows(operations: Iterable[int] | None, wanted: Operation) -> bool:
    """Whether the operation is allowed; brokers that do not report rights send an empty list."""
    return not operations or NUMBERS[wanted] in operations


def _cluster_allows(connection: Connection, wanted: Operation) -> bool:
    from kafka.protocol.metadata import MetadataRequest

    request = MetadataRequest(
        topics=[],
        include_cluster_authorized_operations=True,
        min_version=_FIRST_THAT_TELLS,
        max_version=_LAST_THAT_TELLS,
    )
    if not connection.knows(request):
        return True
    # Unlike for a topic, an empty list means here that nothing is allowed.
    operations = connection.ask(request).authorized_operations
    return operations is None or NUMBERS[wanted] in operations


def _is_granted(connection: Connection, right: Right, connect: Callable[[str, int], Connection]) -> bool:
    from kafka.errors import AuthorizationError, NoError, for_code
    from kafka.protocol.metadata import CoordinatorType, FindCoordinatorRequest

    kind = CoordinatorType.GROUP if right.resource == "group" else CoordinatorType.TRANSACTION
    deadline_s = monotonic() + 2.0
    while True:
        found = connection.ask(FindCoordinatorRequest(key=right.name, key_type=kind.value, max_version=3))
        error = for_code(found.error_code)
        if issubclass(error, AuthorizationError):
            return False
        if error is NoError:
            break
        # A new cluster creates its internal topics for groups and transactions at the first request.
        if not error.retriable or monotonic() > deadline_s:
            return True
        sleep(_LOOK_AGAIN_S)
    if (found.host, found.port) == connection.address:
        return _coordinator_allows(connection, right)
    with connect(found.host, found.port) as coordinator:
        return _coordinator_allows(coordinator, right)


def _coordinator_allows(coordinator: Connection, right: Right) -> bool:
    from kafka.errors import AuthorizationError, for_code
    from kafka.protocol.admin import DescribeGroupsRequest
    from kafka.protocol.producer import EndTxnRequest

    request: Any
    if right.resource == "group":
        request = DescribeGroupsRequest(
            groups=[right.name], include_authorized_operations=True, min_version=3, max_version=5
        )
        if not coordinator.knows(request):
            return True
        (group,) = coordinator.ask(request).groups
        if issubclass(for_code(group.error_code), AuthorizationError):
            return False
        return _allows(group.authorized_operations, right.operation)
    if right.operation == "Describe":
        return True  # without the right the coordinator would not have been named
    # Request the end of a transaction of a producer that does not exist: the broker checks the right first.
    request = EndTxnRequest(
        transactional_id=right.name, producer_id=_NOBODY, producer_epoch=0, committed=False, max_version=3
    )
    return not issubclass(for_code(coordinator.ask(request).error_code), AuthorizationError)
