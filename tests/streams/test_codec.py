from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from streams.messages.checkpoints import decode_checkpoint
from streams.messages.codec import (
    ContractError,
    decode_finetune,
    decode_pair,
    decode_run_closed,
    decode_snapshot,
    decode_text_pair,
    decode_trace,
    encode,
    json_schema,
    sealed,
)
from streams.messages.contracts import (
    CriticResult,
    Message,
    PairsEnd,
    PreferencePair,
    RewardSnapshot,
    RunEnd,
    TraceEvent,
)
from streams.messages.fields import Contract, Extras
from streams.messages.limits import MAX_ITERATIONS, MAX_NUMBER, MAX_WEIGHT
from streams.messages.schemas import FOLDER, documents
from tests.factories import pair
from trainers.online.learner import OnlineLearner

GOLDEN = Path(__file__).parent / "golden"

finite = st.floats(allow_nan=False, allow_infinity=False)
unit = st.floats(0, 1)
text = st.text(st.characters(exclude_categories=["Cs"]))
json_value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | finite | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
json_object = st.dictionaries(text, json_value, max_size=4)
_CHECKED = {
    "run_id", "task_id", "goal_instruction", "revision", "rescored_in", "rescored", "required", "judge",
    "outcome", "context", "candidate_context",
}  # fmt: skip
free_meta = json_object.map(lambda meta: {k: v for k, v in meta.items() if k not in _CHECKED})
"""Names that are checked are not free; Hypothesis draws words of the code, too."""
number = st.floats(-MAX_NUMBER, MAX_NUMBER)
contexts = st.dictionaries(
    text,
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | number
    | text
    | st.lists(json_value, max_size=2),
    max_size=4,
)
iterations = st.integers(0, MAX_ITERATIONS - 1)


def extras_for(contract: type[Contract]) -> st.SearchStrategy[Extras | UnsetType]:
    known = set(contract.__struct_fields__) - {"extras"}
    unknown = json_object.map(lambda extras: {k: v for k, v in extras.items() if k not in known})
    return unknown.map(lambda extras: Extras(extras) if extras else UNSET)


critic_results = st.builds(
    CriticResult,
    critic_name=text,
    scores=st.dictionaries(text, st.none() | unit, max_size=3),
    notes=text,
    extra=json_object,
    extras=extras_for(CriticResult),
)
trace_events = st.builds(
    TraceEvent,
    schema=st.just(TraceEvent.SCHEMA),
    iter_idx=iterations,
    prompt=text,
    artifact_path=text,
    critic_results=st.lists(critic_results, max_size=3).map(tuple),
    fused_scores=st.dictionaries(text, st.none() | number, max_size=3),
    belief_probs=st.dictionaries(text, number, max_size=3),
    overall_score=unit,
    meta=free_meta.map(lambda meta: {**meta, "run_id": "r", "outcome": {"score": 0.5}}),
    extras=extras_for(TraceEvent),
)
run_ends = st.builds(
    RunEnd,
    schema=st.just(RunEnd.SCHEMA),
    run_id=text.filter(bool),
    iterations=st.lists(iterations).map(tuple),
    stop_reason=text,
    meta=free_meta,
    extras=extras_for(RunEnd),
)
pairs = st.builds(
    PreferencePair,
    schema=st.just(PreferencePair.SCHEMA),
    task_id=text,
    label_source=st.sampled_from(["critic", "proxy", "outcome", "human"]),
    weight=st.floats(0, MAX_WEIGHT),
    gap=number,
    chosen_score=st.none() | number,
    chosen_critics=st.dictionaries(text, st.none() | number, max_size=3),
    rejected_critics=st.dictionaries(text, st.none() | number, max_size=3),
    context=contexts,
    chosen_context=contexts,
    meta=json_object.map(lambda meta: {**meta, "judge": "a judge"}),
    extras=extras_for(PreferencePair),
)
pairs_ends = st.builds(
    PairsEnd,
    schema=st.just(PairsEnd.SCHEMA),
    run_id=text,
    task_id=text,
    n_pairs=st.integers(0, 2**53),
    n_candidates=st.integers(0, 2**53),
    extras=extras_for(PairsEnd),
)


def names_each_score_once(message: TraceEvent | RunEnd) -> bool:
    results = message.critic_results if isinstance(message, TraceEvent) else ()
    names = [f"{result.critic_name}.{mode}" for result in results for mode in result.scores]
    return len(names) == len(set(names))


@given((trace_events | run_ends).filter(names_each_score_once))
def test_a_trace_message_survives_the_round_trip_with_its_unknown_fields(
    message: TraceEvent | RunEnd,
) -> None:
    raw = encode(message)
    assert decode_trace(raw, "test") == message
    assert encode(decode_trace(raw, "test")) == raw
    assert b"\n" not in raw


def check_schema(message: Message) -> None:
    Draft202012Validator(json_schema(type(message))).validate(json.loads(encode(message)))


@given(trace_events | run_ends | pairs | pairs_ends)
def test_what_is_written_is_valid_by_its_json_schema(message: Message) -> None:
    check_schema(message)


def test_a_snapshot_is_valid_by_its_json_schema_and_a_wrong_gate_is_not() -> None:
    check_schema(snapshot())
    with pytest.raises(ValidationError, match="ajar"):
        check_schema(replace(snapshot(), gate="ajar"))


@given(pairs | pairs_ends)
def test_a_pairs_message_survives_the_round_trip_with_its_unknown_fields(
    message: PreferencePair | PairsEnd,
) -> None:
    raw = encode(message)
    assert decode_pair(raw, "test") == message
    assert encode(decode_pair(raw, "test")) == raw


def snapshot() -> RewardSnapshot:
    learner = OnlineLearner()
    learner.on_message(pair({"goal.task": 0.9, "flicker.quality": None}, {"goal.task": 0.4}))
    return learner.snapshot({"tribrain.pairs": {"0": 7}})


def test_a_snapshot_is_read_as_it_was_written() -> None:
    assert decode_snapshot(encode(snapshot()), "test") == snapshot()


def test_a_later_change_to_a_sealed_snapshot_is_refused() -> None:
    edited = replace(snapshot(), gate="active")
    with pytest.raises(ContractError, match="checksum"):
        decode_snapshot(encode(edited), "test")
    assert decode_snapshot(encode(sealed(edited)), "test").gate == "active"


GOOD = b'{"iter_idx": 0, "prompt": "p", "artifact_path": "a", "overall_score": 0.5, "meta": {"run_id": "r"}}'


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1]", "expected a JSON object, found list"),
        (GOOD.replace(b"0.5", b"NaN"), "found NaN; expected finite numbers"),
        (GOOD.replace(b"0.5", b"-Infinity"), "found -Infinity"),
        (GOOD.replace(b"0.5", b"1.5"), "overall_score: Expected `float` <= 1.0"),
        (GOOD.replace(b"0.5", b'"0.5"'), "overall_score: Expected `float | null`, got `str`"),
        (GOOD.replace(b"0.5", b"null"), "overall_score is null"),
        (GOOD.replace(b'"prompt": "p", ', b""), "a required field is missing: `prompt`"),
        (GOOD.replace(b'"r"', b'""'), "meta.run_id: expected a non-empty text"),
        (
            GOOD.replace(b'"r"', b'"r", "outcome": {"score": 3}'),
            "meta.outcome: expected an object with",
        ),
        (GOOD.replace(b"{", b'{"schema": "tribrain.trace/2", ', 1), "this version reads 'tribrain.trace/1'"),
    ],
)
def test_an_error_names_the_source_and_what_is_wrong(raw: bytes, says: str) -> None:
    with pytest.raises(ContractError) as caught:
        decode_trace(raw, "runs/a/trace.jsonl@line 3")
    assert str(caught.value).startswith("runs/a/trace.jsonl@line 3: ")
    assert says in str(caught.value)


def test_a_text_that_is_not_allowed_is_answered_with_those_that_are() -> None:
    raw = encode(pair({"a": 0.9}, {"a": 0.1})).replace(b'"label_source":"human"', b'"label_source":"people"')
    with pytest.raises(
        ContractError, match="label_source: expected one of critic, human, outcome, proxy; found"
    ):
        decode_pair(raw, "here")


def test_the_allowed_texts_are_found_within_an_object_too() -> None:
    learner = OnlineLearner()
    learner.on_message(replace(pair({"a": 0.9}, {"a": 0.4}), dimension="physics"))
    learnt = learner.snapshot({})
    ajar = {"physics": replace(learnt.dimensions["physics"], gate="ajar")}
    with pytest.raises(
        ContractError, match=r"dimensions\.physics\.gate: expected one of active, shadow; found"
    ):
        decode_snapshot(encode(sealed(replace(learnt, dimensions=ajar))), "here")


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_not_written(number: float) -> None:
    with pytest.raises(ContractError, match="is not a finite number"):
        encode(RunEnd(run_id="r", iterations=(), meta={"depth": [number]}))


def test_messages_of_every_schema_still_read_as_the_golden_files_say() -> None:
    for path in sorted(GOLDEN.glob("*.json")):
        raw = path.read_bytes().rstrip(b"\n")
        decoder = {
            "trace": decode_trace,
            "pairs": decode_pair,
            "snapshots": decode_snapshot,
            "checkpoints": decode_checkpoint,
            "closed": decode_run_closed,
            "finetune": decode_finetune,
        }
        assert encode(decoder[path.stem.split("_")[0]](raw, path.name)) == raw, path.name


def test_a_line_of_the_original_tribrain_reads_as_it_is() -> None:
    event = decode_trace((GOLDEN / "tribrain_0_6_2.trace.jsonl").read_bytes(), "0.6.2")
    assert isinstance(event, TraceEvent)
    assert event.run_id == "20260101_000000_seed1_0000abcd"
    assert event.critic_scores() == {"flicker.smoothness": 0.47, "flicker.quality": 0.47}


def test_a_goal_and_two_texts_are_a_text_pair_of_the_least_trusted_label() -> None:
    texts = {"goal_instruction": "a goal", "chosen_prompt": "good", "rejected_prompt": "bad"}
    message = decode_text_pair(orjson.dumps(texts), "x")
    assert isinstance(message, PreferencePair)
    assert (message.chosen_prompt, message.label_source, message.task_id) == ("good", "critic", "")


def test_what_a_text_pair_says_of_itself_stays() -> None:
    given = pair({"a.b": 0.9}, {"a.b": 0.1}, label_source="human")
    assert decode_text_pair(encode(replace(given, chosen_prompt="x")), "x") == (
        replace(given, chosen_prompt="x")
    )


@pytest.mark.parametrize("lacking", ["chosen_prompt", "rejected_prompt"])
def test_a_text_pair_needs_both_texts(lacking: str) -> None:
    texts = {"goal_instruction": "a goal", "chosen_prompt": "good", "rejected_prompt": "bad"}
    del texts[lacking]
    with pytest.raises(ContractError, match=rf"x: a required field is missing: `{lacking}`"):
        decode_text_pair(orjson.dumps(texts), "x")


def test_the_schemas_beside_the_code_are_those_of_the_classes() -> None:
    assert {path.name: path.read_bytes() for path in FOLDER.glob("*.json")} == documents()


def test_a_snapshot_of_a_later_version_reads_whatever_the_order_of_its_fields() -> None:
    written = json.loads(encode(OnlineLearner().snapshot()))
    later = {"schema": written.pop("schema"), "new_in_1_1": [1, 2], **written, "checksum": ""}
    later["checksum"] = hashlib.sha256(orjson.dumps(later)).hexdigest()
    snapshot = decode_snapshot(orjson.dumps(later, option=orjson.OPT_INDENT_2), "later")
    assert snapshot.extras == {"new_in_1_1": [1, 2]}
