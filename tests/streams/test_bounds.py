"""What may stand in a message, read or written: everything else is one error that says what is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from streams.messages.codec import (
    ContractError,
    NotFinite,
    decode_candidate,
    decode_pair,
    decode_trace,
    encode,
)
from streams.messages.contracts import Message, PairsEnd, PreferencePair, RunEnd, TraceEvent
from streams.messages.limits import (
    MAX_CONTEXT_ENTRIES,
    MAX_DEPTH,
    MAX_ID_CHARS,
    MAX_ITERATIONS,
    MAX_NAME_CHARS,
    MAX_NUMBER,
    MAX_RECORD_BYTES,
    MAX_SCORES,
    MAX_TRACE_BYTES,
    MAX_WEIGHT,
)
from tests.factories import candidate, event, pair
from trainers.pairs.pairing import PairingRules, pairs_of_run

EVENT = event(0, 0.5)
PAIR = pair({"a.x": 0.9}, {"a.x": 0.1})
LONG = "n" * (MAX_ID_CHARS + 1)


def nested(depth: int) -> Any:
    inner: Any = []
    for _ in range(depth - 1):
        inner = [inner]
    return inner


def with_meta(**meta: Any) -> TraceEvent:
    return replace(EVENT, meta=EVENT.meta | meta)


REFUSED: dict[str, tuple[Message, str]] = {
    "an iteration too far": (replace(EVENT, iter_idx=2**62), "iter_idx: Expected `int` <= 99999, found 4611"),
    "too many iterations": (
        RunEnd(run_id="r", iterations=(0,) * (MAX_ITERATIONS + 1)),
        f"iterations: Expected `array` of length <= {MAX_ITERATIONS}",
    ),
    "an end of no run": (RunEnd(run_id="", iterations=()), "run_id: Expected `str` of length >= 1, found ''"),
    "a long run id": (with_meta(run_id=LONG), "meta.run_id: expected a non-empty text of at most 512 chara"),
    "a run id that is a number": (with_meta(run_id=7), "meta.run_id: expected .*, found 7"),
    "a task id that is an object": (with_meta(task_id={}), r"meta.task_id: expected a text .*, found \{\}"),
    "a goal that is a list": (with_meta(goal_instruction=["a"]), r"meta.goal_instruction: .*, found \['a'\]"),
    "an outcome that is a text": (with_meta(outcome="good"), "meta.outcome: expected an object with a score"),
    "an outcome that is true": (with_meta(outcome={"score": True}), r"meta.outcome: .*found \{'score': True"),
    "a large number in a run's context": (
        with_meta(context={"a": 1, "b": 1e200}),
        r"meta.context.b: Expected `float` <= 1000000.0, found 1e\+200",
    ),
    "a large number in a candidate's context": (
        with_meta(candidate_context={"cost": 10**18}),
        "meta.candidate_context.cost: Expected `int` <= 1000000, found 10000",
    ),
    "too many entries in a context": (
        with_meta(context={str(n): "x" for n in range(MAX_CONTEXT_ENTRIES + 1)}),
        "meta.context: Expected `object` of length <= 128",
    ),
    "too many scores of one critic": (
        event(0, 0.5, critics={f"critic.{n}": 0.5 for n in range(MAX_SCORES + 1)}),
        f"critic_results: .*{MAX_SCORES}",
    ),
    "a long name of a critic": (
        event(0, 0.5, critics={f"{'c' * 257}.x": 0.5}),
        r"critic_results\[0\].critic_na",
    ),
    "deep nesting": (
        with_meta(extra=nested(MAX_DEPTH + 1)),
        "meta.extra.*: expected at most 64 levels",
    ),
    "a large message": (
        replace(EVENT, prompt="p" * MAX_TRACE_BYTES),
        "found 4,194,.* bytes; expected at most 4,",
    ),
    "a large weight": (replace(PAIR, weight=1e9), "weight: Expected `float` <= 1000.0, found 1000000000.0"),
    "a large gap": (replace(PAIR, gap=1e9), "gap: Expected `float` <= 2000000.0"),
    "a large number of a side": (
        replace(PAIR, chosen_context={"cost": 1e9}),
        "chosen_context.cost: Expected",
    ),
    "too many scores of a side": (
        pair({f"c.{n}": 0.5 for n in range(MAX_SCORES + 1)}, {}),
        f"chosen_critics: Expected `object` of length <= {MAX_SCORES}",
    ),
    "a long model": (replace(PAIR, model=LONG), "model: Expected `str` of length <= 512, found 'nnn"),
    "a long name of a score": (pair({"n" * 600: 0.5}, {}), "chosen_critics: Expected `str` of length <= 513"),
    "a judge that is a list": (
        replace(PAIR, meta={"judge": [1]}),
        r"meta.judge: expected a text.*found \[1\]",
    ),
    "a long judge": (
        replace(PAIR, meta={"judge": LONG}),
        "meta.judge: expected a text of at most 256 charac",
    ),
    "many pairs": (
        PairsEnd(run_id="r", task_id="t", n_pairs=2**60, n_candidates=1),
        "n_pairs: Expected `int`",
    ),
}


SCORES: dict[str, tuple[Message, str]] = {
    "a large score": (
        pair({"a.x": 1.0, "a.y": 1e200}, {}),
        r"chosen_critics.a.y: Expected `float` <= 1000000.0, found 1e\+200",
    ),
    "a large score below none": (
        pair({}, {"b.x": -1e7}),
        "rejected_critics.b.x: Expected `float` >= -1000000.0",
    ),
}


def unchecked(message: Message) -> bytes:
    """As ``encode`` writes it, without its checks."""

    def of(value: Any) -> Any:
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return {name: of_field for name, of_field in fields.items() if of_field is not UNSET}

    return orjson.dumps(of(message), default=of)


def decoder_of(message: Message) -> Callable[[bytes, str], Any]:
    return decode_trace if isinstance(message, TraceEvent | RunEnd) else decode_pair


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_out_of_bounds_is_not_read_and_the_error_says_what_is_needed(what: str) -> None:
    message, says = REFUSED[what]
    with pytest.raises(ContractError, match=f"^here@line 3: (.*: )?{says}"):
        decoder_of(message)(unchecked(message), "here@line 3")


@pytest.mark.parametrize("what", SCORES)
def test_a_score_that_is_out_of_bounds_is_read_as_the_bound(what: str) -> None:
    pair, _ = SCORES[what]
    read = decode_pair(unchecked(pair), "here")
    assert isinstance(pair, PreferencePair)
    assert isinstance(read, PreferencePair)
    assert read.chosen_critics == in_bounds(pair.chosen_critics)
    assert read.rejected_critics == in_bounds(pair.rejected_critics)


def in_bounds(scores: Mapping[str, float | None]) -> dict[str, float]:
    return {name: max(-MAX_NUMBER, min(MAX_NUMBER, s)) for name, s in scores.items() if s is not None}


@pytest.mark.parametrize("what", REFUSED | SCORES)
def test_what_is_out_of_bounds_is_not_written_either(what: str) -> None:
    message, says = (REFUSED | SCORES)[what]
    with pytest.raises(ContractError, match=f"^{message.SCHEMA}: (.*: )?{says}"):
        encode(message)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "place", ["weight", "gap", "chosen_score", "chosen_critics", "rejected_critics", "context", "meta"]
)
def test_a_number_of_a_pair_that_is_not_finite_is_not_written(place: str, number: float) -> None:
    given = number if isinstance(getattr(PAIR, place), float) or place == "chosen_score" else {"a": number}
    with pytest.raises(NotFinite, match=f"tribrain.pair/1.{place}.*: -?(nan|inf) is not a finite number"):
        encode(replace(PAIR, **{place: given}))


@pytest.mark.parametrize("value", [True, "0.5", b"x", {"a"}, 2**70, "\ud800"])
@pytest.mark.parametrize("place", ["chosen_critics", "chosen_context", "meta", "gap", "chosen_prompt"])
def test_what_was_built_wrong_in_python_is_an_error_or_can_be_read(place: str, value: Any) -> None:
    given = {"a": value} if isinstance(getattr(PAIR, place), dict) else value
    try:
        raw = encode(replace(PAIR, **{place: given}))
    except ContractError:
        return
    assert encode(decode_pair(raw, "test")) == raw


def test_the_widest_that_is_meant_is_read_as_it_was_written() -> None:
    widest = replace(
        PAIR,
        weight=MAX_WEIGHT,
        gap=-2 * MAX_NUMBER,
        model="m" * MAX_ID_CHARS,
        chosen_critics={f"c.{n}": -MAX_NUMBER for n in range(MAX_SCORES)},
        context={"k" * MAX_NAME_CHARS: MAX_NUMBER, "list": nested(MAX_DEPTH - 1), "none": None},
    )
    assert decode_pair(encode(widest), "test") == widest


def test_a_number_that_is_a_sentinel_or_in_another_unit_is_within_bounds() -> None:
    decode_pair(
        encode(pair({"aesthetic.score": 57.3, "bitrate.kbit": 18_000.0}, {"lpips.x": -999.0})), "test"
    )
    decode_candidate(unchecked(candidate("t", "c", {"fvd.score": 12_345.0}, 4.5)), "test")  # type: ignore[arg-type]


def test_the_end_of_the_longest_run_is_a_record() -> None:
    assert len(encode(RunEnd(run_id="r", iterations=tuple(range(MAX_ITERATIONS))))) < MAX_RECORD_BYTES


@pytest.mark.parametrize("given", ["a text", [1, 2], 7, True, None])
def test_what_is_no_context_is_taken_as_none(given: object) -> None:
    """As the original writes it: what it keeps in ``meta`` is its own affair."""
    best = replace(event(1, 0.9), meta=event(1, 0.9).meta | {"context": given, "candidate_context": given})
    read = decode_trace(encode(best), "test")
    assert isinstance(read, TraceEvent)
    (made,) = pairs_of_run([EVENT, read], PairingRules())
    assert (made.context, made.chosen_context) == ({}, {})


def test_a_goal_that_is_null_is_none() -> None:
    assert with_meta(goal_instruction=None).goal_instruction == ""


def test_an_integer_of_more_than_64_bits_is_read_as_a_number() -> None:
    """Seeds of NumPy have 128."""
    raw = unchecked(with_meta(seed=1)).replace(b'"seed":1', b'"seed":340282366920938463463374607431768211455')
    read = decode_trace(raw, "test")
    assert isinstance(read, TraceEvent)
    assert read.meta["seed"] == 2.0**128
    assert decode_trace(encode(read), "test") == read


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "\xed\xa0\x80"}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"meta":' * 100_000 + b"{}" + b"}" * 100_000,
        b'{"iter_idx": ' + b"9" * 5_000 + b"}",
        b'{"overall_score": 1' + b"0" * 400 + b".0}",
        b'{"overall_score": -1e999}',
        b'{"schema": {"a": [1]}}',
        b'{"schema": "tribrain.trace/1", "schema": null}',
        b'{"extras": {"run_id": "r"}, "run_id": 1}',
        b"null",
        b'"text"',
        b"{}" * 2,
        b"\0",
    ],
)
def test_no_bytes_raise_anything_but_a_contract_error(raw: bytes) -> None:
    for decode in (decode_trace, decode_pair, decode_candidate):
        with pytest.raises(ContractError, match=r"^here: "):
            decode(raw, "here")


def test_a_field_called_extras_is_a_field_that_is_not_known() -> None:
    raw = encode(RunEnd(run_id="r", iterations=()))[:-1] + b',"extras":{"run_id":"other"}}'
    read = decode_trace(raw, "test")
    assert read.run_id == "r"
    assert read.extras == {"extras": {"run_id": "other"}}
    assert encode(read) == raw
