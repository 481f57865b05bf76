"""What the clients of Kafka write to their logs below INFO: the bytes of every request, logins among them."""

from __future__ import annotations

import logging

_TELL_ALL = ("kafka.net.connection", "kafka.protocol.parser", "kafka.net.sasl.oauth", "aiokafka.conn")


def _is_harmless(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def keep_logins_out_of_logs() -> None:
    """From now on, in this process, whatever the levels are; may be called again."""
    for name in _TELL_ALL:
        logging.getLogger(name).addFilter(_is_harmless)
