"""The transaction coordinator's view of a producer."""

from __future__ import annotations

from time import monotonic, sleep

from kafka import KafkaAdminClient
from kafka.admin import TransactionState
from kafka.errors import IncompatibleBrokerVersion, KafkaError

from streams.kafka.failures import failure
from streams.kafka.settings import Settings, admin_config

_FIRST_THAT_DESCRIBES = (3, 0)
_BEING_ENDED = {TransactionState.PREPARE_ABORT, TransactionState.PREPARE_EPOCH_FENCE}
_LOOK_EVERY_S = 0.1

Producer = tuple[int, int]
"""Kafka's producer id, and the epoch, which increases with each opening and each timeout."""


def producer_that_timed_out(
    settings: Settings, transactional_id: str, timeout_s: float = 10.0
) -> Producer | None:
    """The producer whose transaction timed out, if none has been opened since.

    A timeout, like any fencing, advances Kafka's epoch by one, and an opening by one more. None if the
    transaction ended otherwise, or the broker does not report it (before Kafka 3.0). Raises NoBroker.
    """
    config = admin_config(settings, timeout_s) | {"api_version": _FIRST_THAT_DESCRIBES}
    deadline_s = monotonic() + timeout_s
    try:
        with KafkaAdminClient(**config) as admin:
            found = admin.describe_transactions([transactional_id]).get(transactional_id)
            while found is not None and found.state in _BEING_ENDED and monotonic() < deadline_s:
                sleep(_LOOK_EVERY_S)
                found = admin.describe_transactions([transactional_id]).get(transactional_id)
    except IncompatibleBrokerVersion:
        return None
    except KafkaError as error:
        raise failure(settings, error) from None
    if found is None or found.state is not TransactionState.COMPLETE_ABORT:
        return None
    return found.producer_id, found.producer_epoch - 1
