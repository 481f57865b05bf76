"""Creates Kafka users with SCRAM passwords, and grants them the rights they need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic, sleep

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)
from kafka.errors import IncompatibleBrokerVersion, KafkaError, SecurityDisabledError

from streams.errors import BadInput
from streams.kafka.failures import failure, is_refusal
from streams.kafka.rights import NUMBERS, Resource, Right
from streams.kafka.security import Secret
from streams.kafka.settings import Settings, admin_config
from streams.kafka.topics import connect_admin, is_in_memory

MECHANISM = "SCRAM-SHA-512"
_FIRST_WITH_USERS = (2, 7)
_ADMIN_S = 10.0
_LOOK_AGAIN_S = 0.05
_TYPES: Mapping[Resource, ResourceType] = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
    "cluster": ResourceType.CLUSTER,
}


def users_there(settings: Settings) -> frozenset[str]:
    """The names of all SCRAM users. Raises BadInput if the broker refuses to list them or is unreachable."""
    with _admin(settings) as admin:
        return _names(admin)


def make_user(settings: Settings, name: str, password: Secret, mechanism: str = MECHANISM) -> None:
    """Set the user's password, replacing any earlier one; returns once the broker knows the user.

    Raises BadInput as ``users_there`` does.
    """
    with _admin(settings) as admin:
        made = UserScramCredentialUpsertion(name, mechanism, str(password))
        (error,) = admin.alter_user_scram_credentials([made]).values()
        if error is not None:
            raise BadInput(f"user {name!r} cannot be created at {settings.bootstrap_servers}: {error}")
        # The controller knows the user first, and the broker a moment later.
        deadline_s = monotonic() + _ADMIN_S
        while name not in _names(admin):
            if monotonic() > deadline_s:
                raise BadInput(
                    f"the broker at {settings.bootstrap_servers} does not know user {name!r} after "
                    f"{_ADMIN_S:g} s; try again"
                )
            sleep(_LOOK_AGAIN_S)


def allow(settings: Settings, user: str, rights: Iterable[Right]) -> None:
    """Grant the user these rights, in addition to earlier ones. Raises BadInput as ``users_there`` does."""
    with _admin(settings) as admin:
        failed = admin.create_acls([_acl(user, right) for right in rights])["failed"]
        if failed:
            raise failed[0]


@contextmanager
def _admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    config = admin_config(settings, _ADMIN_S) | {"api_version": _FIRST_WITH_USERS}
    try:
        with connect_admin(settings, _ADMIN_S) as admin:
            if is_in_memory(admin):
                raise BadInput(
                    f"the broker at {settings.bootstrap_servers} is librdkafka's in-memory test broker, "
                    "which lets everyone in; users need Apache Kafka"
                )
        with KafkaAdminClient(**config) as admin:
            yield admin
    except IncompatibleBrokerVersion:
        raise BadInput(
            f"the broker at {settings.bootstrap_servers} cannot create users; that needs Apache Kafka 2.7"
        ) from None
    except SecurityDisabledError:
        raise BadInput(
            f"the broker at {settings.bootstrap_servers} lets everyone do everything; set its "
            "authorizer.class.name, or there is nothing to allow"
        ) from None
    except KafkaError as error:
        if error.retriable or is_refusal(error):
            raise failure(settings, error) from None
        raise BadInput(f"users cannot be created at {settings.bootstrap_servers}: {error}") from None


def _names(admin: KafkaAdminClient) -> frozenset[str]:
    found = admin.describe_user_scram_credentials()
    return frozenset(name for name, told in found.items() if told["error"] is None)


def _acl(user: str, right: Right) -> ACL:
    pattern = ResourcePattern(_TYPES[right.resource], right.name, ACLResourcePatternType.LITERAL)
    return ACL(
        principal=f"User:{user}",
        host="*",
        operation=ACLOperation(NUMBERS[right.operation]),
        permission_type=ACLPermissionType.ALLOW,
        resource_pattern=pattern,
    )
