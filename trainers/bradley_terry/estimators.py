"""The learners by name: River estimators that learn from differences of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, get_args

from streams.errors import BadInput

if TYPE_CHECKING:  # commands that only name a learner start without numpy
    from trainers.compiled import Array, Flags, Ints

LearnerName = Literal["river-logistic", "laplace"]
"""``laplace`` says how sure it is; ``river-logistic`` is a point estimate."""
LEARNERS: tuple[LearnerName, ...] = get_args(LearnerName)
DEFAULT_LEARNER: LearnerName = "laplace"


class PairEstimator(Protocol):
    """P(first preferred to second) from the differences of their scores; also a River classifier.

    ``weights`` are per ``scales`` of a feature's difference. ``covariance`` (d, d) is that of the weights, in
    the order of ``features``; None for a point estimate. ``alarms`` counts the alarms of a drift detector.
    ``learn_many_differences`` learns rows (n, d) of differences chosen − rejected, NaN where a critic is
    missing, bit for bit like ``learn_one`` row by row; returns P (n,) of each row before it was learnt.
    ``learn_rows`` does so for a learner of many tasks (``kernels``), and also returns the rows that ended in
    an alarm; it limits X in place. ``predict_many_differences`` takes rows with the columns ``features``.
    ``undo`` reverts the step of a row (d,) that was learnt with the weight w.
    ``begun_from`` is a new learner with these weights as prior means.
    ``tie_nu`` is Davidson's ν (``ties``). ``far_off`` counts, by feature, the differences that were too far
    off to be learnt.
    """

    name: ClassVar[str]

    def learn_one(self, x: Mapping[str, float], y: bool | None, w: float = 1.0) -> None: ...
    def predict_proba_one(self, x: Mapping[str, float]) -> dict[bool, float]: ...
    def learn_many_differences(self, X: Array, w: Array, ties: Flags | None = None) -> Array: ...
    def predict_many_differences(self, features: Sequence[str], X: Array) -> Array: ...
    def learn_rows(
        self, X: Array, w: Array, ties: Flags, known: Ints, slots: Ints, frozen: Array, is_news: bool = True
    ) -> tuple[Array, list[int]]: ...
    def undo(self, row: Array, w: float, tie: bool) -> None: ...
    def with_features(self, names: Sequence[str]) -> Self: ...
    def begun_from(self) -> Self: ...
    def state(self) -> dict[str, Any]: ...
    @property
    def features(self) -> tuple[str, ...]: ...
    @property
    def weights(self) -> dict[str, float]: ...
    @property
    def scales(self) -> dict[str, float]: ...
    @property
    def covariance(self) -> Array | None: ...
    @property
    def alarms(self) -> int: ...
    @property
    def tie_nu(self) -> float: ...
    @property
    def far_off(self) -> dict[str, int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A learner and its parameters that differ from the defaults. Raises BadInput for an unknown name."""

    learner: LearnerName = DEFAULT_LEARNER
    parameters: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.learner not in LEARNERS:
            raise BadInput(f"no learner is called {self.learner!r}; expected {' or '.join(LEARNERS)}")

    def new(self) -> PairEstimator:
        """An estimator that has learnt nothing."""
        estimator: PairEstimator = _class_of(self.learner)(**(self.parameters or {}))
        return estimator

    def complete(self) -> Recipe:
        """The recipe with today's defaults filled in, so that it stays the same when they change."""
        state = self.new().state()
        return Recipe(learner=state["learner"], parameters=state["parameters"])


def estimator_from_state(state: Mapping[str, Any]) -> PairEstimator:
    """The estimator with this saved ``state``. Raises BadInput for an unknown learner name."""
    estimator: PairEstimator = _class_of(state["learner"]).from_state(state)
    return estimator


def _class_of(name: str) -> Any:
    """Imported on demand: each needs a library that takes a while to load."""
    if name == "laplace":
        from trainers.bradley_terry.laplace import Laplace

        return Laplace
    if name == "river-logistic":
        from trainers.bradley_terry.river_logistic import RiverLogistic

        return RiverLogistic
    raise BadInput(f"no learner is called {name!r}; expected {' or '.join(LEARNERS)}")
