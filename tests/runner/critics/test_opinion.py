"""What critics of others print or return, read into scores."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.critics.opinion import Unusable, is_missing, last_opinion, missing, opinion
from streams.messages.codec import decode_trace, encode
from streams.messages.contracts import TraceEvent


def test_numbers_are_scores_and_notes_are_notes_and_the_rest_is_kept() -> None:
    read = opinion({"task": 1, "physics": 0.25, "notes": "it floats", "frames": [3, 4], "model": "judge-2"})
    assert read.scores == {"task": 1.0, "physics": 0.25}
    assert read.notes == "it floats"
    assert read.extra == {"frames": [3, 4], "model": "judge-2"}


def test_a_null_is_a_score_that_the_critic_could_not_tell() -> None:
    assert opinion({"task": None}).scores == {"task": None}


def test_any_name_of_a_score_will_do() -> None:
    assert opinion({"Imaging Quality (v2.1)": 0.5}).scores == {"Imaging Quality (v2.1)": 0.5}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"task": 1.5}, "task is 1.5; expected a score in [0, 1]"),
        ({"task": -0.1, "physics": 0.5}, "task is -0.1"),
        ({"physics": math.nan}, "physics is nan"),
        ({"physics": math.inf}, "physics is inf"),
        ({"physics": 10**400}, "physics is huge"),
        ({}, "no score in the JSON object that it gave; it has nothing"),
        ({"score": "0.5", "ok": True}, "it has 'score', 'ok'"),
        ({"text": 0.5}, "a score is called 'text'"),
        ({"": 0.5}, "a score is called ''"),
        ({str(n): 0.5 for n in range(101)}, "101 scores"),
    ],
)
def test_what_is_no_score_makes_the_whole_opinion_unusable(said: dict[str, Any], why: str) -> None:
    with pytest.raises(Unusable) as refusal:
        opinion(said)
    assert why in str(refusal.value)


@pytest.mark.parametrize(
    "output",
    [
        '{"task": 0.5}',
        'loading {model} 100%|###|\n{"task": 0.5}\n',
        '{"task": 0.1}\n{"task": 0.5}\ndone in {3} s {',
        'result: {"task": 0.5} (took 3 s)',
        '{"epoch": 1}\n{\n  "task": 0.5,\n  "boxes": [\n    {\n      "task": 0.9\n    }\n  ]\n}\n',
        "{'python': 'repr'}\n{\"task\": 0.5}",
    ],
)
def test_the_last_json_object_counts_whatever_stands_around_it(output: str) -> None:
    assert last_opinion(output).scores == {"task": 0.5}


@pytest.mark.parametrize("output", ["", "no braces", "{", "[1, 2]", "{'task': 0.5}", '{"a":' * 3000])
def test_output_without_a_json_object_is_unusable(output: str) -> None:
    with pytest.raises(Unusable, match="printed no JSON object"):
        last_opinion(output)


def test_nan_as_python_prints_it_is_named() -> None:
    with pytest.raises(Unusable, match="task is nan"):
        last_opinion('{"task": NaN}')


@pytest.mark.parametrize("kept", [{"big": "x" * 5000}, {"half": "\ud800"}, {"huge": [10**30]}])
def test_what_does_not_belong_into_a_trace_is_left_out(kept: dict[str, Any]) -> None:
    assert list(opinion({"task": 0.5, **kept}).extra) == ["left_out"]


@given(st.text() | st.text(st.characters()), st.dictionaries(st.text(), st.floats() | st.text() | st.none()))
def test_whatever_a_critic_says_can_be_recorded(output: str, said: dict[str, Any]) -> None:
    try:
        result = opinion(said).result("judge")
    except Unusable as error:
        result = missing("judge", str(error), output)
        assert is_missing(result)
    event = TraceEvent(
        iter_idx=0,
        prompt="p",
        artifact_path="",
        critic_results=(result,),
        overall_score=0.5,
        meta={"run_id": "r"},
    )
    assert decode_trace(encode(event), "it") == event
