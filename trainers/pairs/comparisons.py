"""Pairs from people's comparisons of two candidates: one at a time, or a table with a row for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

import orjson

from streams.errors import BadInput
from streams.messages.codec import decode_pair
from streams.messages.contracts import LabelSource, PreferencePair
from streams.messages.limits import MAX_WEIGHT
from streams.messages.refusals import ContractError, nearest, shown
from trainers.pairs.table import Table, TableLike, name, number, score

Winner = Literal["left", "right", "tie"]
"""Which side is better; a tie is the statement that neither is."""
_OTHER_WORDS: Mapping[str, Winner] = {"a": "left", "b": "right", "l": "left", "r": "right", "draw": "tie"}

_LEFT, _RIGHT = "left_", "right_"
_REQUIRED = ("task", "winner")
_OPTIONAL = ("annotator", "weight", "dimension", "label_source", "id")
_NAMED = (*_REQUIRED, *_OPTIONAL)
_EXPECTED = "a row for each comparison, with task, winner, and each critic's left_NAME and right_NAME"


def comparison(
    left: Mapping[str, float | None],
    right: Mapping[str, float | None],
    winner: Winner,
    *,
    task: str | int,
    annotator: str | int = "",
    weight: float = 1.0,
    dimension: str = "",
    label_source: LabelSource = "human",
    pair_id: str = "",
    model: str = "default",
) -> PreferencePair:
    """One statement on two candidates, given by their critics' scores, as a pair to learn from.

    - ``left``: critic to score of one side, in the critic's own unit, higher is better; None where it gave
      none
    - ``right``: the same of the other side
    - ``winner``: the side that is better, or ``tie``
    - ``task``: what both were made for; statements on one task are not independent evidence
    - ``annotator``: who says so; empty where nobody knows
    - ``weight``: what the statement counts beside others, from 0 to 1000
    - ``dimension``: what is judged (``physics``, …); empty for the whole
    - ``label_source``: whether a person, a validator, a judge or the critics say so
    - ``pair_id``: a name that no other pair has, so that it counts once; by default one of its own
    - ``model``: the name of the reward model that it is for

    Raises BadInput, which names the argument, for a score that is no finite number, an empty task, and any
    value that is not as above.

    >>> from tribrain import comparison
    >>> pair = comparison({"sharp": 0.9}, {"sharp": 0.4}, "right", task="pour the tea")
    >>> pair.chosen_critics, pair.rejected_critics
    ({'sharp': 0.4}, {'sharp': 0.9})
    """
    said = {
        "task": task,
        "winner": winner,
        "annotator": annotator,
        "weight": weight,
        "dimension": dimension,
        "label_source": label_source,
        "id": pair_id,
    }
    return _pair(said, left, right, model, "the comparison: ")


def pairs_from_table(
    table: TableLike, *, model: str = "default", ignore: Collection[str] = ()
) -> list[PreferencePair]:
    """The pairs of a table of comparisons, in its order, for the reward model with the name ``model``.

    ``table`` is a dataframe (pandas, Polars, PyArrow, …) or a sequence of mappings, with these columns:

    - ``task``: what both candidates were made for, a text or whole number. Statements on one task are not
      independent evidence; where every row stands for itself, number the rows;
    - ``winner``: ``left``, ``right`` or ``tie``;
    - ``left_NAME`` and ``right_NAME`` for every critic: its score of either side, higher is better, at best
      within [0, 1] (on a much wider scale some differences are too far off to be learnt, which the reward's
      statement counts); missing (null or NaN) where it gave none;
    - ``annotator``, where there is one: who says so, a text or whole number; missing where nobody knows. With
      several, what a label of each counts is learnt;
    - ``weight``, where there is one: what the row counts beside others, 0 or more; 1 by default;
    - ``dimension``, where there is one: what is judged (``physics``, …); missing for the whole;
    - ``label_source``, where there is one: ``human`` (the default), ``outcome``, ``proxy`` or ``critic``;
    - ``id``, where there is one: a name that no other row has. Without, the same row twice counts twice.

    Any other column is refused, unless ``ignore`` names it. Raises BadInput, which says the row (counted from
    0) and the column, what was found and what is needed.

    >>> from tribrain import pairs_from_table
    >>> rows = [
    ...     {"task": "tea", "left_sharp": 0.9, "right_sharp": 0.4, "winner": "left"},
    ...     {"task": "cup", "left_sharp": 0.2, "right_sharp": None, "winner": "tie", "annotator": 7},
    ... ]
    >>> [(pair.task_id, pair.tie, pair.meta) for pair in pairs_from_table(rows)]
    [('tea', False, {}), ('cup', True, {'annotator': '7'})]
    """
    if isinstance(ignore, str):
        raise BadInput(f"ignore is the text {shown(ignore)}; expected a list of columns")
    read = Table.read(table, _EXPECTED)
    critics = _critics(read.columns, ignore)
    read.refuse_texts(side + critic for critic in critics for side in (_LEFT, _RIGHT))
    pairs, ids = [], dict[str, int]()
    for at, row in enumerate(read.rows):
        said = {column: row[column] for column in _NAMED if column in row}
        left, right = ({critic: row[side + critic] for critic in critics} for side in (_LEFT, _RIGHT))
        pair = _pair(said, left, right, model, f"row {at}: ")
        if pair.pair_id:
            if (before := ids.setdefault(pair.pair_id, at)) != at:
                raise BadInput(
                    f"row {at}: id: {shown(pair.pair_id)} is that of row {before}; expected each once"
                )
        elif "id" in said:
            raise BadInput(f"row {at}: id is missing; expected one for every row: leave out the column")
        pairs.append(pair)
    return pairs


def _critics(columns: Collection[str], ignore: Collection[str]) -> list[str]:
    """The critics' names. Raises BadInput for a column that is missing or unknown."""
    if absent := [column for column in ignore if column not in columns]:
        raise BadInput(f"the table has no column {shown(absent[0])} to ignore; it has {_listed(columns)}")
    used = [column for column in columns if column not in ignore]
    unknown = [column for column in used if column not in _NAMED and _side_of(column) is None]
    for column in _REQUIRED:
        if column not in used:
            raise BadInput(
                f"the table has no column {column!r}; expected {_EXPECTED}: {_instead(column, unknown)}"
            )
    lone = [column for column in used if (other := _other_side(column)) and other not in used]
    critics: dict[str, None] = {}
    for column in used:
        if column in _NAMED:
            continue
        side = _side_of(column)
        if side is None:
            close = nearest(column, (*_NAMED, *map(_other_side, lone)))
            hint = f"did you mean {shown(close)}? Else drop it" if close else "drop it"
            raise BadInput(
                f"the table has a column {shown(column)}; expected {_listed(_NAMED)} and critics' left_NAME "
                f"and right_NAME: {hint}, or name it in ignore"
            )
        if column in lone:
            other = _other_side(column)
            beside = [each for each in (*unknown, *lone) if _side_of(each) != side]
            close = nearest(other, beside)
            hint = f": did you mean {shown(close)}? Name both sides alike" if close else ""
            raise BadInput(
                f"the table has a column {shown(column)} and no {shown(other)}; expected both sides' scores"
                f"{hint}"
            )
        critics[column.removeprefix(side)] = None
    if not critics:
        raise BadInput(
            f"the table has no critics' scores, so there is nothing to learn from; expected {_EXPECTED}"
        )
    return list(critics)


def _side_of(column: str) -> str | None:
    return next((side for side in (_LEFT, _RIGHT) if column.startswith(side) and column != side), None)


def _other_side(column: str) -> str:
    """The name of the same critic's other column; empty if the column is no critic's."""
    side = _side_of(column)
    return "" if side is None else (_RIGHT if side == _LEFT else _LEFT) + column.removeprefix(side)


def _instead(column: str, unknown: Collection[str]) -> str:
    """Advice on a missing column, from the unknown columns."""
    if close := nearest(column, unknown):
        return f"did you mean {shown(close)}? Rename it"
    if unknown:
        return f"rename the column that holds it (one of {', '.join(map(shown, unknown))}), or add it"
    return "add it"


def _pair(
    said: Mapping[str, object],
    left: Mapping[str, object],
    right: Mapping[str, object],
    model: str,
    where: str,
) -> PreferencePair:
    task = name(said["task"], f"{where}task")
    if not task:
        raise BadInput(
            f"{where}task is missing; expected what both candidates were made for: number the rows where "
            "each is a task of its own"
        )
    if said["winner"] not in get_args(Winner):
        raise BadInput(
            f"{where}winner: found {shown(said['winner'])}; expected 'left', 'right' or 'tie'"
            f"{_meant_winner(said['winner'])}"
        )
    source = name(said.get("label_source", "human"), f"{where}label_source") or "human"
    if source not in get_args(LabelSource):
        raise BadInput(
            f"{where}label_source: found {shown(source)}; expected {_listed(get_args(LabelSource))}"
        )
    who = name(said.get("annotator"), f"{where}annotator")
    sides = [_scores(given, side, where) for side, given in ((_LEFT, left), (_RIGHT, right))]
    if said["winner"] == "right":
        sides.reverse()
    pair: dict[str, Any] = {
        "schema": PreferencePair.SCHEMA,
        "pair_id": name(said.get("id"), f"{where}id"),
        "task_id": task,
        "model": model,
        "label_source": source,
        "dimension": name(said.get("dimension"), f"{where}dimension"),
        "weight": number(said.get("weight", 1.0), f"{where}weight", 0.0, MAX_WEIGHT),
        "tie": said["winner"] == "tie",
        "chosen_critics": sides[0],
        "rejected_critics": sides[1],
        "meta": {("judge" if source == "proxy" else "annotator"): who} if who else {},
    }
    try:
        decoded = decode_pair(orjson.dumps(pair), where.removesuffix(": "))
    except TypeError as error:
        raise ContractError(f"{where}{error}") from None
    assert isinstance(decoded, PreferencePair)
    return decoded


def _meant_winner(found: object) -> str:
    if not isinstance(found, str):
        return ""
    meant = _OTHER_WORDS.get(found.strip().casefold()) or nearest(found, get_args(Winner))
    return f": did you mean {meant!r}?" if meant else ""


def _scores(given: Mapping[str, object], side: str, where: str) -> dict[str, float | None]:
    if not isinstance(given, Mapping):
        raise BadInput(
            f"{where}{side.rstrip('_')}: found {shown(given)}; expected a mapping from critic to score"
        )
    if not_texts := [critic for critic in given if not isinstance(critic, str)]:
        raise BadInput(
            f"{where}{side.rstrip('_')}: a critic is called {shown(not_texts[0])}; expected a text"
        )
    return {critic: score(value, f"{where}{side}{critic}") for critic, value in given.items()}


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repr, names))
