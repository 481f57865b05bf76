"""Two scores of one name: a null hides none, and two that differ are refused."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from msgspec.structs import replace

from streams.messages.codec import ContractError, decode_trace, encode
from streams.messages.contracts import CriticResult, TraceEvent
from tests.factories import event

Entry = tuple[str, str, float | None]


def judged(*entries: Entry) -> TraceEvent:
    results = tuple(CriticResult(critic_name=name, scores={mode: score}) for name, mode, score in entries)
    return replace(event(0, 0.5), critic_results=results)


def decoded(made: TraceEvent) -> TraceEvent:
    """As from a file: bytes that nobody has looked at."""
    results = b",".join(encode_result(result) for result in made.critic_results)
    line = encode(replace(made, critic_results=()))
    found = decode_trace(line.replace(b'"critic_results":[]', b'"critic_results":[' + results + b"]"), "it")
    assert isinstance(found, TraceEvent)
    return found


def encode_result(result: CriticResult) -> bytes:
    return msgspec.json.encode(result)


@pytest.mark.parametrize(
    ("entries", "score"),
    [
        ([("a", "x", 0.9), ("a", "x", None)], 0.9),
        ([("a", "x", 0.9), ("a", "x", 0.9)], 0.9),
        ([("a", "x", 0.0), ("a", "x", None)], 0.0),
        ([("a", "x", None), ("a", "x", None)], None),
        ([("a.b", "x", 0.9), ("a", "b.x", None)], 0.9),
        ([("a.b", "x", 0.9), ("a", "b.x", 0.9)], 0.9),
    ],
    ids=str,
)
def test_of_what_has_one_name_the_score_counts(entries: list[Entry], score: float | None) -> None:
    for order in itertools.permutations(entries):
        (found,) = decoded(judged(*order)).critic_scores().values()
        assert found == score


@pytest.mark.parametrize(
    "entries",
    [
        [("a", "x", 0.9), ("a", "x", 0.1)],
        [("a", "x", 0.9), ("a", "x", 0.0)],
        [("a.b", "x", 0.9), ("a", "b.x", 0.1)],
        [("a", "b.x", 0.9), ("c", "y", 0.5), ("a.b", "x", 0.1)],
        [("a", "x", 0.9), ("a", "x", None), ("a", "x", 0.1)],
    ],
    ids=str,
)
def test_two_scores_that_differ_are_refused(entries: list[Entry]) -> None:
    with pytest.raises(
        ContractError, match=r"it: critic_results: found .* both called .*; .* rename a critic"
    ):
        decoded(judged(*entries))


def test_names_with_dots_that_differ_are_two() -> None:
    made = judged(("a.b", "x", 0.9), ("a", "x", 0.1), ("b", "x", 0.2))
    assert decoded(made).critic_scores() == {"a.b.x": 0.9, "a.x": 0.1, "b.x": 0.2}
