"""Keeps credentials out of logs: below INFO the Kafka clients log the bytes of every request."""

from __future__ import annotations

import logging

_TELL_ALL = ("kafka.net.connection", "kafka.protocol.parser", "kafka.net.sasl.oauth", "aiokafka.conn")


def _is_harmless(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def keep_logins_out_of_logs() -> None:
    """Applies to this process from now on, whatever the log levels are; may be called again."""
    for name in _TELL_ALL:
        logging.getLogger(name).addFilter(_is_harmless)
