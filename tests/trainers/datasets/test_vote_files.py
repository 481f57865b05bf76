"""Votes in files: what is read, what is refused and kept, and that nothing is said twice."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from streams.errors import BadInput
from streams.messages.candidates import Place
from streams.messages.votes import Vote
from tests.factories import event
from tests.trainers.pairs.test_votes import vote
from trainers.datasets.preferences import content_id
from trainers.datasets.samples import Run
from trainers.datasets.vote_files import (
    VoteFile,
    as_csv,
    as_json_lines,
    read_csv,
    read_json_lines,
    read_label_studio,
)
from trainers.datasets.vote_import import KEY, VideoPlaces, new_votes, votes_on_unknown

NOWHERE: Mapping[str, Sequence[Place]] = {}


def annotation(number: int = 11, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "id": number,
        "completed_by": 3,
        "result": [{"from_name": "preference", "type": "choices", "value": {"choices": ["A"]}}],
        "was_cancelled": False,
        "created_at": "2026-11-29T10:00:00Z",
        "lead_time": 4.5,
    }
    return given | changes


def chosen(value: Any) -> list[dict[str, Any]]:
    return [{"from_name": "preference", "value": value}]


def tasks(*annotations: Any, **data: Any) -> bytes:
    places = {"a_run_id": "run-a", "a_iter_idx": 0, "b_run_id": "run-b", "b_iter_idx": 3}
    given = {"goal": "move it", "a": "aaa", "b": "bbb", "run_id": "run-a"} | (data or places)
    return orjson.dumps([{"id": 1, "data": given, "annotations": list(annotations)}])


def read(content: bytes, places: Mapping[str, Sequence[Place]] | None = None) -> VoteFile:
    known = places or NOWHERE
    return read_label_studio(content, "export.json", lambda video, _: known.get(video, []))


def test_an_annotation_of_label_studio_is_a_vote_on_the_two_candidates_that_its_task_names() -> None:
    found = read(tasks(annotation()))
    ((said),) = [statement.vote for statement in found.statements]
    assert (said.left, said.right, said.answer) == (("run-a", 0), ("run-b", 3), "left")
    assert (said.annotator, said.response_time_s, said.voted_at) == ("3", 4.5, "2026-11-29T10:00:00Z")


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ({"choices": ["B"]}, "right"),
        ({"choices": ["no difference"]}, "tie"),
        ({"selected": "left"}, "left"),
        ({"selected": "right"}, "right"),
    ],
)
def test_every_choice_has_its_answer(value: dict[str, Any], answer: str) -> None:
    (statement,) = read(tasks(annotation(result=chosen(value)))).statements
    assert statement.vote.answer == answer


@pytest.mark.parametrize(
    ("by", "annotator"),
    [(7, "7"), ({"id": 7, "email": "ann@lab"}, "ann@lab"), ({"id": 7}, "7"), (None, ""), (0, "0")],
)
def test_the_annotator_is_who_completed_the_annotation(by: Any, annotator: str) -> None:
    (statement,) = read(tasks(annotation(completed_by=by))).statements
    assert statement.vote.annotator == annotator


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"result": []}, "nothing was chosen"),
        ({"result": None}, "nothing was chosen"),
        ({"result": chosen({"choices": ["C"]})}, "the choice is ['C']"),
        ({"result": chosen({"choices": ["A", "B"]})}, "the choice is ['A', 'B']"),
        ({"result": chosen({"selected": None})}, "the selected side is None"),
    ],
)
def test_what_says_nothing_is_told_with_its_reason_and_kept(changes: dict[str, Any], reason: str) -> None:
    found = read(tasks(annotation(12), annotation(13, **changes)))
    assert len(found.statements) == 1
    (unusable,) = found.unusable
    assert unusable.place == "export.json: task 1, annotation 13"
    assert unusable.reason.startswith(reason)
    assert [kept["id"] for kept in unusable.original["annotations"]] == [13]


def test_a_cancelled_annotation_is_skipped_and_counted() -> None:
    found = read(tasks(annotation(was_cancelled=True)))
    assert (found.statements, found.unusable, found.skipped) == ([], [], 1)


def test_a_task_of_an_older_export_is_matched_by_the_content_of_its_videos() -> None:
    known = {"aaa": [("run-a", 1)], "bbb": [("run-a", 2)]}
    (statement,) = read(tasks(annotation(), run_id="run-a"), known).statements
    assert (statement.vote.left, statement.vote.right) == (("run-a", 1), ("run-a", 2))
    (unusable,) = read(tasks(annotation(), run_id="run-a")).unusable
    assert unusable.reason.startswith("video 'aaa' belongs to no known run; give --runs")
    known["bbb"] = [("run-c", 2), ("run-d", 2)]
    (unusable,) = read(tasks(annotation(), run_id="run-a"), known).unusable
    assert unusable.reason.startswith("video 'bbb' matches 2 candidates")


def test_a_video_is_found_by_its_content_and_that_of_the_named_run_is_preferred(tmp_path: Path) -> None:
    runs = []
    for name in ("run-a", "run-b"):
        (tmp_path / name / "iter_00").mkdir(parents=True)
        (tmp_path / name / "iter_00" / "video.mp4").write_bytes(b"the same video")
        runs.append(Run(folder=tmp_path / name, run_id=name, events=(event(0, 0.5, run_id=name),)))
    video = content_id(tmp_path / "run-a" / "iter_00" / "video.mp4")
    places = VideoPlaces(runs)
    assert places(video, "run-b") == [("run-b", 0)]
    assert places(video, "") == [("run-a", 0), ("run-b", 0)]
    assert places("another", "run-a") == []


@pytest.mark.parametrize("content", [b"{", b'{"id": 1}', b"[1]", b'[{"goal": "flat", "preference": "A"}]'])
def test_what_is_no_export_of_label_studio_is_bad_input(content: bytes) -> None:
    with pytest.raises(BadInput, match="export the project as JSON"):
        read(content)


VOTES = [
    vote(annotator="ann", dimension="physics", rule="random", probability=0.25, plays_left=2),
    vote(vote_id="v2", answer=None, takes_back="v1", meta={"mood": "ca,lm\n", "n": 1}),
    vote(vote_id="v3", answer="tie", response_time_s=0.5, page="p", voted_at="2026-11-29T10:00:00Z"),
]


def test_votes_are_read_from_each_format_as_they_were_written() -> None:
    of_lines = read_json_lines(as_json_lines(VOTES), "votes.jsonl")
    of_csv = read_csv(as_csv(VOTES), "votes.csv")
    for found in (of_lines, of_csv):
        assert new_votes(found.statements, []) == VOTES
        assert found.unusable == []


def test_a_row_needs_no_more_than_two_candidates_and_an_answer_and_keeps_further_columns() -> None:
    rows = b"left_run_id,left_iter_idx,right_run_id,right_iter_idx,answer,mood\nrun-a,0,run-b,3,right,calm\n"
    (statement,) = read_csv(rows, "votes.csv").statements
    assert (statement.vote.right, statement.vote.answer) == (("run-b", 3), "right")
    assert statement.vote.meta == {"mood": "calm"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("run-a,0,run-b,3", "has another number of cells"),
        ("run-a,0,run-b,3,left,more", "has another number of cells"),
        ("run-a,zero,run-b,3,left", "left_iter_idx: expected a number, found 'zero'"),
        ("run-a,0,run-a,0,left", "left and right are both iteration 0"),
        (
            "run-a,0,run-b,3,middle",
            "answer: expected one of left, right, tie, both_bad, cannot_tell; found 'middle'",
        ),
        (
            "run-a,0,run-b,3,Left",
            "answer: expected one of left, right, tie, both_bad, cannot_tell; found 'Left': did",
        ),
        ("run-a,0,run-b,3,", "answer is null"),
        (",0,run-b,3,left", "a required field is missing: `left_run_id`"),
    ],
)
def test_a_row_that_is_no_vote_is_told_with_its_line(row: str, reason: str) -> None:
    head = "left_run_id,left_iter_idx,right_run_id,right_iter_idx,answer\n"
    found = read_csv(f"{head}run-a,0,run-b,1,left\n{row}\n".encode(), "votes.csv")
    assert len(found.statements) == 1
    (unusable,) = found.unusable
    assert unusable.place == "votes.csv@line 3"
    assert reason in unusable.reason


def test_a_csv_without_a_column_that_a_vote_needs_is_bad_input() -> None:
    with pytest.raises(BadInput, match="lacks the columns right_run_id, right_iter_idx, answer"):
        read_csv(b"left_run_id,left_iter_idx\n", "votes.csv")


@pytest.mark.parametrize("name", ["answer", "note", ""])
def test_a_csv_with_a_column_twice_is_refused(name: str) -> None:
    head = f"left_run_id,left_iter_idx,right_run_id,right_iter_idx,answer,{name},annotator,{name}\n"
    with pytest.raises(
        BadInput, match=rf"votes\.csv: the first line has '{name}' twice; expected each column"
    ):
        read_csv(f"{head}run-a,0,run-b,1,left,left,ann,right\n".encode(), "votes.csv")


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ('"{""a"":1,""a"":2}"', "meta: 'a' appears twice; expected each name once in an object"),
        ("[1]", "meta: expected a JSON object, found [1]"),
        ("null", "meta: expected a JSON object, found None"),
    ],
)
def test_a_meta_cell_that_is_no_plain_object_makes_its_vote_unusable(cell: str, why: str) -> None:
    head = "left_run_id,left_iter_idx,right_run_id,right_iter_idx,answer,meta\n"
    found = read_csv(f"{head}run-a,0,run-b,1,left,{cell}\n".encode(), "votes.csv")
    assert [each.reason for each in found.unusable] == [why]


def test_an_export_of_label_studio_with_a_name_twice_is_refused() -> None:
    with pytest.raises(BadInput, match=r"export\.json: 'id' appears twice"):
        read_label_studio(b'[{"id": 1, "id": 2, "annotations": []}]', "export.json", lambda *_: [])


def lines(*rows: dict[str, Any]) -> VoteFile:
    given = {"left_run_id": "run-a", "left_iter_idx": 0, "right_run_id": "run-b", "right_iter_idx": 3}
    return read_json_lines(b"".join(orjson.dumps(given | row) + b"\n" for row in rows), "votes.jsonl")


def said(votes: Sequence[Vote]) -> list[tuple[str | None, bool]]:
    """Answers, and whether each takes back the one before it."""
    befores = ["", *(vote.vote_id for vote in votes)]
    return [
        (vote.answer, vote.takes_back == before != "") for vote, before in zip(votes, befores, strict=False)
    ]


ANN_LEFT, ANN_RIGHT = {"annotator": "ann", "answer": "left"}, {"annotator": "ann", "answer": "right"}


def test_a_file_that_is_imported_again_says_nothing_new() -> None:
    for rows in ([ANN_LEFT], [ANN_LEFT, ANN_RIGHT], [{"answer": "left"}, {"answer": "left"}]):
        first = new_votes(lines(*rows).statements, [])
        assert len(first) == len(rows)
        assert new_votes(lines(*rows).statements, first) == []
        assert new_votes(lines(*rows[:1]).statements, first) == [], "an earlier state of the file"


def test_who_says_something_else_later_takes_back_what_was_said_before() -> None:
    assert said(new_votes(lines(ANN_LEFT, ANN_RIGHT).statements, [])) == [("left", False), ("right", True)]
    first = new_votes(lines(ANN_LEFT).statements, [])
    (corrected,) = new_votes(lines(ANN_RIGHT).statements, first)
    assert corrected.takes_back == first[0].vote_id
    assert new_votes(lines(ANN_RIGHT).statements, [*first, corrected]) == []


SWAPPED = {"left_run_id": "run-b", "left_iter_idx": 3, "right_run_id": "run-a", "right_iter_idx": 0}


@pytest.mark.parametrize("first", [ANN_LEFT, ANN_RIGHT])
@pytest.mark.parametrize("swapped", [{}, SWAPPED])
def test_who_prefers_the_other_one_later_takes_that_back_whichever_side_it_was_on(
    first: dict[str, Any], swapped: dict[str, Any]
) -> None:
    """The same side of swapped candidates is the other candidate."""
    rows = [first | swapped, first | ({} if swapped else SWAPPED)]
    votes = new_votes(lines(*rows).statements, [])
    assert said(votes) == [(first["answer"], False), (first["answer"], True)]
    assert new_votes(lines(*rows).statements, votes) == []


def test_the_same_preference_with_the_sides_swapped_is_one_vote_of_a_person_and_two_of_nobody_named() -> None:
    assert len(new_votes(lines(ANN_LEFT, ANN_RIGHT | SWAPPED).statements, [])) == 1
    assert len(new_votes(lines({"answer": "left"}, {"answer": "right"} | SWAPPED).statements, [])) == 2


def test_a_tie_with_the_sides_swapped_is_the_same_tie() -> None:
    tie = {"annotator": "ann", "answer": "tie"}
    assert len(new_votes(lines(tie, tie | SWAPPED).statements, [])) == 1


def test_what_an_earlier_version_imported_with_the_sides_swapped_is_known() -> None:
    (statement,) = lines(ANN_LEFT | SWAPPED).statements
    vote = replace(statement.vote, vote_id="v")
    key = "\0".join(["row", "ann", "run-b", "3", "run-a", "0", "", ""])
    known = replace(vote, meta={KEY: hashlib.sha256(key.encode()).hexdigest()[:32]})
    assert new_votes(lines(ANN_LEFT | SWAPPED).statements, [known]) == []
    (corrected,) = new_votes(lines(ANN_RIGHT | SWAPPED).statements, [known])
    assert corrected.takes_back == "v"


def test_the_same_answer_twice_in_a_row_of_one_person_is_one_vote_and_of_nobody_named_two() -> None:
    assert len(new_votes(lines(ANN_LEFT, ANN_LEFT).statements, [])) == 1
    assert len(new_votes(lines({"answer": "left"}, {"answer": "left"}).statements, [])) == 2


def test_a_changed_annotation_takes_the_place_of_what_it_was() -> None:
    before = new_votes(read(tasks(annotation())).statements, [])
    changed = annotation(result=chosen({"choices": ["B"]}))
    (after,) = new_votes(read(tasks(changed)).statements, before)
    assert (after.answer, after.takes_back) == ("right", before[0].vote_id)


def test_an_id_that_a_file_gives_is_the_vote_s_and_counts_once() -> None:
    twice = [replace(VOTES[0]), VOTES[0]]
    assert new_votes(read_json_lines(as_json_lines(twice), "votes.jsonl").statements, []) == VOTES[:1]
    assert new_votes(read_json_lines(as_json_lines(VOTES), "votes.jsonl").statements, VOTES[:2]) == VOTES[2:]


def test_a_vote_counts_for_each_candidate_that_is_not_known_and_for_none_that_is() -> None:
    both, one, none = vote(), vote(right_run_id="run-a"), vote(left_iter_idx=1, right_run_id="run-a")
    unknown = votes_on_unknown([both, one, none], {("run-a", 1), ("run-a", 3)})
    assert unknown == {("run-a", 0): [both, one], ("run-b", 3): [both]}
