"""Withdrawn labels: a later pair with the same ``pair_id`` withdraws an earlier one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from streams.messages.contracts import PairMessage, PreferencePair

MODE = "vote"
"""``meta["mode"]`` of a pair from a vote."""
_M = TypeVar("_M", bound=PairMessage)


def may_be_withdrawn(pair: PreferencePair) -> bool:
    """Whether the pair is from a vote, which its annotator may take back."""
    return pair.meta.get("mode") == MODE and pair.pair_id != ""


def is_withdrawal(message: PairMessage) -> bool:
    """Whether the message withdraws a pair instead of giving one."""
    return isinstance(message, PreferencePair) and message.withdrawn is True


def standing(messages: Iterable[_M]) -> list[_M]:
    """The messages without pairs that are withdrawn anywhere among them, and without the withdrawals.

    For callers that have all messages, and so never need to undo what was learnt.
    """
    messages = list(messages)
    withdrawn = {m.pair_id for m in messages if isinstance(m, PreferencePair) and is_withdrawal(m)} - {""}
    return [
        m
        for m in messages
        if not (is_withdrawal(m) or (isinstance(m, PreferencePair) and m.pair_id in withdrawn))
    ]
