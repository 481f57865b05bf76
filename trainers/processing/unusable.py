"""What becomes of a message that the core cannot use, whatever is wrong with it."""

from __future__ import annotations

import logging

from streams.errors import BadInput
from streams.messages.dead_letters import dead_letter
from streams.messages.refusals import ContractError
from streams.messages.stored import Outgoing, StoredMessage

log = logging.getLogger(__name__)

NO_FAULT_OF_A_MESSAGE = (MemoryError, OSError)
"""What no message is to blame for: the worker stops, and may be started again."""


def letter_for(message: StoredMessage, error: Exception, topic: str) -> Outgoing:
    """The dead letter of a message that raised ``error``; one line in the log, and where the error was
    expected of nobody its traceback, too.

    Who only reads has no ``topic`` for letters, and has nothing to warn of.
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
