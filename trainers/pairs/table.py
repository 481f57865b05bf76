"""Tables that people have at hand, as rows of plain values: a dataframe, or a sequence of mappings.

A dataframe is anything that narwhals reads eagerly (pandas, Polars, PyArrow, …); none of these is imported
here. Rows are counted from 0, as dataframes count positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from streams.errors import BadInput
from streams.messages.limits import MAX_NUMBER
from streams.messages.refusals import shown

TableLike = Any
"""A dataframe, or a sequence of mappings from column to value."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with the same columns; a cell that is missing is None."""

    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, object]]

    @classmethod
    def read(cls, given: TableLike, expected: str) -> Table:
        """The given table. Raises BadInput if it is no table, or has no rows (``expected``) or names."""
        table = _of_mappings(given) if _is_sequence(given) else _of_dataframe(given)
        if not table.rows:
            raise BadInput(f"the table has no rows; expected {expected}")
        for name in table.columns:
            if not isinstance(name, str) or not name:
                raise BadInput(f"a column is called {shown(name)}; expected a text: rename it")
        return table

    def refuse_texts(self, columns: Iterable[str]) -> None:
        """Raises BadInput where a score in one of the columns is a text."""
        for column in columns:
            for at, row in enumerate(self.rows):
                if isinstance(row[column], str):
                    raise BadInput(
                        f"row {at}: {column}: found {shown(row[column])}; expected a number, or an empty "
                        "cell (null or NaN) for a missing score: convert the column with float(), or in "
                        "pandas with pandas.to_numeric (errors='coerce' makes every text a missing score); "
                        "rows count from 0, so row 3 is the 4th"
                    )


def score(value: object, where: str) -> float | None:
    """A critic's score; None or NaN for one that is missing. Raises BadInput, which begins with ``where``."""
    if value is None or _is_nan(value):
        return None
    return number(value, where, -MAX_NUMBER, MAX_NUMBER)


def number(value: object, where: str, least: float, most: float) -> float:
    """A number from ``least`` to ``most``. Raises BadInput, which begins with ``where``."""
    found: Any = value  # which may be too large to be a float
    if isinstance(value, Real) and not isinstance(value, bool) and least <= found <= most:
        return float(value)
    raise BadInput(f"{where}: found {shown(value)}; expected a number from {least:g} to {most:g}")


def name(value: object, where: str) -> str:
    """A text, or a whole number as a text; empty where it is missing. Raises BadInput.

    pandas turns whole numbers into floating point where one of them is missing: 7.0 is "7", too.
    """
    if value is None or _is_nan(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, str):
        raise BadInput(f"{where}: found {shown(value)}; expected a text or a whole number")
    return value


def _is_sequence(given: object) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str | bytes)


def _of_mappings(given: Sequence[object]) -> Table:
    columns: dict[str, None] = {}
    rows: list[Mapping[str, object]] = []
    for at, row in enumerate(given):
        if not isinstance(row, Mapping):
            raise BadInput(f"row {at}: found {shown(row)}; expected a mapping from column to value")
        columns |= dict.fromkeys(row)
        rows.append(row)
    return Table(tuple(columns), [{column: row.get(column) for column in columns} for row in rows])


def _of_dataframe(given: TableLike) -> Table:
    # Imported late: mappings and single pairs need none of it.
    import narwhals
    from narwhals.exceptions import DuplicateError

    try:
        frame = narwhals.from_native(given, eager_only=True)
        cells = {column: _cells(frame.get_column(column)) for column in frame.columns}
    except DuplicateError:
        names = [*(given.column_names if hasattr(given, "column_names") else given.columns)]
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise BadInput(
            f"{names.count(twice)} columns are called {shown(twice)}; expected names that differ: rename or "
            "drop all but one"
        ) from None
    except TypeError:
        kind = f"{type(given).__module__}.{type(given).__qualname__}".removeprefix("builtins.")
        raise BadInput(
            f"found a {kind}; expected a dataframe (of Polars an eager one: collect it first) or a sequence "
            "of mappings from column to value"
        ) from None
    return Table(
        tuple(cells), [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
    )


def _cells(column: Any) -> Iterable[object]:
    """The column's cells, with None for a null, however the dataframe represents it."""
    nulls = column.is_null().to_list()
    return [None if null else value for value, null in zip(column.to_list(), nulls, strict=True)]


def _is_nan(value: object) -> bool:
    return isinstance(value, Real) and value != value
