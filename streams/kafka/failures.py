"""What an error of a client of Kafka means to those who can do something about it."""

from __future__ import annotations

from streams.errors import BadInput
from streams.kafka.probe import check_access, refusal
from streams.kafka.security import NOT_SECURED
from streams.kafka.settings import Settings, no_broker_answers

_REFUSALS = "AuthorizationFailed"
"""Both clients call their classes so, and have no other word in common."""


def failure(settings: Settings, error: BaseException) -> BadInput:
    """The error to raise in its place: for what is not allowed, for who is not let in, else NoBroker."""
    if is_refusal(error):
        return refusal(settings, f"do what it needs ({error})")
    if settings.security != NOT_SECURED:
        # The clients go on trying, whatever the reason is, until their time is over.
        try:
            check_access(settings)
        except BadInput as found:
            return found
    return no_broker_answers(settings)


def is_refusal(error: BaseException) -> bool:
    """Whether Kafka does not allow what was asked of it."""
    return _REFUSALS in type(error).__name__
