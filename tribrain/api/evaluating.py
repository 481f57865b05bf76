"""How good a reward is on comparisons that it has not learnt."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from msgspec.structs import replace

from streams.errors import BadInput
from streams.messages.contracts import OVERALL, PreferencePair
from streams.messages.dimensions import dimension_called
from streams.messages.refusals import shown
from trainers.evidence.evaluate import figures, measure_snapshot, task_numbers, ties_of
from trainers.pairs.judgements import dimension_of
from trainers.pairs.withdrawn import standing
from tribrain.api.comparisons import Comparisons, current_pairs
from tribrain.api.reward import Reward

Interval = tuple[float, float]
"""The lower and the upper end of an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Figures on pairs other than ties, with 95% intervals of a bootstrap over tasks; one task has none."""

    pairs: int
    """Number of pairs that were measured on, without ties."""
    ties: int
    """Number of pairs on which neither side was better."""
    critic_labels: int
    """Number of these ``pairs`` with the critics' own score as label. On them, the figures show how well the
    reward imitates its critics, not what people prefer."""
    accuracy: float
    """Share of pairs on which the reward prefers what was preferred."""
    accuracy_ci95: Interval | None
    """95% interval of the accuracy; None for one task."""
    log_loss: float
    """Mean log loss in nats per pair; guessing gives 0.693."""
    log_loss_ci95: Interval | None
    """95% interval of the log loss; None for one task."""
    ece: float
    """Expected calibration error: how far stated probabilities are from what came true, on average."""
    ece_ci95: Interval | None
    """95% interval of the calibration error; None for one task."""


def evaluate(
    reward: Reward,
    comparisons: Comparisons,
    *,
    dimension: str = "",
    seed: int = 0,
    ignore: Collection[str] = (),
) -> Evaluation:
    """How good the reward is on pairs or a table, as ``tribrain reward evaluate --reward`` measures it.

    - ``reward``: the reward to measure
    - ``comparisons``: pairs or a table of other tasks than those that were learnt, else the figures flatter
    - ``dimension``: the dimension to measure, on the pairs that judge it; others are skipped. Empty for
      overall
    - ``seed``: the seed of the bootstrap, a whole number of at least 0
    - ``ignore``: columns of the table to leave out

    Raises BadInput for comparisons that ``learn`` would refuse, and where no pair is left, or none but ties.
    """
    own = reward.on(dimension)
    wanted = dimension_called(dimension)
    unseen = [
        replace(pair, task_id=pair.task_id or pair.run_id)
        for pair in standing(current_pairs(comparisons, reward.model, ignore))
        if isinstance(pair, PreferencePair) and dimension_of(pair) == wanted
    ]
    if not unseen:
        raise BadInput(f"none of the comparisons is on {shown(wanted or OVERALL)}; name another dimension")
    ties = ties_of(unseen)
    found = figures(measure_snapshot(own.snapshot, unseen), task_numbers(unseen), ties, seed=seed)
    n_ties = int(ties.sum())
    return Evaluation(
        pairs=len(unseen) - n_ties,
        ties=n_ties,
        critic_labels=sum(pair.label_source == "critic" and not pair.tie for pair in unseen),
        accuracy=found["accuracy"],
        accuracy_ci95=_interval(found["accuracy_ci95"]),
        log_loss=found["log_loss"],
        log_loss_ci95=_interval(found["log_loss_ci95"]),
        ece=found["ece"],
        ece_ci95=_interval(found["ece_ci95"]),
    )


def _interval(found: list[float] | None) -> Interval | None:
    return None if found is None else (float(found[0]), float(found[1]))
