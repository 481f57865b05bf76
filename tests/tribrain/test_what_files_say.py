"""What every reader makes of a field that is null, 0, empty or quoted, and of a file that is no UTF-8, empty
or says a thing twice; and what writers make of a goal that is not there."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from runner.finetune.tasks import tasks_of
from runner.loop.suite import read_prompts
from runner.rewards.from_file import FileRewardFeed
from streams.errors import BadInput
from streams.messages.codec import encode
from streams.messages.contracts import PreferencePair
from streams.messages.files import (
    read_candidates,
    read_pairs,
    read_reward,
    read_snapshot,
    read_text_pairs,
    read_trace,
)
from streams.messages.refusals import is_blank
from tests import factories
from tests.recorded_runs import write_run, write_trace
from tests.runner.fakes import snapshot
from tribrain.cli import main

REFUSED = "refused"

EVENT = encode(factories.event(0, 0.5))
PAIR = encode(factories.pair({"a.b": 0.9}, {"a.b": 0.1}))
TEXTS = b'{"goal_instruction": "g", "chosen_prompt": "a", "rejected_prompt": "b"}'
CANDIDATE = encode(factories.candidate("t", "c", {"a.b": 0.5}, 1.0))  # type: ignore[arg-type]
PROMPT = b'{"index": 1, "image": "a.png", "generated_description": "pour the tea"}'

Reader = Callable[[Path], Any]
READERS: dict[str, tuple[bytes, Reader]] = {
    "trace": (EVENT, read_trace),
    "pairs": (PAIR, read_pairs),
    "pairs of texts": (TEXTS, read_text_pairs),
    "candidates": (CANDIDATE, read_candidates),
    "prompts": (PROMPT, lambda path: read_prompts(path).tasks),
    "prompts, a line each": (b"pour the tea", lambda path: tasks_of(path, seeds=1)),
}


def read(reader: str, folder: Path, *lines: bytes) -> Any:
    path = folder / "file"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return READERS[reader][1](path)


def changed(line: bytes, field: str, value: object) -> bytes:
    """``field`` may be within an object: ``meta.task_id``."""
    whole = orjson.loads(line)
    *objects, name = field.split(".")
    within = whole
    for one in objects:
        within = within[one]
    within[name] = value
    return orjson.dumps(whole)


FIELDS: dict[tuple[str, str], tuple[Callable[[Any], Any], Mapping[str, Any]]] = {
    ("trace", "meta.task_id"): (
        lambda event: event.task_id,
        # A number is no name, be it 0 or 1; a run that names no task is one.
        {"null": "run-a", '""': "run-a", '"0"': "0", '"None"': "None"}
        | dict.fromkeys(("0", "1", "false", "[]"), REFUSED),
    ),
    ("trace", "meta.goal_instruction"): (
        lambda event: event.goal_instruction,
        {"null": "", '""': "", '"0"': "0", '"None"': "None"} | dict.fromkeys(("0", "false", "[]"), REFUSED),
    ),
    ("trace", "meta.run_id"): (
        lambda event: event.run_id,
        {'"0"': "0"} | dict.fromkeys(("null", '""', "0", "1", "false"), REFUSED),
    ),
    ("trace", "meta.outcome"): (
        lambda event: event.outcome_score,
        {"null": None, '{"score": 0}': 0.0, '{"score": 1}': 1.0}
        | dict.fromkeys(('{"score": null}', '{"score": "0.5"}', '{"score": true}', "{}", "0", '""'), REFUSED),
    ),
    ("trace", "overall_score"): (
        lambda event: event.overall_score,
        {"0": 0.0, "1": 1.0} | dict.fromkeys(("null", '""', '"0.5"', "false", "1.0000001"), REFUSED),
    ),
    ("trace", "iter_idx"): (
        lambda event: event.iter_idx,
        {"0": 0} | dict.fromkeys(("null", '"0"', '""', "-1", "false"), REFUSED),
    ),
    ("pairs", "task_id"): (
        lambda pair: pair.task_id,
        {'"0"': "0", '""': ""} | dict.fromkeys(("null", "0", "1"), REFUSED),
    ),
    ("pairs", "weight"): (
        lambda pair: pair.weight,
        {"0": 0.0, "1": 1.0} | dict.fromkeys(("null", '"1"', '""', "true"), REFUSED),
    ),
    ("pairs of texts", "goal_instruction"): (
        lambda pair: pair.goal_instruction,
        {'""': "", '"None"': "None"} | dict.fromkeys(("null", "0"), REFUSED),
    ),
    ("pairs of texts", "chosen_prompt"): (
        lambda pair: pair.chosen_prompt,
        {'""': "", '"0"': "0"} | dict.fromkeys(("null", "0"), REFUSED),
    ),
    ("candidates", "candidate_id"): (
        lambda one: one.candidate_id,
        {'"0"': "0", '""': ""} | dict.fromkeys(("null", "0", "1"), REFUSED),
    ),
    ("candidates", "human_score"): (
        lambda one: one.human_score,
        {"0": 0.0, "-1": -1.0} | dict.fromkeys(("null", '"1"', '""', "false"), REFUSED),
    ),
    ("prompts", "index"): (
        lambda task: task.index,
        {"0": 0, '"0"': 0, '"007"': 7} | dict.fromkeys(("null", '""', "-1", '"-1"', "1.5", "false"), REFUSED),
    ),
    ("prompts", "image"): (
        lambda task: None if task.image is None else str(task.image),
        {"null": None, '"0"': "0"} | dict.fromkeys(('""', "0"), REFUSED),
    ),
    ("prompts", "generated_description"): (
        lambda task: task.prompt,
        {'"0"': "0", '"None"': "None"} | dict.fromkeys(("null", '""', '" "', "0"), REFUSED),
    ),
    ("prompts", "original_lang"): (
        lambda task: task.original_lang,
        {"null": "", '""': "", '"0"': "0"} | dict.fromkeys(("0", "false"), REFUSED),
    ),
}  # fmt: skip
CASES = [(*of, value, expected) for of, (_, table) in FIELDS.items() for value, expected in table.items()]


@pytest.mark.parametrize(("reader", "field", "value", "expected"), CASES)
def test_what_a_field_says_is_taken_as_it_is_or_refused(
    tmp_path: Path, reader: str, field: str, value: str, expected: object
) -> None:
    line = changed(READERS[reader][0], field, orjson.loads(value))
    if expected is REFUSED:
        with pytest.raises(BadInput, match=r"file@line 1: "):
            read(reader, tmp_path, line)
        return
    (found,) = read(reader, tmp_path, line)
    said = FIELDS[reader, field][0](found)
    assert (said, type(said)) == (expected, type(expected))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", [b"", b"\n", b" \n\n"])
def test_an_empty_file_is_named(tmp_path: Path, reader: str, content: bytes) -> None:
    with pytest.raises(BadInput, match=r"file: the file is empty; expected one \w+ (a|per) line"):
        read(reader, tmp_path, content)


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_utf_8_is_refused(tmp_path: Path, reader: str) -> None:
    """Nothing is read with other letters in the place of those that cannot be told."""
    line = READERS[reader][0]
    for encoded in (line.replace(b"a", "ä".encode("latin-1")), line.decode().encode("utf-16")):
        with pytest.raises(BadInput, match=r"^.*file(@line 1)?: .*(UTF-8|utf-8|JSON)"):
            read(reader, tmp_path, encoded)


@pytest.mark.parametrize("reader", READERS)
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path, reader: str) -> None:
    line = READERS[reader][0]
    plain = read(reader, tmp_path, line)
    assert read(reader, tmp_path, BOM_UTF8 + line) == plain
    with pytest.raises(BadInput, match=r"file: the file is empty"):
        read(reader, tmp_path, BOM_UTF8)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("before", "line"), [(BOM_UTF8 * 2, 1), (b"\n" + BOM_UTF8, 2), (b"\n\n" + BOM_UTF8, 3)]
)
def test_a_byte_order_mark_that_does_not_begin_the_file_is_named(
    tmp_path: Path, reader: str, before: bytes, line: int
) -> None:
    """As where files were joined."""
    with pytest.raises(BadInput, match=rf"file@line {line}: begins with a byte order mark, as in joined"):
        read(reader, tmp_path, before + READERS[reader][0])


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("before", [0, 1, 70_000])
def test_a_text_in_latin_1_is_named_with_its_line(tmp_path: Path, reader: str, before: int) -> None:
    line = READERS[reader][0].replace(b"a", "ä".encode("latin-1"), 1)
    with pytest.raises(BadInput, match=rf"file@line {before + 1}: byte 0xe4 is not UTF-8, .* Latin-1; exp"):
        read(reader, tmp_path, *[b" " * 20] * before, line)


def test_a_mark_within_a_text_is_a_letter(tmp_path: Path) -> None:
    (pair,) = read("pairs of texts", tmp_path, changed(TEXTS, "chosen_prompt", "\ufeffa"))
    assert pair.chosen_prompt == "\ufeffa"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_a_text_in_another_unicode_form_is_named(tmp_path: Path, reader: str, encoding: str) -> None:
    line = ("\ufeff" if encoding.endswith("be") else "") + READERS[reader][0].decode()
    with pytest.raises(BadInput, match=r"file: is text in UTF-16 or UTF-32; expected UTF-8: save it as"):
        read(reader, tmp_path, line.encode(encoding))


def test_a_reward_model_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "bt.json").write_bytes(BOM_UTF8 + encode(snapshot({"a.b": 1.0})))
    assert read_snapshot(tmp_path / "bt.json") == read_reward(tmp_path / "bt.json")
    assert FileRewardFeed(tmp_path / "bt.json", critics=["a"]).latest() == read_snapshot(tmp_path / "bt.json")


def test_a_prompts_file_with_a_byte_order_mark_makes_the_same_tasks(tmp_path: Path) -> None:
    for name, mark in (("plain", b""), ("marked", BOM_UTF8)):
        (tmp_path / name).write_bytes(mark + PROMPT)
    plain, marked = (read_prompts(tmp_path / name) for name in ("plain", "marked"))
    assert plain.task_id(plain.tasks[0]) == marked.task_id(marked.tasks[0])


@pytest.mark.parametrize(
    ("reader", "says"),
    [
        ("candidates", "candidate 'c' of task 't' occurs twice; expected each once"),
        ("prompts", "index 1 appears twice; expected each once"),
        ("prompts, a line each", "a prompt appears twice; expected each once"),
    ],
)
def test_what_is_there_twice_is_refused_where_it_would_count_twice(
    tmp_path: Path, reader: str, says: str
) -> None:
    line = READERS[reader][0]
    with pytest.raises(BadInput, match=says):
        read(reader, tmp_path, line, line)


def test_a_pair_that_is_in_two_files_is_learnt_once(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    pairs = [
        factories.pair({"a.b": 0.9}, {"a.b": 0.1}, pair_id=name, task_id=name, run_id=name) for name in "xyz"
    ]
    for name, content in {"one": pairs[:2], "two": pairs[1:]}.items():
        (tmp_path / name).write_bytes(b"".join(encode(pair) + b"\n" for pair in content))
    files = ("--pairs", str(tmp_path / "one"), "--pairs", str(tmp_path / "two"))
    said = orjson.loads(tribrain(capsysbinary, "train-preference-rm", *files, "--out", str(tmp_path / "rm")))
    assert said["metrics"]["trusted"]["n"] == 3


@pytest.fixture(params=[None, "\u200b"], ids=["null", "invisible"])
def without_goals(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Two runs whose goal is null or cannot be seen, of other tasks and with the same videos."""
    for name in "ab":
        events = write_run(tmp_path / "runs" / name, [0.2, 0.9], pictures={0: 1, 1: 2})
        nameless = {"goal_instruction": request.param, "task_id": None}
        write_trace(tmp_path / "runs" / name, [replace(e, meta=e.meta | nameless) for e in events])
    return tmp_path / "runs"


def tribrain(capsysbinary: pytest.CaptureFixture[bytes], *words: str, code: int = 0) -> bytes:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--json"])
    said = capsysbinary.readouterr()
    assert ended.value.code == code, said.err
    return said.err if code else said.out


def test_a_run_without_a_goal_gives_pairs_without_one_and_is_its_own_task(
    without_goals: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    tribrain(
        capsysbinary, "export-preference-pairs", "--run-dir", str(without_goals / "a"),
        "--out", str(tmp_path / "pairs"),
    )  # fmt: skip
    (pair,) = read_pairs(tmp_path / "pairs")
    assert isinstance(pair, PreferencePair)
    assert is_blank(pair.goal_instruction)
    assert pair.task_id == "a"


def test_runs_without_a_goal_are_of_no_common_task_and_no_copies_of_each_other(
    without_goals: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    words = ("build-dataset", "--runs", str(without_goals), "--format", "hf", "--validation", "0")
    out = tmp_path / "set"
    said = orjson.loads(tribrain(capsysbinary, *words, "--caption", "prompt", "--out", str(out)))
    assert (said["videos"], said["left_out"]) == (4, {})
    rows = [orjson.loads(line) for line in (out / "manifest.jsonl").read_bytes().splitlines()]
    assert {(row["task"], is_blank(row["goal"])) for row in rows} == {("a", True), ("b", True)}
    assert b"videos without a caption (4)" in tribrain(
        capsysbinary, *words, "--out", str(tmp_path / "goals"), code=2
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("trl", b"pairs without the goal or one of the prompts (2)"),
        ("video-dpo", b"pairs without a goal (2)"),
        ("label-studio", b"pairs without a goal (2)"),
    ],
)
def test_pairs_without_a_goal_are_no_preferences_for_others(
    without_goals: Path,
    tmp_path: Path,
    capsysbinary: pytest.CaptureFixture[bytes],
    words: str,
    says: bytes,
) -> None:
    arguments = ("--runs", str(without_goals), "--out", str(tmp_path / "out"), "--format", words)
    assert says in tribrain(capsysbinary, "export-preferences", *arguments, code=2)
    assert not (tmp_path / "out").exists()
