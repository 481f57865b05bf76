"""Pairs that are admitted for learning, with everything that is decided before any of them is learnt."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from streams.messages.contracts import TRUSTED_SOURCES, LabelSource
from trainers.bradley_terry.rows import ColumnPlan, Read, RowMaker
from trainers.online.models import Rows

Admitted = tuple[int, ColumnPlan, int, LabelSource, float, float, int, int, bool, bool]
"""A pair of a batch, a plain tuple because there are many:

- its number among those that were read, its plan, and the number of features that the models know with it;
- its label source, its weight as a person's label, and its weight relative to people's labels;
- the slot of its task (−1 if a prediction would not be honest), and the slot again if it opens the task
  (else −1);
- whether the model that is served before the pair is *smoothing*, and whether the pair is a tie.
"""


@dataclass(slots=True)
class AdmittedPairs:
    """Admitted pairs in order, and the tasks that were settled between them."""

    known: int
    """Number of features that the models know before the first pair."""
    is_news: bool = True
    """False if the pairs were learnt before."""
    pairs: list[Admitted] = field(default_factory=list)
    unsettled: list[tuple[int, str, str, str, float]] = field(default_factory=list)
    """Votes of little-known annotators, each as its index among the pairs, the annotator, the vote's name
    (empty if it cannot be taken back), its task, and the trust in the annotator."""
    newly_known: list[str] = field(default_factory=list)
    """Annotators with twice as many comparisons as at their last entry here."""
    settled: list[tuple[int, int, int]] = field(default_factory=list)
    """Settled tasks, each as the number of pairs before it in the batch, its slot, and the pairs learnt so
    far."""

    @property
    def sources(self) -> list[LabelSource]:
        """Label sources of the pairs."""
        return [pair[3] for pair in self.pairs]

    def rows(self, read: Read, maker: RowMaker) -> Rows:
        """The pairs as arrays; there must be at least one."""
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
            is_news=self.is_news,
        )
