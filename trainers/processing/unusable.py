"""Turns messages that the core cannot use into dead letters, whatever is wrong with them."""

from __future__ import annotations

import logging

from streams.errors import BadInput
from streams.messages.dead_letters import dead_letter
from streams.messages.refusals import ContractError
from streams.messages.stored import Outgoing, StoredMessage

log = logging.getLogger(__name__)

NO_FAULT_OF_A_MESSAGE = (MemoryError, OSError)
"""Errors that no message causes: the worker stops, and may be restarted."""


def letter_for(message: StoredMessage, error: Exception, topic: str) -> Outgoing:
    """The dead letter of a message that raised ``error``. Logs one line, plus the traceback of an unexpected
    error.

    A mere reader has no ``topic`` for letters, and does not warn.
    """
    level = logging.WARNING if topic else logging.DEBUG
    said = str(error)
    reason = said if message.source in said else f"{message.source}: {said or type(error).__name__}"
    if isinstance(error, BadInput):
        log.log(level, "dead letter: %s", reason)
    else:
        reason = f"{message.source}: {type(error).__name__}: {said}"
        log.log(level, "dead letter: %s", reason, exc_info=error)
    return dead_letter(message, reason, topic, kind=_kind_of(error))


def _kind_of(error: Exception) -> str:
    if isinstance(error, ContractError):
        return error.reason
    return "not usable" if isinstance(error, BadInput) else "unexpected error"
