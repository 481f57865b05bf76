"""Pairs that are admitted to be learnt, with all that can be said of them before any of them is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from streams.messages.contracts import TRUSTED_SOURCES, LabelSource
from trainers.bradley_terry.rows import ColumnPlan, Read, RowMaker
from trainers.online.models import Rows

Admitted = tuple[int, ColumnPlan, int, LabelSource, float, float, int, int, bool, bool]
"""A pair of a batch, a plain tuple since there are many:

- its number among those that were read, its plan, and how many features the models know with it;
- its label source, what it counts as a person's label, and what it counts beside those of people;
- the slot of its task (−1 where a prediction would not be honest), and the slot again where it opens the task
  (else −1);
- whether the model that is served before the pair is *smoothing*, and whether the pair is a tie.
"""


@dataclass(slots=True)
class Batch:
    """Admitted pairs in their order, and the tasks that were settled between them."""

    known: int
    """Features that the models know before the first pair."""
    is_news: bool = True
    """Whether no pair was learnt before."""
    pairs: list[Admitted] = field(default_factory=list)
    unsettled: list[tuple[int, str, str, float]] = field(default_factory=list)
    """Of each vote of an annotator of whom little is known: its number among the pairs, the annotator, the
    vote's name (empty where it cannot be taken back), and how far the annotator is trusted."""
    newly_known: list[str] = field(default_factory=list)
    """Annotators of whom twice as much is known now as when they were here last."""
    settled: list[tuple[int, int, int]] = field(default_factory=list)
    """Of each task that was settled: pairs of the batch before that, its slot, pairs learnt until then."""

    @property
    def sources(self) -> list[LabelSource]:
        """Label sources of the pairs."""
        return [pair[3] for pair in self.pairs]

    def rows(self, read: Read, maker: RowMaker) -> Rows:
        """The pairs, of which there is one at least, as arrays."""
        at, plans, known, sources, weights, trusted, slots, opened, smoothing, ties = zip(
            *self.pairs, strict=True
        )
        X, means = maker.rows(read, at, plans, is_news=self.is_news)
        return Rows(
            X=X,
            means=means,
            known=np.array([self.known, *known], dtype=np.int64),
            weights=np.array(weights, dtype=np.float64),
            trusted_weights=np.array(trusted, dtype=np.float64),
            ties=np.array(ties, dtype=np.bool_),
            trusted=np.array([source in TRUSTED_SOURCES for source in sources], dtype=np.bool_),
            slots=np.array(slots, dtype=np.int64),
            opened=np.array(opened, dtype=np.int64),
            smoothing_serves=np.array(smoothing, dtype=np.bool_),
        )
