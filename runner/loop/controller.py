"""What to fix next: hierarchical contextual Thompson sampling over the arms.

Thompson (1933), "On the likelihood that one unknown probability exceeds another", samples from the posterior
and acts on the sample. Agrawal & Goyal (2013), "Thompson sampling for contextual bandits with linear
payoffs", use linear rewards in a context. Hong, Kveton, Zaheer & Ghavamzadeh (2022), "Hierarchical Bayesian
bandits", add a parameter that the arms share to one per arm.

The model is r = x·(θ + δ_a) + ε: x is the
context, θ is shared by all arms, δ_a belongs to arm a, and θ ~ N(0, shared_scale²), δ_a ~ N(0, arm_scale²)
per coefficient, ε ~ N(0, noise²). θ alone cannot prefer an arm. It says how much *any* refinement gains in a
context (little, late in a run). So an arm tried at a bad moment is not blamed for the moment, and an untried
arm is expected to do as well as the others. The arms differ by the full context ⊗ arm interactions in δ,
because "which mode is broken" matters only together with "which mode the arm fixes". They include an arm
one-hot, as x has a constant.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from runner.loop.refiner import ARMS, Arm
from streams.errors import BadInput
from streams.files import read_text, write_atomically
from streams.messages.refusals import check_names

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

FAILURE_MODES = ("physics", "task", "smoothness", "quality")
_SCHEMA = "tribrain.controller/1"
REMEMBERED_RUNS = 1000
"""A run that was stopped before its last step can resume until this many others have ended."""
_UNKNOWN = 0.5
_LONG_PROMPT_CHARS = 2200
FEATURES: tuple[str, ...] = (
    "constant",
    *(f"{mode}.{kind}" for mode in FAILURE_MODES for kind in ("deficit", "missing")),
    "plateau",
    "prompt_length",
)


class Controller(Protocol):
    """Chooses the arm of the next refinement and learns what it gained."""

    def choose(self, context: Vector, rng: np.random.Generator) -> Arm: ...

    def update(self, context: Vector, arm: Arm, reward: float) -> None: ...


def context_features(
    fused_scores: Mapping[str, float | None], *, plateau_steps: int, prompt_chars: int
) -> Vector:
    """The context x, shape (len(FEATURES),), every entry in [0, 1].

    For each failure mode: the deficit 1 − score (0.5 where no critic gave one) and a flag for a missing
    score; then plateau/(1 + plateau) and the prompt's length as a fraction of a long one's, at most 1. It
    describes the prompt to build on, so the scores are those of the run's best.
    """
    x = [1.0]
    for mode in FAILURE_MODES:
        score = fused_scores.get(mode)
        x += [_UNKNOWN, 1.0] if score is None else [1.0 - score, 0.0]
    x += [plateau_steps / (1.0 + plateau_steps), min(1.0, prompt_chars / _LONG_PROMPT_CHARS)]
    return np.array(x)


def belief_probs(fused_scores: Mapping[str, float | None]) -> dict[str, float]:
    """How likely each failure mode is the problem: softmax of 1 − score, 0.5 where no critic gave one."""
    exps = {mode: math.exp(1.0 - (_UNKNOWN if s is None else s)) for mode, s in fused_scores.items()}
    total = math.fsum(exps.values())
    return {mode: value / total for mode, value in exps.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Standard deviations in units of the combined reward, each above 0.

    The defaults assume that a coefficient moves a candidate by about a tenth, and that two videos of the same
    prompt differ by about as much. Raises BadInput.
    """

    shared_scale: float = 0.1
    arm_scale: float = 0.1
    noise: float = 0.1

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0.0 < value < math.inf:
                raise BadInput(f"controller prior {name} is {value}; expected a finite number above 0")


class ThompsonController:
    """A shared Bayesian linear model and one residual Bayesian linear model per arm, solved jointly.

    For each arm, it keeps the Gram matrix G_a = Σ x xᵀ (d, d) and b_a = Σ r x (d,), both over noise². The
    joint Gaussian posterior of (θ, δ_1, …, δ_K) depends on nothing else. So the order of updates does not
    matter, and no residuals are fitted to an outdated shared model. With C_a = I/arm_scale² + G_a,
    integrating δ out gives θ the precision I/shared_scale² + Σ_a (G_a − G_a C_a⁻¹ G_a) and the vector Σ_a
    (b_a − G_a C_a⁻¹ b_a); given θ, δ_a has the precision C_a and the vector b_a − G_a θ.
    """

    def __init__(self, prior: Prior | None = None) -> None:
        d = len(FEATURES)
        self.prior = prior or Prior()
        self.rounds = 0
        self.runs: tuple[tuple[str, int], ...] = ()
        """Id and number of updates of the runs added last, at most ``REMEMBERED_RUNS``."""
        self._gram: dict[Arm, Matrix] = {arm: np.zeros((d, d)) for arm in ARMS}
        self._vector: dict[Arm, Vector] = {arm: np.zeros(d) for arm in ARMS}

    def choose(self, context: Vector, rng: np.random.Generator) -> Arm:
        """The best arm under one sample of the posterior; context has shape (len(FEATURES),)."""
        shared = _draw(*self._shared_posterior(), rng)
        sampled = {
            arm: context @ (shared + _draw(*self._residual_posterior(arm, shared), rng)) for arm in ARMS
        }
        return max(ARMS, key=lambda arm: float(sampled[arm]))

    def update(self, context: Vector, arm: Arm, reward: float) -> None:
        """Learn that ``arm`` in ``context`` gained ``reward``.

        In the loop, the reward is the candidate's combined reward minus that of the run's best before it.
        Raises ValueError if a number is not finite.
        """
        if not (math.isfinite(reward) and np.isfinite(context).all()):
            raise ValueError(f"expected finite numbers, found reward {reward}, context {context}")
        self._gram[arm] = self._gram[arm] + np.outer(context, context) / self.prior.noise**2
        self._vector[arm] = self._vector[arm] + context * (reward / self.prior.noise**2)
        self.rounds += 1

    def mean(self) -> tuple[Vector, dict[Arm, Vector]]:
        """Posterior means of θ, shape (d,), and of each δ_a, shape (d,)."""
        shared = _mean(*self._shared_posterior())
        return shared, {arm: _mean(*self._residual_posterior(arm, shared)) for arm in ARMS}

    def added_of(self, run_id: str) -> int:
        """Number of updates added from a run; 0 if the run is unknown or was forgotten."""
        return dict(self.runs).get(run_id, 0)

    def plus(self, run_id: str, before: ThompsonController, after: ThompsonController) -> ThompsonController:
        """This controller plus what a run learnt between ``before`` and ``after``.

        Sums of what runs learnt do not depend on their order, except for rounding. If this controller equals
        ``before`` exactly, the result equals ``after`` exactly. Raises BadInput if the priors differ.
        """
        if self.prior != after.prior:
            raise BadInput(f"the controller has {self.prior}, and run {run_id!r} learnt with {after.prior}")
        both = ThompsonController(self.prior)
        learnt = after.rounds - before.rounds
        both.rounds = self.rounds + learnt
        others = [(known, n) for known, n in self.runs if known != run_id]
        both.runs = tuple([*others, (run_id, self.added_of(run_id) + learnt)][-REMEMBERED_RUNS:])
        for arm in ARMS:
            both._gram[arm] = _sum_of(self._gram[arm], before._gram[arm], after._gram[arm])
            both._vector[arm] = _sum_of(self._vector[arm], before._vector[arm], after._vector[arm])
        return both

    def save(self, path: Path) -> None:
        """Write the whole state as JSON; floats survive exactly."""
        state = _State(
            prior=self.prior,
            features=FEATURES,
            rounds=self.rounds,
            runs=self.runs,
            gram={arm: gram.tolist() for arm, gram in self._gram.items()},
            vector={arm: vector.tolist() for arm, vector in self._vector.items()},
        )
        write_atomically(path, msgspec.json.encode(replace(state, checksum=_checksum(state))))

    @classmethod
    def load(cls, path: Path) -> ThompsonController:
        """The saved controller, bit for bit. Raises BadInput."""
        state = _read_state(path)
        controller = cls(state.prior)
        controller.rounds = state.rounds
        controller.runs = state.runs
        controller._gram = {arm: np.array(state.gram[arm]) for arm in ARMS}
        controller._vector = {arm: np.array(state.vector[arm]) for arm in ARMS}
        return controller

    def _shared_posterior(self) -> tuple[Matrix, Vector]:
        """Precision (d, d) and precision times mean (d,) of θ, with every δ integrated out."""
        precision = np.eye(len(FEATURES)) / self.prior.shared_scale**2
        vector = np.zeros(len(FEATURES))
        for arm in ARMS:
            gram, b = self._gram[arm], self._vector[arm]
            explained = np.linalg.solve(self._residual_precision(arm), np.column_stack([gram, b]))
            marginal = gram - gram @ explained[:, :-1]
            precision += (marginal + marginal.T) / 2  # symmetric but for rounding
            vector += b - gram @ explained[:, -1]
        return precision, vector

    def _residual_posterior(self, arm: Arm, shared: Vector) -> tuple[Matrix, Vector]:
        """Precision (d, d) and precision times mean (d,) of δ_a given θ."""
        return self._residual_precision(arm), self._vector[arm] - self._gram[arm] @ shared

    def _residual_precision(self, arm: Arm) -> Matrix:
        precision: Matrix = np.eye(len(FEATURES)) / self.prior.arm_scale**2 + self._gram[arm]
        return precision


def _sum_of(known: Matrix, before: Matrix, after: Matrix) -> Matrix:
    return after if np.array_equal(known, before) else known + (after - before)


def _mean(precision: Matrix, vector: Vector) -> Vector:
    return np.asarray(np.linalg.solve(precision, vector), dtype=np.float64)


def _draw(precision: Matrix, vector: Vector, rng: np.random.Generator) -> Vector:
    """One sample of N(P⁻¹v, P⁻¹): with P = L Lᵀ and z standard normal, P⁻¹v + L⁻ᵀz."""
    lower = np.linalg.cholesky(precision)
    white = np.linalg.solve(lower, vector) + rng.standard_normal(len(vector))
    return np.asarray(np.linalg.solve(lower.T, white), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    schema: str = _SCHEMA
    prior: Prior
    features: tuple[str, ...]
    rounds: int
    runs: tuple[tuple[str, int], ...] = ()
    gram: dict[str, list[list[float]]]
    vector: dict[str, list[float]]
    checksum: str = ""
    """SHA-256 over the state with this field empty. A damaged digit would otherwise pass as a number."""


def _checksum(state: _State) -> str:
    return hashlib.sha256(msgspec.json.encode(replace(state, checksum=""))).hexdigest()


def _read_state(path: Path) -> _State:
    raw = read_text(path)
    check_names(raw, path)
    try:
        state = msgspec.json.decode(raw, type=_State)
    except msgspec.MsgspecError as error:
        raise BadInput(f"{path}: not a controller's state: {error}; give another file") from None
    if state.schema != _SCHEMA:
        raise BadInput(f"{path}: schema is {state.schema!r}; this version reads {_SCHEMA!r}")
    if state.checksum != _checksum(state):
        raise BadInput(f"{path}: the checksum does not match the content; delete it to start over")
    if state.features != FEATURES or set(state.gram) != set(ARMS) or set(state.vector) != set(ARMS):
        raise BadInput(
            f"{path}: is for other features or arms than this version has; delete it to start over"
        )
    return state
