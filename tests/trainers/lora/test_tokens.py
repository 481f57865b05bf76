"""Tokens: the candidate is kept, the goal is cut from its beginning."""

from __future__ import annotations

import pytest

from streams.errors import BadInput
from tests.trainers.lora.tiny import SPECIAL, WORDS, tokenizer_of
from trainers.lora.tokens import Encoded, Tokens, padded

NAMES = (*SPECIAL, *WORDS)


def words(encoded: Encoded) -> str:
    return " ".join(NAMES[at] for at in encoded.ids)


def encode(goal: str, candidate: str, length: int, *, pairs: bool = True) -> Encoded:
    return Tokens(tokenizer_of(pairs=pairs), length).encode([(goal, candidate)])[0]


def test_goal_and_candidate_are_a_pair_of_texts() -> None:
    encoded = encode("move the cube", "good bowl", 16)
    assert words(encoded) == "[CLS] move the cube [SEP] good bowl [SEP]"
    assert encoded.type_ids == (0, 0, 0, 0, 0, 1, 1, 1)
    assert not encoded.goal_cut
    assert not encoded.candidate_cut


def test_what_is_too_long_is_cut_from_the_oldest_of_the_goal() -> None:
    encoded = encode("move the red cube slowly", "good bowl", 8)
    assert words(encoded) == "[CLS] red cube slowly [SEP] good bowl [SEP]"
    assert encoded.goal_cut
    assert not encoded.candidate_cut


def test_a_candidate_that_alone_is_too_long_loses_its_end_and_is_counted() -> None:
    encoded = encode("move", "a good red cube now", 6)
    assert words(encoded) == "[CLS] [SEP] a good red [SEP]"
    assert encoded.candidate_cut


def test_a_candidate_that_just_fits_is_whole() -> None:
    encoded = encode("move", "a good red", 6)
    assert words(encoded) == "[CLS] [SEP] a good red [SEP]"
    assert (encoded.goal_cut, encoded.candidate_cut) == (True, False)


def test_a_tokenizer_without_a_template_gets_candidate_behind_goal() -> None:
    assert words(encode("move the cube", "good", 3, pairs=False)) == "the cube good"


@pytest.mark.parametrize(
    ("goal", "candidate", "pairs", "before"),
    [
        ("move the cube", "good bowl", True, "[CLS] move the cube [SEP]"),
        ("", "good bowl", True, "[CLS] [SEP]"),
        ("move the cube", "good", False, "move the cube"),
        ("", "good", False, ""),
        ("move", "", True, "[CLS] move [SEP]"),
        ("move the", "", False, "move"),
    ],
)
def test_what_stands_before_the_candidate_is_the_goals_and_something_is_left(
    goal: str, candidate: str, pairs: bool, before: str
) -> None:
    encoded = encode(goal, candidate, 16, pairs=pairs)
    assert words(encoded).split()[: encoded.goal_tokens] == before.split()
    assert encoded.candidate_tokens == len(encoded.ids) - encoded.goal_tokens >= 1


def test_a_truncation_that_the_file_sets_does_not_count() -> None:
    tokenizer = tokenizer_of()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=30)
    encoded = Tokens(tokenizer, 16).encode([("move the cube", "good bowl")])[0]
    assert words(encoded) == "[CLS] move the cube [SEP] good bowl [SEP]"


def test_a_length_without_room_for_a_text_is_bad_input() -> None:
    with pytest.raises(BadInput, match="--length 4 leaves no room for a text"):
        Tokens(tokenizer_of(), 4)


def test_rows_are_filled_up_on_the_right() -> None:
    ids, mask, types = padded(
        [Encoded((5, 6, 7), (0, 1, 1), False, False, 1), Encoded((8,), (0,), False, False, 0)], 9
    )
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert types.tolist() == [[0, 1, 1], [0, 0, 0]]
