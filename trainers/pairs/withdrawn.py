"""Labels that were taken back: a pair says so of an earlier one with the same ``pair_id``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from streams.messages.contracts import PairMessage, PreferencePair

MODE = "vote"
"""``meta["mode"]`` of a pair that a vote gave."""
_M = TypeVar("_M", bound=PairMessage)


def may_be_withdrawn(pair: PreferencePair) -> bool:
    """Whether it is of a vote, which whoever gave it may take back."""
    return pair.meta.get("mode") == MODE and pair.pair_id != ""


def is_withdrawal(message: PairMessage) -> bool:
    """Whether the message takes back a pair rather than to give one."""
    return isinstance(message, PreferencePair) and message.withdrawn is True


def standing(messages: Iterable[_M]) -> list[_M]:
    """The messages without pairs that are taken back anywhere among them, and without what takes them back.

    For whoever has all messages at hand, and so needs to learn nothing that would have to be undone.
    """
    messages = list(messages)
    withdrawn = {m.pair_id for m in messages if isinstance(m, PreferencePair) and is_withdrawal(m)} - {""}
    return [
        m
        for m in messages
        if not (is_withdrawal(m) or (isinstance(m, PreferencePair) and m.pair_id in withdrawn))
    ]
