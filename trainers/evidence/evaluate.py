"""Accuracy of learners on unseen pairs: one online pass, compared with the batch optimum."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.errors import BadInput, counted
from streams.messages.contracts import TRUSTED_SOURCES, PreferencePair, RewardSnapshot
from streams.messages.feature_names import is_critic
from trainers.bradley_terry.estimators import LEARNERS, Recipe
from trainers.bradley_terry.features import of_pair
from trainers.bradley_terry.losses import log_loss
from trainers.bradley_terry.marks import without_marks
from trainers.bradley_terry.normalise import CriticRanges
from trainers.bradley_terry.reward import prob_prefer
from trainers.bradley_terry.vocabulary import Vocabulary
from trainers.evidence.prequential import PrequentialScores, figures_of
from trainers.evidence.proxies import label_weights, room_left
from trainers.pairs.weights import task_of, weight_of_each

if TYPE_CHECKING:
    from trainers.compiled import Array, Flags

Ints = NDArray[np.int64]

BATCH, MEAN, SINGLE = "batch", "critics-mean", "best-single"
COMPARED = (*LEARNERS, BATCH, MEAN, SINGLE)
"""What can be measured: the learners, the batch optimum, and the critics without any learning."""

_FIRST_PAIRS = 100
_RESAMPLES = 2000
_PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Values of scikit-learn's C, of which cross-validation by task picks one."""
_FOLDS = 5
_WITH_INTERVALS = ("accuracy", "log_loss", "ece")


@dataclass(frozen=True, slots=True)
class PairTable:
    """Pairs as arrays: n pairs, d features."""

    features: tuple[str, ...]
    X: Array
    """(n, d): chosen − rejected, NaN where a feature is missing."""
    tasks: Ints
    """(n,): index of the pair's task, in order of first appearance."""
    sources: tuple[str, ...]
    """(n,): label sources."""
    weights: Array
    """(n,): weight of each pair alone: its own weight times that of its label."""
    ties: Flags
    """(n,): whether the pair is a tie."""

    @property
    def critics(self) -> Array:
        """(n, c): the critics' columns."""
        return self.X[:, [is_critic(name) for name in self.features]]

    @property
    def decided(self) -> PairTable:
        """The table without the ties."""
        kept = ~self.ties
        return replace(
            self,
            X=self.X[kept],
            tasks=np.unique(self.tasks[kept], return_inverse=True)[1],
            sources=tuple(np.array(self.sources, dtype=object)[kept]),
            weights=self.weights[kept],
            ties=self.ties[kept],
        )

    @property
    def n_tasks(self) -> int:
        return int(self.tasks.max()) + 1

    @classmethod
    def of(cls, pairs: Sequence[PreferencePair], ranges: CriticRanges, vocabulary: Vocabulary) -> PairTable:
        """Scales scores to [0, 1] by ``ranges``; drops features that the vocabulary has no room for."""
        from trainers.bradley_terry.rows import (
            RowMaker,
        )  # loads numba, not needed to evaluate a finished model

        X = RowMaker(vocabulary).rows_of([ranges.apply_to_pair(pair) for pair in pairs])
        return cls(
            tuple(vocabulary.columns),
            X,
            task_numbers(pairs),
            tuple(pair.label_source for pair in pairs),
            np.array(label_weights(pairs)),
            ties_of(pairs),
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """Predictions for a holdout: P(chosen ≻ rejected) given no tie, one row per order of learning."""

    predictions: Array
    """(orders, n)"""
    after_100: Array | None
    """The same after the first hundred pairs; None if nothing is learnt pair by pair."""
    nu: Array | None = None
    """(orders,): Davidson's ν (``trainers.bradley_terry.ties``); None if ties are not predicted."""


def tables(train: Sequence[PreferencePair], holdout: Sequence[PreferencePair]) -> tuple[PairTable, PairTable]:
    """Both parts as arrays, scaled by the training part's ranges. Raises BadInput without a common critic."""
    ranges = CriticRanges.of_pairs(train)
    vocabulary = Vocabulary(ranges.ends)
    known = PairTable.of(train, ranges, vocabulary)
    vocabulary.close()
    unseen = PairTable.of(holdout, ranges, vocabulary)
    if np.isnan(unseen.critics).all():
        raise BadInput("no critic has scores in both files, so there is nothing to compare; check the files")
    return known, unseen


def task_numbers(pairs: Sequence[PreferencePair]) -> Ints:
    """(n,): index of each pair's task, in order of first appearance."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(task_of(pair), len(numbers)) for pair in pairs], dtype=np.int64)


def ties_of(pairs: Sequence[PreferencePair]) -> Flags:
    """(n,): whether each is a tie. Raises BadInput if all are."""
    ties = np.array([pair.tie for pair in pairs], dtype=np.bool_)
    if ties.all():
        found = counted(len(ties), "pair")
        raise BadInput(f"found {found}, each a tie; expected some in which one side is better")
    return ties


def measure(
    name: str, train: PairTable, holdout: PairTable, *, orders: int, seed: int = 0
) -> Iterator[Measured]:
    """Learn in ``orders`` random orders of the tasks, and predict the holdout after each.

    Yields the results so far after each order, so that progress can be shown. Pairs of one task stay in
    order. Computes once what does not depend on the order. Raises BadInput for an unknown name.
    """
    if name in LEARNERS:
        predictions, first, nu = [], [], []
        for number in range(orders):
            rng = np.random.default_rng([seed, number])
            order = _task_order(train.tasks, rng)
            p, tie_nu = _learn_and_predict(name, train, order, holdout)
            predictions.append(p)
            nu.append(tie_nu)
            # In some files one task has over a hundred pairs; live pairs come from many runs at a time.
            some = rng.permutation(len(train.X))[:_FIRST_PAIRS]
            first.append(_learn_and_predict(name, train, some, holdout)[0])
            yield Measured(np.array(predictions), np.array(first), np.array(nu))
    elif name == BATCH:
        coefficients = batch_optimum(train.decided, seed)
        logits, known = _filled(holdout.X) @ coefficients, _filled(train.X) @ coefficients
        yield Measured(_sigmoid(logits)[None, :], None, _fitted_nu(known, train.ties))
    elif name in (MEAN, SINGLE):
        decided = train.decided
        reduce = _mean_difference if name == MEAN else _best_single(decided)
        weight = _fitted_weight(reduce(decided.critics), decided.weights)
        nu_of_it = _fitted_nu(weight * reduce(train.critics), train.ties)
        yield Measured(_sigmoid(weight * reduce(holdout.critics))[None, :], None, nu_of_it)
    else:
        raise BadInput(f"no learner is called {name!r}; expected one of {', '.join(COMPARED)}")


def measure_snapshot(snapshot: RewardSnapshot, holdout: Sequence[PreferencePair]) -> Measured:
    """Predictions of a finished model; scores are used unchanged, except for marks for missing ones."""
    p = [prob_prefer(snapshot, of_pair(_without_marks(pair, snapshot))) for pair in holdout]
    return Measured(np.array([p]), None, np.array([snapshot.tie_nu]))


def batch_optimum(train: PairTable, seed: int = 0) -> Array:
    """Coefficients (d,) of the L2-penalised logistic regression without intercept, with C chosen by task."""
    scale = np.sqrt(np.mean(_filled(train.X) ** 2, axis=0) + 1e-12)
    Z, w = _filled(train.X) / scale, train.weights
    best = max(_PENALTIES)
    folds = min(_FOLDS, train.n_tasks)
    if folds > 1:
        from sklearn.model_selection import GroupKFold

        losses = dict.fromkeys(_PENALTIES, 0.0)
        splitter = GroupKFold(folds, shuffle=True, random_state=seed)
        for fitted, left_out in splitter.split(Z, groups=train.tasks):
            for penalty in _PENALTIES:
                logits = Z[left_out] @ _fit(Z[fitted], w[fitted], penalty)
                losses[penalty] += float(np.logaddexp(0.0, -logits).sum())
        best = min(losses, key=losses.__getitem__)
    return np.asarray(_fit(Z, w, best) / scale)


def figures(measured: Measured, tasks: Ints, ties: Flags | None = None, *, seed: int = 0) -> dict[str, Any]:
    """Accuracy, log loss (nats) and ECE, means over the orders, with 95% intervals of a task bootstrap.

    These cover pairs that are no ``ties`` (n,); there must be one. With one task the intervals are null. If
    there are ties, ``log_loss_with_ties`` covers three answers: first, second, neither.
    """
    with_ties = {}
    if ties is not None and ties.any():
        with_ties = {"log_loss_with_ties": _log_loss_with_ties(measured, ties)}
        measured, tasks = _of_decided(measured, ~ties), np.unique(tasks[~ties], return_inverse=True)[1]
    of_tasks = [
        [_scores_of(p, tasks == task) for task in range(int(tasks.max()) + 1)] for p in measured.predictions
    ]
    totals = [PrequentialScores.of(of_order).figures() for of_order in of_tasks]
    sums = _task_sums(of_tasks)
    accuracy_ci, log_loss_ci, ece_ci = _intervals(sums, seed)
    losses = [total["log_loss"] for total in totals]
    return {
        "accuracy": float(np.mean([total["accuracy"] for total in totals])),
        "accuracy_ci95": accuracy_ci,
        "log_loss": float(np.mean(losses)),
        "log_loss_ci95": log_loss_ci,
        "ece": float(np.mean([total["ece"] for total in totals])),
        "ece_ci95": ece_ci,
        "log_loss_sd_over_orders": float(np.std(losses)),
        "log_loss_after_100": None
        if measured.after_100 is None
        else float(np.mean([log_loss(float(p)) for p in measured.after_100.ravel()])),
        **with_ties,
    }


def reliability(measured: Measured, ties: Flags | None = None) -> list[tuple[float, float, int]]:
    """(mean confidence, fraction right, pairs) of each non-empty bin of confidence.

    Excludes ``ties`` (n,).
    """
    if ties is not None:
        measured = _of_decided(measured, ~ties)
    total = PrequentialScores.of(_scores_of(p, np.ones(len(p), dtype=bool)) for p in measured.predictions)
    orders = len(measured.predictions)
    return [(c / n, right / n, round(n / orders)) for n, c, right in total.bins if n]


def _learn_and_predict(name: str, train: PairTable, order: Ints, holdout: PairTable) -> tuple[Array, float]:
    """Predictions of the holdout (n,), and Davidson's ν."""
    estimator = Recipe(learner=name).new().with_features(train.features)  # type: ignore[arg-type]
    estimator.learn_many_differences(train.X[order], _pair_weights(train, order), train.ties[order])
    return estimator.predict_many_differences(train.features, holdout.X), estimator.tie_nu


def _without_marks(pair: PreferencePair, snapshot: RewardSnapshot) -> PreferencePair:
    chosen, rejected = (
        without_marks(scores, snapshot.ranges) for scores in (pair.chosen_critics, pair.rejected_critics)
    )
    return msgspec.structs.replace(pair, chosen_critics=chosen, rejected_critics=rejected)


def _pair_weights(train: PairTable, order: Ints) -> Array:
    """(len(order),): the weight of each pair among the learnt pairs of its task."""
    keys = [(int(train.tasks[row]), train.sources[row]) for row in order]
    pairs_of_task = Counter(keys)
    w = train.weights[order] * np.array([weight_of_each(pairs_of_task[key]) for key in keys])
    of_proxies = of_people = 0.0
    for at, (_, source) in enumerate(keys):
        if source == "proxy":
            w[at] *= room_left(of_proxies, of_people)
            of_proxies += w[at]
        elif source in TRUSTED_SOURCES:
            of_people += w[at]
    return np.asarray(w)


def _task_order(tasks: Ints, rng: np.random.Generator) -> Ints:
    rank = rng.permutation(int(tasks.max()) + 1)
    return np.argsort(rank[tasks], kind="stable").astype(np.int64)


def _mean_difference(X: Array) -> Array:
    known = ~np.isnan(X)
    return np.asarray(np.where(known, X, 0.0).sum(axis=1) / np.maximum(1, known.sum(axis=1)))


def _best_single(train: PairTable) -> Callable[[Array], Array]:
    """The critic that is right most often on the training part; a tied or missing score is half right."""
    right = np.where(train.critics > 0, 1.0, np.where(train.critics < 0, 0.0, 0.5)).mean(axis=0)
    best = int(np.argmax(right))
    return lambda X: np.nan_to_num(X[:, best])


def _fitted_weight(x: Array, w: Array) -> float:
    return float(_fit(x[:, None], w, 1e6)[0])


def _fit(Z: Array, w: Array, penalty: float) -> Array:
    """Fits each pair and its mirror image, so that both classes occur."""
    # Imported late: scikit-learn takes two seconds, and evaluating a finished model does not need it.
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=penalty, fit_intercept=False, max_iter=1000)
    labels = np.repeat([1, 0], len(Z))
    return np.asarray(model.fit(np.vstack([Z, -Z]), labels, np.concatenate([w, w])).coef_[0])


def _of_decided(measured: Measured, decided: Flags) -> Measured:
    after = measured.after_100
    return replace(
        measured,
        predictions=measured.predictions[:, decided],
        after_100=None if after is None else after[:, decided],
    )


def _fitted_nu(logits: Array, ties: Flags) -> Array:
    """Maximum-likelihood estimate of Davidson's ν (1,) with these logits; 0 without ties."""
    if not ties.any():
        return np.zeros(1)
    from scipy.optimize import minimize_scalar

    p = _sigmoid(logits)
    found = minimize_scalar(
        lambda log_nu: _losses_with_ties(p, math.exp(log_nu), ties).mean(), bounds=(-7, 7), method="bounded"
    )
    return np.array([math.exp(found.x)])


def _log_loss_with_ties(measured: Measured, ties: Flags) -> float | None:
    if measured.nu is None or not measured.nu.all():
        return None
    of_orders = zip(measured.predictions, measured.nu.tolist(), strict=True)
    return float(np.mean([_losses_with_ties(p, nu, ties) for p, nu in of_orders]))


def _losses_with_ties(p: Array, nu: float, ties: Flags) -> Array:
    """(n,): −ln of the observed answer, where p (n,) is P(chosen ≻ rejected) given no tie."""
    at_even = nu * np.sqrt(p * (1.0 - p))
    happened = np.where(ties, at_even, p) / (1.0 + at_even)
    return np.asarray(-np.log(np.maximum(happened, 1e-12)))


def _filled(X: Array) -> Array:
    return np.asarray(np.nan_to_num(X))


def _sigmoid(x: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))


def _scores_of(predictions: Array, chosen: NDArray[np.bool_]) -> PrequentialScores:
    scores = PrequentialScores()
    scores.add_many(predictions[chosen], np.full(int(chosen.sum()), 0.5))
    return scores


def _task_sums(of_tasks: Sequence[Sequence[PrequentialScores]]) -> Array:
    """(tasks, 4 + 3·BINS): the sums of every task, each a mean over the orders."""
    return np.asarray(np.mean([[scores.sums for scores in of_order] for of_order in of_tasks], axis=0))


def _intervals(sums: Array, seed: int) -> list[list[float] | None]:
    """95% percentile intervals of accuracy, log loss and ECE over resampled tasks; none for a single task."""
    if len(sums) < 2:
        return [None] * len(_WITH_INTERVALS)
    rng = np.random.default_rng([seed, 95])
    counts = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=_RESAMPLES)
    drawn = figures_of(counts @ sums)
    return [[float(x) for x in np.percentile(drawn[name], [2.5, 97.5])] for name in _WITH_INTERVALS]
