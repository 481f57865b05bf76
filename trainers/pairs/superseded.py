"""Pairs of scores that a rescoring replaced, as the pairs topic and files made of it still have them.

A later revision forms only the pairs with a side that was rescored, so a pair of two others stays in force
whatever its revision is. What was rescored shows in the scores: within a run, a candidate has other ones in
a pair of a later revision, or both candidates are compared again there. A candidate that was rescored and is
in no later pair cannot be found from the pairs alone; ``tribrain pairs export`` reads the trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from streams.messages.contracts import PairMessage, PreferencePair
from streams.messages.fields import Scores
from trainers.pairs.pairing import LIVE_SOURCES

_M = TypeVar("_M", bound=PairMessage)
_Side = tuple[str, str, str]
"""Model, run and video."""


def without_superseded(messages: Sequence[_M]) -> tuple[list[_M], int]:
    """The messages without pairs of scores that a later revision replaced, in order, and how many those are.

    The messages may be in any order. Votes and pairs from elsewhere have no revision, and stay.
    """
    formed = [one for one in messages if isinstance(one, PreferencePair) and _is_formed(one)]
    revised = {pair.run_id for pair in formed if pair.revision}
    if not revised:
        return list(messages), 0
    newest: dict[_Side, tuple[int, Scores]] = {}
    compared: dict[tuple[str, frozenset[_Side]], int] = {}
    for pair in formed:
        if pair.run_id in revised:
            for side, scores in _sides(pair):
                if side not in newest or newest[side][0] < pair.revision:
                    newest[side] = pair.revision, scores
            match = _match(pair)
            compared[match] = max(compared.get(match, 0), pair.revision)

    def is_superseded(message: PairMessage) -> bool:
        if not (isinstance(message, PreferencePair) and _is_formed(message) and message.run_id in revised):
            return False
        return compared[_match(message)] > message.revision or any(
            newest[side][0] > message.revision and newest[side][1] != scores
            for side, scores in _sides(message)
        )

    kept = [message for message in messages if not is_superseded(message)]
    return kept, len(messages) - len(kept)


def _is_formed(pair: PreferencePair) -> bool:
    """Whether the pair is one of a run, of videos that can be distinguished."""
    return (
        pair.label_source in LIVE_SOURCES
        and pair.run_id != ""
        and "" not in (pair.chosen_artifact, pair.rejected_artifact)
    )


def _sides(pair: PreferencePair) -> tuple[tuple[_Side, Scores], tuple[_Side, Scores]]:
    return (
        ((pair.model, pair.run_id, pair.chosen_artifact), pair.chosen_critics),
        ((pair.model, pair.run_id, pair.rejected_artifact), pair.rejected_critics),
    )


def _match(pair: PreferencePair) -> tuple[str, frozenset[_Side]]:
    return pair.label_source, frozenset(side for side, _ in _sides(pair))
