"""Turns errors of Kafka clients into errors that a user can act on."""

from __future__ import annotations

from streams.errors import BadInput
from streams.kafka.probe import check_access, refusal
from streams.kafka.security import NOT_SECURED
from streams.kafka.settings import Settings, no_broker_answers

_REFUSALS = "AuthorizationFailed"
"""Part of the class names in both clients, which have no common base class."""


def failure(settings: Settings, error: BaseException) -> BadInput:
    """The error to raise instead: for a missing right, for a refused login, otherwise NoBroker."""
    if is_refusal(error):
        return refusal(settings, f"do what it needs ({error})")
    if settings.security != NOT_SECURED:
        # The clients retry until their timeout, whatever the reason is.
        try:
            check_access(settings)
        except BadInput as found:
            return found
    return no_broker_answers(settings)


def is_refusal(error: BaseException) -> bool:
    """Whether Kafka refused the request for lack of a right."""
    return _REFUSALS in type(error).__name__
