from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.errors import BadInput
from streams.messages.codec import encode
from streams.messages.contracts import PreferencePair
from trainers.pairs.comparisons import comparison, pairs_from_table

Row = dict[str, Any]


def row(
    task: str, left: float | None, right: float, winner: str, annotator: str | None, weight: float
) -> Row:
    return {
        "task": task,
        "left_sharp": left,
        "right_sharp": right,
        "winner": winner,
        "annotator": annotator,
        "weight": weight,
    }


ROWS = [
    row("tea", 0.9, 0.4, "left", "ann", 1.0),
    row("tea", 0.3, 0.7, "right", None, 0.0),
    row("cup", None, 0.5, "tie", "bob", 2.5),
]


def _columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _pandas(rows: Sequence[Row]) -> Any:
    return pytest.importorskip("pandas", reason="make lora installs it").DataFrame(_columns(rows))


def _pandas_of_nullable_types(rows: Sequence[Row]) -> Any:
    return _pandas(rows).convert_dtypes()


def _polars(rows: Sequence[Row]) -> Any:
    return pytest.importorskip("polars", reason="make lora installs it").DataFrame(_columns(rows))


def _pyarrow(rows: Sequence[Row]) -> Any:
    return pytest.importorskip("pyarrow", reason="make lora installs it").table(_columns(rows))


def _tuple(rows: Sequence[Row]) -> Any:
    return tuple(rows)


DATAFRAMES = [_pandas, _pandas_of_nullable_types, _polars, _pyarrow]
of_every_kind = pytest.mark.parametrize("table", [_tuple, *DATAFRAMES], ids=lambda make: make.__name__[1:])


def one(**changes: Any) -> list[Row]:
    """A table of one row; a change to ... leaves the column out."""
    row = {"task": "tea", "left_sharp": 0.9, "right_sharp": 0.4, "winner": "left"} | changes
    return [{name: value for name, value in row.items() if value is not ...}]


def pair_of(**changes: Any) -> PreferencePair:
    (pair,) = pairs_from_table(one(**changes))
    return pair


@of_every_kind
def test_a_table_of_any_kind_gives_the_same_pairs(table: Callable[[Sequence[Row]], Any]) -> None:
    assert pairs_from_table(table(ROWS)) == [
        comparison({"sharp": 0.9}, {"sharp": 0.4}, "left", task="tea", annotator="ann"),
        comparison({"sharp": 0.3}, {"sharp": 0.7}, "right", task="tea", weight=0.0),
        comparison({"sharp": None}, {"sharp": 0.5}, "tie", task="cup", annotator="bob", weight=2.5),
    ]


def test_the_chosen_side_is_the_winner_s() -> None:
    pair = pair_of(winner="right")
    assert (pair.chosen_critics, pair.rejected_critics, pair.tie) == ({"sharp": 0.4}, {"sharp": 0.9}, False)


def test_sides_that_change_places_give_the_same_pair() -> None:
    turned = pair_of(left_sharp=0.4, right_sharp=0.9, winner="right")
    assert turned == pair_of(left_sharp=0.9, right_sharp=0.4, winner="left")


def test_a_tie_is_a_tie() -> None:
    assert pair_of(winner="tie").tie


def test_every_pair_can_be_written_and_is_for_the_model_that_was_named() -> None:
    (pair,) = pairs_from_table(one(), model="mine")
    assert b'"model":"mine"' in encode(pair)


def test_all_optional_columns_are_read() -> None:
    pair = pair_of(annotator="ann", weight=3, dimension="physics", label_source="outcome", id="vote-1")
    assert (pair.meta, pair.weight, pair.dimension, pair.label_source, pair.pair_id) == (
        {"annotator": "ann"}, 3.0, "physics", "outcome", "vote-1",
    )  # fmt: skip


@pytest.mark.parametrize("missing", [None, math.nan])
def test_what_is_missing_of_an_optional_column_is_as_if_it_were_not_there(missing: float | None) -> None:
    assert pair_of(annotator=missing, dimension=missing, label_source=missing) == pair_of()


def test_who_judged_by_proxy_is_a_judge() -> None:
    assert pair_of(label_source="proxy", annotator="vlm").meta == {"judge": "vlm"}


@pytest.mark.parametrize("missing", [None, math.nan, np.float32("nan")])
def test_a_score_that_is_null_or_nan_is_missing(missing: Any) -> None:
    assert pair_of(left_sharp=missing).chosen_critics == {"sharp": None}


@pytest.mark.parametrize("zero", [0, 0.0, np.int64(0), np.float32(0)])
def test_a_score_of_zero_is_a_score(zero: Any) -> None:
    assert pair_of(left_sharp=zero).chosen_critics == {"sharp": 0.0}


@pytest.mark.parametrize(
    ("given", "called"), [(7, "7"), (0, "0"), (7.0, "7"), (np.int64(7), "7"), ("7", "7")]
)
def test_a_whole_number_names_a_task_or_an_annotator_as_its_text_does(given: Any, called: str) -> None:
    pair = pair_of(task=given, annotator=given)
    assert (pair.task_id, pair.meta["annotator"]) == (called, called)


def test_a_number_of_pandas_that_became_floating_point_beside_a_missing_one_names_the_same() -> None:
    rows = [*one(annotator=7), *one(annotator=None)]
    assert [pair.meta for pair in pairs_from_table(_pandas(rows))] == [{"annotator": "7"}, {}]


def test_the_same_row_twice_counts_twice_and_with_an_id_is_refused() -> None:
    assert len(pairs_from_table(one() * 2)) == 2
    with pytest.raises(BadInput, match=r"^row 1: id: 'a' is that of row 0; expected each once$"):
        pairs_from_table(one(id="a") * 2)


def test_a_row_of_a_mapping_without_a_key_lacks_its_value() -> None:
    rows = [*one(left_calm=0.1, right_calm=0.2), *one()]
    assert pairs_from_table(rows)[1].chosen_critics == {"sharp": 0.9, "calm": None}


def test_columns_to_ignore_are_not_read() -> None:
    assert pairs_from_table(one(when="today", left_x="no score"), ignore=["when", "left_x"]) == [pair_of()]


def test_a_critic_may_have_any_name() -> None:
    pair = pair_of(**{"left_det.AP@IoU=0.5": 0.5, "right_det.AP@IoU=0.5": 0.6})
    assert pair.chosen_critics == {"sharp": 0.9, "det.AP@IoU=0.5": 0.5}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": None}, "row 0: task is missing; expected what both candidates were made for"),
        ({"task": ""}, "row 0: task is missing"),
        ({"task": math.nan}, "row 0: task is missing"),
        ({"task": 1.5}, "row 0: task: found 1.5; expected a text or a whole number"),
        ({"task": True}, "row 0: task: found True; expected a text or a whole number"),
        ({"task": "x" * 513}, "row 0: task_id: Expected `str` of length <= 512"),
        ({"task": "\ud800"}, "row 0: "),
        ({"winner": None}, "row 0: winner: found None; expected 'left', 'right' or 'tie'"),
        ({"winner": "Left"}, "row 0: winner: found 'Left'; expected 'left', 'right' or 'tie'"),
        ({"winner": "Left"}, "expected 'left', 'right' or 'tie': did you mean 'left'?"),
        ({"winner": " left"}, "expected 'left', 'right' or 'tie': did you mean 'left'?"),
        ({"winner": "A"}, "expected 'left', 'right' or 'tie': did you mean 'left'?"),
        ({"winner": ""}, "row 0: winner: found ''; expected 'left', 'right' or 'tie'"),
        ({"winner": 1}, "row 0: winner: found 1; expected 'left', 'right' or 'tie'"),
        ({"left_sharp": "0.9"}, "row 0: left_sharp: found '0.9'; expected a number"),
        ({"left_sharp": True}, "row 0: left_sharp: found True; expected a number"),
        ({"right_sharp": math.inf}, "row 0: right_sharp: found inf; expected a number from -1e+06 to 1e+06"),
        ({"right_sharp": 2e6}, "row 0: right_sharp: found 2000000.0; expected a number from -1e+06 to 1e+06"),
        ({"right_sharp": [0.4]}, "row 0: right_sharp: found [0.4]; expected a number"),
        ({"weight": None}, "row 0: weight: found None; expected a number from 0 to 1000"),
        ({"weight": math.nan}, "row 0: weight: found nan; expected a number from 0 to 1000"),
        ({"weight": -1}, "row 0: weight: found -1; expected a number from 0 to 1000"),
        ({"weight": 1001}, "row 0: weight: found 1001; expected a number from 0 to 1000"),
        ({"annotator": 1.5}, "row 0: annotator: found 1.5; expected a text or a whole number"),
        ({"dimension": 1.5}, "row 0: dimension: found 1.5; expected a text or a whole number"),
        ({"label_source": "me"}, "row 0: label_source: found 'me'; expected 'critic', 'proxy'"),
        ({"id": None}, "row 0: id is missing; expected one for every row: leave out the column"),
        ({"winner": ...}, "the table has no column 'winner'; expected a row for each comparison"),
        ({"task": ...}, "the table has no column 'task'; expected a row for each comparison"),
        ({"right_sharp": ...}, "the table has a column 'left_sharp' and no 'right_sharp'; expected"),
        ({"winner": ..., "Winner": "left", "when": 1}, "did you mean 'Winner'? Rename it"),
        ({"task": ..., "prompt": "tea"}, "rename the column that holds it (one of 'prompt'), or add it"),
        ({"left_sharp": ..., "lft_sharp": 0.9}, "both sides' scores: did you mean 'lft_sharp'?"),
        ({"left_sharp": ..., "left_shrap": 0.9}, "both sides' scores: did you mean 'left_shrap'?"),
        ({"Annotator": "ann"}, "did you mean 'annotator'? Else drop it, or name it in ignore"),
        ({"left_": 1}, "the table has a column 'left_'; expected 'task', 'winner'"),
        ({"anotator": "ann"}, "did you mean 'annotator'? Else drop it, or name it in ignore"),
        ({"when": "today"}, "the table has a column 'when'; expected 'task', 'winner'"),
        ({"left_sharp": ..., "right_sharp": ...}, "the table has no critics' scores, so"),
    ],
)  # fmt: skip
def test_an_error_says_where_what_was_found_and_what_is_needed(changes: Row, said: str) -> None:
    with pytest.raises(BadInput) as refusal:
        pairs_from_table(one(**changes))
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


CELLS = (
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.sampled_from(
        [10**400, -(10**400), Fraction(1, 3), Decimal("0.5"), np.float32("inf"), b"tea", (), {}]
    )
    | st.text(max_size=3)
    | st.sampled_from(["left", "right", "tie", "human", "\ud800"])
)
TABLES = st.lists(
    st.dictionaries(
        st.sampled_from(
            ["task", "winner", "left_a", "right_a", "annotator", "weight", "dimension", "id", "label_source"]
        ),
        CELLS,
    ),
    max_size=3,
)


@settings(max_examples=300, deadline=None)
@given(TABLES, st.booleans())
@example([{"task": 1, "winner": "left", "left_a": 10**400, "right_a": 0.0}], False)
def test_any_table_gives_pairs_that_can_be_written_or_is_refused_in_a_line(
    rows: list[Row], fill: bool
) -> None:
    valid = {"task": 1, "winner": "left", "left_a": 1.0, "right_a": 0.0}
    said = ""
    try:
        pairs = pairs_from_table([valid | row for row in rows] if fill else rows)
    except BadInput as error:
        said = str(error)
    assert bool(said) or (len(pairs) == len(rows) and all(map(encode, pairs)))
    assert "\n" not in said


def test_a_text_in_a_column_of_scores_is_refused_with_its_row_and_how_to_convert() -> None:
    with pytest.raises(BadInput) as refusal:
        pairs_from_table([*one(), *one(left_sharp="n/a")])
    said = str(refusal.value)
    assert said.startswith(
        "row 1: left_sharp: found 'n/a'; expected a number, or an empty cell (null or NaN)"
    )
    assert "pandas.to_numeric" in said
    assert said.endswith("rows count from 0, so row 3 is the 4th")


def test_a_misspelt_column_that_comes_first_is_asked_about_by_the_name_it_should_have() -> None:
    rows = [{"lft_sharp": 0.9, **one(left_sharp=...)[0]}]
    with pytest.raises(BadInput, match=r"a column 'lft_sharp'; expected .*: did you mean 'left_sharp'\?"):
        pairs_from_table(rows)


def test_an_error_names_the_row_by_its_position() -> None:
    with pytest.raises(BadInput, match=r"^row 2: winner: found 'b'"):
        pairs_from_table([*one(), *one(), *one(winner="b")])


@pytest.mark.parametrize("dataframe", DATAFRAMES, ids=lambda make: make.__name__[1:])
def test_a_dataframe_without_rows_says_so(dataframe: Callable[[Sequence[Row]], Any]) -> None:
    table = dataframe(ROWS)
    with pytest.raises(BadInput, match=r"^the table has no rows; expected a row for each comparison"):
        pairs_from_table(table[:0] if not hasattr(table, "slice") else table.slice(0, 0))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "the table has no rows"),
        ([{}], "the table has no column 'task'"),
        ([one()[0], "task"], "row 1: found 'task'; expected a mapping from column to value"),
        ([{1: 2} | one()[0]], "a column is called 1; expected a text: rename it"),
        ({"task": ["a"]}, "found a dict; expected a dataframe"),
        ("pairs.csv", "found a str; expected a dataframe"),
        (None, "found a NoneType; expected a dataframe"),
        (np.zeros((2, 2)), "found a numpy.ndarray; expected a dataframe"),
    ],
    ids=str,
)
def test_what_is_no_table_is_refused(given: Any, said: str) -> None:
    with pytest.raises(BadInput) as refusal:
        pairs_from_table(given)
    assert said in str(refusal.value)


def test_a_lazy_frame_is_to_be_collected_first() -> None:
    with pytest.raises(BadInput, match="of Polars an eager one: collect it first"):
        pairs_from_table(_polars(ROWS).lazy())


def test_a_column_that_is_there_twice_is_refused() -> None:
    pandas = pytest.importorskip("pandas", reason="make lora installs it")
    twice = pandas.DataFrame([["a", "b"]], columns=["task", "task"])
    said = "^2 columns are called 'task'; expected names that differ: rename or drop all but one$"
    with pytest.raises(BadInput, match=said):
        pairs_from_table(twice)
    pyarrow = pytest.importorskip("pyarrow", reason="make lora installs it")
    with pytest.raises(BadInput, match=said):
        pairs_from_table(pyarrow.table([["a"], ["b"]], names=["task", "task"]))


@pytest.mark.parametrize(
    ("ignore", "said"),
    [
        ("when", "ignore is the text 'when'; expected a list of columns"),
        (["wen"], "the table has no column 'wen' to ignore; it has 'task'"),
        (["task", "when"], "the table has no column 'task'"),
        (["left_sharp", "when"], "the table has a column 'right_sharp' and no 'left_sharp'"),
    ],
)
def test_what_cannot_be_ignored_is_refused(ignore: Any, said: str) -> None:
    with pytest.raises(BadInput) as refusal:
        pairs_from_table(one(when=1), ignore=ignore)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"winner": "a"}, "the comparison: winner: found 'a'; expected 'left', 'right' or 'tie'"),
        ({"task": ""}, "the comparison: task is missing"),
        ({"weight": -1.0}, "the comparison: weight: found -1.0; expected a number from 0 to 1000"),
        ({"left": {"sharp": "high"}}, "the comparison: left_sharp: found 'high'; expected a number"),
        ({"left": {"x" * 514: 0.5}}, "the comparison: chosen_critics"),
        ({"left": 0.5}, "the comparison: left: found 0.5; expected a mapping from critic to score"),
        ({"left": {1: 0.5}}, "the comparison: left: a critic is called 1; expected a text"),
        ({"model": "x" * 513}, "the comparison: model: Expected `str` of length <= 512"),
    ],
)
def test_a_single_comparison_is_checked_as_a_row_is(changes: Row, said: str) -> None:
    given: Mapping[str, Any] = {
        "left": {"sharp": 0.9},
        "right": {"sharp": 0.4},
        "winner": "left",
        "task": "tea",
    }
    with pytest.raises(BadInput) as refusal:
        comparison(**{**given, **changes})
    assert said in str(refusal.value)
