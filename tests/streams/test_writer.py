"""What the writer says of each message when Kafka answers some, refuses one, or falls silent."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from kafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError

from streams.kafka import writer as writer_module
from streams.kafka.settings import Settings
from streams.kafka.writer import TopicWriter
from streams.messages.stored import Record

RECORDS = [Record("topic", b"key", str(number).encode(), "run-a") for number in range(4)]


class Answer:
    """A future that is settled already."""

    is_done = True

    def __init__(self, error: KafkaError | None) -> None:
        self._error = error

    def get(self, timeout: float) -> None:
        if self._error is not None:
            raise self._error


class Ended:
    """A thread that has ended already."""

    def join(self, timeout: float) -> None:
        pass


class Producer:
    """Takes every record but those that it has an error for."""

    errors: Mapping[bytes, KafkaError] = {}
    _sender = Ended()

    def __init__(self, **_: object) -> None:
        pass

    def send(self, topic: str, value: bytes, *_: object, **__: object) -> Answer:
        return Answer(self.errors.get(value))

    def close(self, timeout: float) -> None:
        pass


def delivered(
    errors: Mapping[bytes, KafkaError], monkeypatch: pytest.MonkeyPatch
) -> tuple[bytes, bytes, bool]:
    """Values of what was acknowledged and of what was refused, and whether Kafka was found to be away."""
    monkeypatch.setattr(Producer, "errors", errors)
    monkeypatch.setattr(writer_module, "KafkaProducer", Producer)
    acknowledged: list[Record] = []
    refused: list[Record] = []
    writer = TopicWriter(Settings(bootstrap_servers="127.0.0.1:9"), lambda: False)
    is_away = False
    try:
        writer.deliver(
            RECORDS, on_acknowledged=acknowledged.extend, on_refused=lambda record, _: refused.append(record)
        )
    except KafkaConnectionError:
        is_away = True
    return b"".join(r.value for r in acknowledged), b"".join(r.value for r in refused), is_away


def test_all_are_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    assert delivered({}, monkeypatch) == (b"0123", b"", False)


@pytest.mark.parametrize("at", range(4))
def test_nothing_counts_from_the_first_failure_on(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {str(at).encode(): KafkaConnectionError("gone")}
    assert delivered(errors, monkeypatch) == (b"0123"[:at], b"", True)


@pytest.mark.parametrize("at", range(4))
def test_a_record_that_is_at_fault_is_the_only_one_refused(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    value = str(at).encode()
    errors = {value: MessageSizeTooLargeError("large")}
    assert delivered(errors, monkeypatch) == (b"0123".replace(value, b""), value, False)
