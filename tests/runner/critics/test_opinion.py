"""What critics of others print or return, read into scores."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.critics.opinion import Unusable, is_missing, last_opinion, missing, opinion
from streams.messages.codec import decode_trace, encode
from streams.messages.contracts import CriticResult, TraceEvent
from streams.messages.no_score import critic_failed, names_not_seen, no_score, why_failed


def test_numbers_are_scores_and_notes_are_notes_and_the_rest_is_kept() -> None:
    read = opinion({"task": 1, "physics": 0.25, "notes": "it floats", "frames": [3, 4], "model": "judge-2"})
    assert read.scores == {"task": 1.0, "physics": 0.25}
    assert read.notes == "it floats"
    assert read.extra == {"frames": [3, 4], "model": "judge-2"}


def test_a_null_is_a_score_that_the_critic_could_not_tell() -> None:
    assert opinion({"task": None}).scores == {"task": None}


def test_a_null_may_say_that_the_critic_does_not_apply() -> None:
    read = opinion({"task": None, "physics": 0.5, "no_score": "does_not_apply", "notes": "nothing red"})
    assert read.scores == {"task": None, "physics": 0.5}
    assert no_score(read.result("judge")) == "does_not_apply"


def test_a_null_may_say_that_what_the_goal_names_is_not_seen() -> None:
    result = opinion({"task": None, "physics": 0.5, "no_score": "not_seen"}).result("judge")
    assert no_score(result) == "not_seen"
    assert names_not_seen([result]) == {"judge.task"}
    assert not is_missing(result)


@pytest.mark.parametrize("scores", [{}, {"task": 0.5}], ids=["none", "known"])
def test_what_is_not_seen_says_of_which_score(scores: dict[str, float]) -> None:
    with pytest.raises(Unusable, match="no_score is not_seen; expected a null for each failure mode"):
        opinion({**scores, "no_score": "not_seen"})


def test_a_critic_that_does_not_apply_needs_no_null() -> None:
    result = opinion({"no_score": "does_not_apply"}).result("judge")
    assert result.scores == {}
    assert no_score(result) == "does_not_apply"
    assert not is_missing(result)


@pytest.mark.parametrize("said", [{"task": None}, {"task": 0.5}, {"task": None, "no_score": None}])
def test_who_says_nothing_of_it_means_neither(said: dict[str, Any]) -> None:
    assert no_score(opinion(said).result("judge")) is None


def test_a_critic_may_say_that_it_failed_in_part() -> None:
    result = opinion({"task": None, "physics": 0.5, "no_score": "failed"}).result("judge")
    assert no_score(result) == "failed"
    assert not is_missing(result)


def test_a_failed_critic_says_so() -> None:
    assert no_score(missing("judge", "no GPU")) == "failed"


def test_a_failed_critic_of_an_earlier_trace_is_one() -> None:
    earlier = CriticResult(critic_name="judge", scores={}, extra={"missing": "no GPU", "output": ""})
    assert no_score(earlier) == "failed"
    assert is_missing(earlier)


@pytest.mark.parametrize("extra", [{}, {"no_score": ["failed"]}, {"no_score": 3}, {"missing": "x"}])
def test_what_others_wrote_beside_scores_says_nothing(extra: dict[str, Any]) -> None:
    assert no_score(CriticResult(critic_name="judge", scores={"task": None}, extra=extra)) is None


def test_any_name_of_a_score_will_do() -> None:
    assert opinion({"Imaging Quality (v2.1)": 0.5}).scores == {"Imaging Quality (v2.1)": 0.5}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"task": 1.5}, "task is 1.5; expected a score in [0, 1]"),
        ({"task": -0.1, "physics": 0.5}, "task is -0.1"),
        ({"task": 1.00001}, "task is 1.00001; expected"),
        ({"task": 0.5, "a\ud800": 0.1}, "a score is called 'a?', which is not UTF-8"),
        ({"task": 0.5, "t\ufffd": None}, "a score is called 't\ufffd', which is not UTF-8"),
        ({"task": 0.5, "\udce9": "0.1"}, "a score is called '?', which is not UTF-8"),
        ({"physics": math.nan}, "physics is nan"),
        ({"physics": math.inf}, "physics is inf"),
        ({"physics": 10**400}, "physics is huge"),
        ({}, "no score in the JSON object that it gave; it has nothing"),
        ({"score": "good", "ok": True}, "it has 'score', 'ok'"),
        ({"score": "0.5", "ok": True}, "score is the text '0.5'; expected a number in [0, 1]"),
        ({"score": "nan", "task": None}, "score is the text 'nan'; expected a number in [0, 1]"),
        ({"score": "0", "no_score": "failed", "notes": "no GPU"}, "score is the text '0'; expected a number"),
        ({"task": 0.5, "t": "0", "u": None, "no_score": "not_seen"}, "t is the text '0'; expected a number"),
        ({"task": 0.5, "t": "1", "no_score": "does_not_apply"}, "t is the text '1'; expected a number"),
        ({"": 0.5}, "a score is called ''"),
        ({str(n): 0.5 for n in range(101)}, "101 scores"),
        ({"task": None, "no_score": "failed", "notes": "no GPU"}, "it says that it failed: no GPU"),
        ({"no_score": "failed"}, "it says that it failed"),
        ({"task": None, "no_score": "gone"}, "no_score is 'gone'; expected one of failed, does_not_apply"),
        ({"task": None, "no_score": 0}, "no_score is 0; expected one of"),
        ({"task": 0.5, "no_score": "failed"}, "no_score is failed, but no score is null"),
    ],
)
def test_what_is_no_score_makes_the_whole_opinion_unusable(said: dict[str, Any], why: str) -> None:
    with pytest.raises(Unusable) as refusal:
        opinion(said)
    assert why in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "0.5",
        "0",
        "1",
        "-0.0",
        "7",
        "1e-3",
        " 0.5\n",
        "NaN",
        "nan",
        "inf",
        "-Infinity",
        "٠٫٥".replace("٫", "."),
    ],
)
def test_text_that_reads_as_a_number_is_a_score_that_failed_and_the_others_count(text: str) -> None:
    result = opinion({"task": 0.9, "physics": text, "quality": None}).result("judge", "loading\nquoted it")
    assert result.scores == {"task": 0.9, "physics": None, "quality": None}
    assert critic_failed(result)
    assert why_failed(result) == f"physics is the text {text!r}; expected a number in [0, 1]"
    assert result.extra["output"] == "loading quoted it"


@pytest.mark.parametrize(
    "text", ["", " ", "good", "0.5 of 1", "2026_11", "v2", "0x1f", "1.2.3", "12:30", "none"]
)
def test_other_text_is_kept_beside_the_scores(text: str) -> None:
    result = opinion({"task": 0.9, "physics": text}).result("judge")
    assert (result.scores, result.extra) == ({"task": 0.9}, {"physics": text})


def test_notes_may_read_as_a_number() -> None:
    assert opinion({"task": 0.9, "notes": "0.5"}).notes == "0.5"


def test_a_mode_may_be_called_text() -> None:
    assert opinion({"text": 0.5}).scores == {"text": 0.5}


@pytest.mark.parametrize(
    "output",
    [
        '{"task": 0.5}',
        'loading {model} 100%|###|\n{"task": 0.5}\n',
        '{"task": 0.1}\n{"task": 0.5}\ndone in {3} s {',
        'Scores:\n{"task": 0.5}\n(took 3 s)\n:)',
        '```json\n{"task": 0.5}\n```',
        '\x1b[32m{\x1b[0m"task"\x1b[0m: 0.5, "detail": {"physics": 0.1}}',
        '\ufeff{"task": 0.5}',
        'step 1\rstep 2\r\n{"task": 0.5}\r\n',
        '  {"task": 0.5}  ',
        '{"task": 0.5}\n{model} was unloaded',
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


@pytest.mark.parametrize(
    "output",
    [
        '{"task": 0.9, "physics": nan, "frames": {"flow": 0.2}}',
        "{'task': 0.9, 'detail': '{\"lighting\": 0.1}'}",
        '{task: 0.9, detail: {"lighting": 0.1}}',
        '{"task": 0.9, "note": "a } b", "bad": nan, "detail": {"lighting": 0.1}}',
        '{"task": 0.9, "bad": None, "note": "it\'s {", "detail": {"lighting": 0.1}}\ndone {model}',
        '{"task": 0.9, "detail": {"lighting": 0.1}',
        '{"task": 0.9, "task": 0.1, "detail": {"lighting": 0.1}}',
        '[{"task": 0.9}, {"task": 0.1}]',
        '[{"task": 0.9}, {"task": nan}]',
        '{"epoch": 0.1}\n{"task": nan}',
    ],
)
def test_nothing_within_what_cannot_be_read_is_taken_for_scores_nor_anything_before_it(output: str) -> None:
    with pytest.raises(Unusable, match="no JSON object that can be read at its end"):
        last_opinion(output)


@pytest.mark.parametrize(
    "output",
    [
        '{"task": 0.9}\n{"event": "exit", "code": 0}',
        '{"task": 0.9}\n{"level": "info", "msg": "done", "took": 0.5}\nbye',
        '{"event": "start", "code": 0}\n{"task": 0.9}\n{"event": "exit", "code": 0}',
        '{"task": 0.9}\n{"event": "unload", "code": 0}\n{"event": "exit", "code": 0}',
        '{"task": 0.9, "model": "judge-2"}\n{"event": "exit", "code": null}',
    ],
)
def test_a_line_of_a_log_behind_the_scores_is_not_taken_for_them(output: str) -> None:
    with pytest.raises(
        Unusable, match=r"it printed scores \(.*\), then an object that may be a line of a log"
    ):
        last_opinion(output)


@pytest.mark.parametrize(
    "output",
    [
        '{"event": "start", "code": 0}\n{"task": 0.5, "notes": "fine", "ok": true}',
        '{"event": "start", "gpu": 7, "code": 0}\n{"task": 0.5, "model": "judge-2"}',
        '{"event": "start"}\n{"task": 0.5, "model": "judge-2"}',
        '{"task": 0.1, "frame": "a"}\n{"task": 0.5, "model": "judge-2"}',
    ],
)
def test_a_log_before_the_scores_is_none_of_them(output: str) -> None:
    assert last_opinion(output).scores == {"task": 0.5}


def test_a_log_does_not_hide_a_quoted_score() -> None:
    said = last_opinion('{"event": "start", "code": 0}\n{"task": 0.5, "physics": "0.0"}')
    assert critic_failed(said.result("judge"))


NESTED = '{"physics": 0.1}'


@pytest.mark.parametrize(
    "output",
    [
        f'["clip-b32", {NESTED}]',
        f'[\n"clip-b32",\n{NESTED}\n]',
        f'{{ // my scores\n  "task": 0.9, "detail": {NESTED}\n}}',
        f'{{ // my scores\n"task": 0.9,\n"detail":\n{NESTED}\n}}',
        f'{{\n// }} is mine\n"task": 0.9,\n"detail":\n{NESTED}\n}}',
        f'{{task-score: 0.9, "detail": {NESTED}}}',
        f"{{“task”: 0.9, “detail”: {NESTED}}}",
        f"{{0.5: {NESTED}, 'task': 0.9}}",
        f'{{-1: 0.9, "detail": {NESTED}}}',
        f'{{("a", 1): 0.9, "detail": {NESTED}}}',
        f'("clip-b32", {NESTED})',
        f"(\n'clip-b32',\n{NESTED}\n)",
        f'{{PosixPath("a"): 0.9, "detail": {NESTED}}}',
        f"{{b'task': 0.9, 'detail': {NESTED}}}",
        f"{{`task`: 0.9, `detail`: {NESTED}}}",
        f'{{a.b: 0.9, "detail": {NESTED}}}',
        f'{{$x: 0.9, "detail": {NESTED}}}',
        f"{{0.9, {NESTED}}}",
        f"frozenset({{{NESTED}}})",
        f"Scores(task=0.9, detail={NESTED})",
        f"Scores(\n    task=0.9,\n    detail=\n{NESTED}\n)",
        f"task: 0.9\ndetail: {NESTED}\n",
        f"task: 0.9\ndetail:\n  {NESTED}\n",
        f"- {NESTED}\n- {NESTED}",
        f"<scores>{NESTED}</scores>",
        f"INFO:judge:{NESTED}",
        f'{{"task": 0.9}}\nscores of a frame: {NESTED}',
        f"{NESTED}{NESTED}",
        f"{NESTED},\n{NESTED}",
        f"\x1b[1m[\x1b[0m{NESTED}\x1b[1m]\x1b[0m",
    ],
)
def test_a_part_of_something_else_is_no_opinion_and_the_note_shows_what_was_found(output: str) -> None:
    with pytest.raises(Unusable, match=r"no JSON object that can be read at its end: .*, in ."):
        last_opinion(output)


@pytest.mark.parametrize(
    "output",
    [
        "{'python': 'repr', 'of': {'task': 1}}\n{\"task\": 0.5}",
        '[{"frame": 1}, {"frame": 2}]\n{"task": 0.5}',
        'progress { 3 of\n{"task": 0.5}',
        '[INFO] {model}\n{"task": 0.5, "frames": [{"task": 0.1}]}',
    ],
)
def test_an_object_behind_what_cannot_be_read_counts(output: str) -> None:
    assert last_opinion(output).scores == {"task": 0.5}


def test_what_belongs_to_an_object_that_begins_before_what_is_read_is_not_taken() -> None:
    whole = '{"task": 0.9, "frames": [{"flow": 0.2}, {"flow": 0.3}]}'
    for cut in range(1, len(whole)):
        with pytest.raises(Unusable, match="no JSON object"):
            last_opinion(whole[cut:], is_cut=True)
    assert last_opinion(whole[5:] + '\n{"task": 0.5}', is_cut=True).scores == {"task": 0.5}


@pytest.mark.parametrize("opening", ["{", "[", '{"', '{"a":', "[{", '{"a', "{a:", "'", '"', "[ "])
def test_what_is_never_closed_is_read_in_one_pass(opening: str) -> None:
    with pytest.raises(Unusable):
        last_opinion(opening * 200_000)


@pytest.mark.parametrize(
    ("given", "score"), [(1.0000001, 1.0), (1 + 1.2e-7, 1.0), (-1e-9, 0.0), (1, 1.0), (0, 0.0)]
)
def test_a_score_that_is_outside_by_rounding_counts_as_the_end(given: float, score: float) -> None:
    assert opinion({"task": given}).scores == {"task": score}


def test_nan_as_python_prints_it_is_named() -> None:
    with pytest.raises(Unusable, match="task is nan"):
        last_opinion('{"task": NaN}')


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 0


@pytest.mark.parametrize(
    "kept",
    [
        {"big": "x" * 5000},
        {"half": "\ud800"},
        {"huge": [10**30]},
        {"deep": nested(70)},
        {"deep": nested(300)},
    ],
)
def test_what_does_not_belong_into_a_trace_is_left_out(kept: dict[str, Any]) -> None:
    assert list(opinion({"task": 0.5, **kept}).extra) == ["left_out"]


def test_extras_are_kept_to_the_depth_that_a_trace_can_hold() -> None:
    assert opinion({"task": 0.5, "deep": nested(64)}).extra == {"deep": nested(64)}
    assert opinion({"task": 0.5, "deep": nested(65)}).extra == {
        "left_out": "more than 64 levels of objects and lists"
    }


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
