"""A name that is twice in an object of a file is refused by every reader: which value is meant is unknown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.lab.judged_pairs import read_judged_pairs
from streams.errors import BadInput
from streams.messages.codec import encode, sealed
from streams.messages.files import (
    read_candidates,
    read_events_by_run,
    read_pairs,
    read_reward,
    read_snapshot,
    read_text_pairs,
    read_trace,
)
from streams.messages.refusals import check_names
from tests import factories
from tests.runner.fakes import snapshot
from trainers.datasets.vote_files import read_json_lines

TRACE = encode(factories.event(0, 0.5))
PAIR = encode(factories.pair({"eye.x": 0.9}, {"eye.x": 0.4}))
CANDIDATE = msgspec.json.encode(factories.candidate("t", "c", {"eye.x": 0.9}, 1.0))
REWARD = encode(sealed(snapshot()))

READERS: list[tuple[Callable[[Path], Any], bytes, bytes]] = [
    (read_trace, TRACE, b'"goal_instruction":'),
    (read_events_by_run, TRACE, b'"iter_idx":'),
    (read_pairs, PAIR, b'"gap":'),
    (read_text_pairs, PAIR, b'"chosen_prompt":'),
    (lambda path: read_judged_pairs(path, []), PAIR, b'"gap":'),
    (read_candidates, CANDIDATE, b'"human_score":'),
    (read_snapshot, REWARD, b'"eye.quality":'),
    (read_reward, REWARD, b'"version":'),
]


def twice(line: bytes, name: bytes) -> bytes:
    """With another value of the name before its own."""
    assert name in line
    return line.replace(name, name + b"0," + name, 1)


@pytest.mark.parametrize(("read", "line", "name"), READERS, ids=[n.decode() for *_, n in READERS])
def test_a_repeated_name_is_refused(
    read: Callable[[Path], Any], line: bytes, name: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(line)
    read(path)
    path.write_bytes(twice(line, name))
    with pytest.raises(BadInput, match=rf"{name.decode()[1:-2]}' appears twice; expected each name once"):
        read(path)


def test_the_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(PAIR + b"\n" + twice(PAIR, b'"gap":'))
    with pytest.raises(BadInput, match=r"pairs\.jsonl@line 2: 'gap' appears twice"):
        read_pairs(path)


def test_a_vote_with_a_repeated_name_cannot_be_used() -> None:
    found = read_json_lines(b'{"answer": "left", "answer": "right"}', "votes.jsonl")
    assert [each.reason for each in found.unusable] == [
        "'answer' appears twice; expected each name once in an object"
    ]


def test_the_same_name_in_two_objects_is_no_repetition() -> None:
    check_names(b'[{"a": {"a": 1}, "b": 2}, {"a": 3, "b": {"a": null}}]', "here")


@pytest.mark.parametrize("raw", [b'{"a": 1, "a": 1}', b'{"a": 1, "\\u0061": 2}', b'[[{"": 0, "": 1}]]'])
def test_it_is_refused_on_every_level_and_however_it_is_written(raw: bytes) -> None:
    with pytest.raises(BadInput, match=r"here: '(a|)' appears twice"):
        check_names(raw, "here")


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_other_faults_are_left_to_the_decoder(raw: bytes) -> None:
    check_names(raw, "here")
