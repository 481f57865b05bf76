"""Judged pairs of a file, in either format."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.lab.judged_pairs import known_alone, read_judged_pairs
from streams.errors import BadInput
from streams.messages.codec import encode
from tests import factories

CANDIDATES = [
    factories.candidate("tea", name, {"clip": score}, 1.0) for name, score in (("a", 0.2), ("b", 0.7))
]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "judged.jsonl"
    path.write_text(text)
    return path


def test_a_line_that_names_candidates_has_their_critics_and_says_who_made_each_side(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, '{"task_id": "tea", "chosen": "b", "rejected": "a", "tie": true, "more": 1}\n\n')
    (pair,) = read_judged_pairs(path, CANDIDATES)
    assert (pair.task_id, pair.tie, pair.label_source) == ("tea", True, "human")
    assert (pair.chosen_critics, pair.rejected_critics) == ({"clip": 0.7}, {"clip": 0.2})
    assert (pair.chosen_context, pair.rejected_context) == ({"candidate": "b"}, {"candidate": "a"})


def test_a_line_of_a_pairs_file_is_the_pair(tmp_path: Path) -> None:
    pair = factories.pair({"clip": 0.9}, {"clip": None})
    assert read_judged_pairs(written(tmp_path, encode(pair).decode() + "\n")) == [pair]


def test_what_is_known_beside_the_critics_is_left_out_unless_it_is_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, '{"task_id": "tea", "chosen": "b", "rejected": "a"}')
    pairs = read_judged_pairs(path, CANDIDATES)
    assert [pair.chosen_context for pair in known_alone(pairs, who_made_each_side=False)] == [{}]
    assert known_alone(pairs, who_made_each_side=True) == pairs


NAMED = '{"task_id": "tea", "chosen": "b", "rejected": "c"}'
NEITHER = r"line 1: .*; a pair has task_id, label_source and the critics of both sides, or names its cand"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"judged.jsonl: the file has no pair; expected one per line"),
        (NAMED, r"line 1: no candidate 'c' of task 'tea' is known; give the file that has it as --cand"),
        ('{"task_id": "tea"}', NEITHER),
        ("no JSON", NEITHER),
        ("\udcff", "line 1: byte 0xff is not UTF-8"),
    ],
    ids=["empty", "an unknown candidate", "neither format", "no JSON", "no UTF-8"],
)
def test_anything_else_is_bad_input(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "judged.jsonl"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadInput, match=says):
        read_judged_pairs(path, CANDIDATES)
