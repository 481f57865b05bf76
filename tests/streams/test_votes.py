from __future__ import annotations

from typing import Any

import pytest

from streams.messages.codec import ContractError, decode_vote, encode
from streams.messages.votes import Vote


def vote(**changes: Any) -> Vote:
    fields: dict[str, Any] = {
        "vote_id": "v1",
        "left_run_id": "a",
        "left_iter_idx": 0,
        "right_run_id": "b",
        "right_iter_idx": 3,
        "answer": "left",
    }
    return Vote(**(fields | changes))


def test_a_vote_is_read_as_it_was_written() -> None:
    written = vote(annotator="Ann", dimension="physics", rule="random", probability=0.25, plays_left=2)
    assert decode_vote(encode(written), "here") == written


def test_what_a_later_version_adds_is_kept() -> None:
    raw = encode(vote()).replace(b'"schema"', b'"mood":"calm","schema"')
    assert b'"mood":"calm"' in encode(decode_vote(raw, "here"))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"right_run_id": "a", "right_iter_idx": 0}, "left and right are both iteration 0 of run 'a'"),
        ({"answer": None}, "answer is null"),
        (
            {"answer": "middle"},
            "answer: expected one of both_bad, cannot_tell, left, right, tie, null; found 'middle'",
        ),
        ({"answer": "Left"}, "found 'Left': did you mean 'left'"),
        ({"takes_back": "v1"}, "takes_back: is the vote itself"),
        ({"vote_id": ""}, "vote_id"),
        ({"left_iter_idx": -1}, "left_iter_idx"),
        ({"probability": 0.0}, "probability"),
        ({"probability": 1.5}, "probability"),
        ({"response_time_s": -1.0}, "response_time_s"),
        ({"plays_left": -1}, "plays_left"),
    ],
)
def test_a_vote_that_says_nothing_or_the_impossible_is_refused(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(ContractError, match=error):
        encode(vote(**changes))


def test_a_vote_may_take_back_another_without_an_answer() -> None:
    undo = vote(vote_id="v2", takes_back="v1", answer=None)
    assert decode_vote(encode(undo), "here").answer is None
