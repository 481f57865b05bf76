"""Which folders a demo may take."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import BadInput
from tests.tribrain.demo_files import write_summary
from tests.tribrain.test_report import people, voter
from tribrain.demo.replacing import check_may_replace, empty, is_demo


def test_a_demo_in_which_people_voted_is_replaced_only_if_that_is_asked_for(tmp_path: Path) -> None:
    empty(tmp_path)
    voted = people(voter("Ann", 3, None), voter("Bob", 1, None), voter("careful", 9, 0.05))
    write_summary(tmp_path, [], people=voted)
    with pytest.raises(
        BadInput, match=r"people voted \(4 votes of Ann, Bob\); choose another --out, or give --fresh"
    ):
        check_may_replace(tmp_path, fresh=False)
    check_may_replace(tmp_path, fresh=True)


@pytest.mark.parametrize(
    "voted", [None, people(), people(voter("Ann", 0, None)), people(voter("careful", 9, 0.05))]
)
def test_a_demo_in_which_no_person_voted_is_replaced(voted: object, tmp_path: Path) -> None:
    empty(tmp_path)
    write_summary(tmp_path, [], people=voted)
    check_may_replace(tmp_path, fresh=False)
    empty(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".tribrain-demo"]


def test_a_demo_that_was_killed_is_replaced(tmp_path: Path) -> None:
    empty(tmp_path)
    (tmp_path / "trainer.log").touch()
    check_may_replace(tmp_path, fresh=False)


def test_a_summary_that_is_damaged_may_tell_of_votes(tmp_path: Path) -> None:
    empty(tmp_path)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(BadInput, match=r"damaged.*nobody knows whether people voted.*--fresh"):
        check_may_replace(tmp_path, fresh=False)
    check_may_replace(tmp_path, fresh=True)


@pytest.mark.parametrize("fresh", [False, True])
def test_what_is_no_demo_is_never_replaced(fresh: bool, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert not is_demo(tmp_path)
    with pytest.raises(BadInput, match="files that are not of a demo"):
        check_may_replace(tmp_path, fresh=fresh)
    with pytest.raises(BadInput, match="is a file"):
        check_may_replace(tmp_path / "notes.txt", fresh=fresh)


def test_a_folder_that_is_empty_or_not_there_is_free(tmp_path: Path) -> None:
    check_may_replace(tmp_path, fresh=False)
    check_may_replace(tmp_path / "new", fresh=False)
