"""Comparisons to learn from or to measure on: pairs, or a table."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence

from streams.errors import BadInput
from streams.messages.codec import encode
from streams.messages.contracts import PairMessage
from streams.messages.refusals import shown
from trainers.pairs.comparisons import pairs_from_table
from trainers.pairs.table import TableLike

Comparisons = Iterable[PairMessage] | TableLike
"""Pairs in the order in which they are learnt, as ``read_pairs`` gives them, or a table as
``pairs_from_table`` takes it; at least one."""


def as_pairs(comparisons: Comparisons, model: str, ignore: Collection[str] = ()) -> list[PairMessage]:
    """The comparisons as pairs, all for one reward model and valid as messages; ``ignore`` names columns of
    a table to leave out. Raises BadInput."""
    given = list(comparisons) if isinstance(comparisons, Iterator) else comparisons
    if not (isinstance(given, Sequence) and any(isinstance(one, PairMessage) for one in given)):
        return [*pairs_from_table(given, model=model, ignore=ignore)]
    if ignore:
        raise BadInput(
            f"ignore: found {shown(ignore)} beside pairs; expected it with a table, which has columns"
        )
    for at, one in enumerate(given):
        if not isinstance(one, PairMessage):
            raise BadInput(f"comparison {at}: found {shown(one)}; expected pairs alone, or a table alone")
        if one.model != model:
            raise BadInput(
                f"comparison {at}: is for the model {shown(one.model)}; expected {shown(model)}: name its "
                "model, and learn each model's pairs by themselves"
            )
        try:
            encode(one)  # messages built in Python are checked like those that are read
        except BadInput as error:
            raise BadInput(f"comparison {at}: {error}") from None
    return list(given)


def current_pairs(comparisons: Comparisons, model: str, ignore: Collection[str] = ()) -> list[PairMessage]:
    """The pairs of ``as_pairs``, without those of scores that a rescoring replaced; a warning counts them."""
    from trainers.pairs.superseded import without_superseded  # not at the top: NumPy takes a while to load

    kept, left_out = without_superseded(as_pairs(comparisons, model, ignore))
    if left_out:
        warnings.warn(f"left out: pairs of scores that a rescoring replaced ({left_out})", stacklevel=3)
    return kept
