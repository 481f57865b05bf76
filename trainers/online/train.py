"""Trains a preference reward model from pairs files, by feeding the live learner from a list."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from streams.errors import BadInput, counted
from streams.messages.contracts import PairMessage, PreferencePair, RewardSnapshot
from trainers.bradley_terry.estimators import Recipe
from trainers.bradley_terry.features import difference
from trainers.evidence.annotators import Annotators
from trainers.online.learner import OnlineLearner
from trainers.pairs.judgements import dimension_of
from trainers.pairs.weights import task_of
from trainers.pairs.withdrawn import standing

_PART = 1000
"""Messages between two calls of ``on_progress``."""


def train_on_pairs(
    messages: Sequence[PairMessage],
    *,
    model: str = "default",
    recipe: Recipe | None = None,
    epochs: int = 1,
    seed: int = 0,
    on_progress: Callable[[int], None] = lambda _: None,
) -> RewardSnapshot:
    """One honest pass in the given order, without withdrawn pairs; then ``epochs − 1`` shuffled passes that
    change no figure.

    If several people judged the same candidates, the served model is learnt in a separate pass, in which all
    votes determine the weight of each annotator. The figures stay those of the honest pass, in which a vote
    weighs by what was known about the annotator when it came.

    Raises BadInput if no pair is for ``model``, or if none has a critic with scores on both sides.
    """
    given, messages = messages, standing(messages)
    if given and not messages:
        raise BadInput(f"nothing to learn from: found {counted(len(given), 'pair')}, each taken back")
    of_any = [message for message in messages if isinstance(message, PreferencePair)]
    pairs = [pair for pair in of_any if pair.model == model]
    if of_any and not pairs:
        names = ", ".join(sorted({repr(pair.model) for pair in of_any}))
        found = counted(len(of_any), "pair")
        raise BadInput(f"found {found}, none for the model {model!r}; give --model: {names}")
    if not any(difference(pair.chosen_critics, pair.rejected_critics) for pair in pairs):
        raise BadInput(
            f"nothing to learn from: found {counted(len(pairs), 'pair')}, none with a critic's score on "
            "both sides; expected scores of the same critic, as tribrain pairs export writes them from "
            "critic_results"
        )
    pairs_of_task: Counter[tuple[str, str, str]] = Counter(
        (dimension_of(pair), task_of(pair), pair.label_source) for pair in pairs
    )

    def learner(heard_before: Mapping[str, Annotators] | None = None) -> OnlineLearner:
        return OnlineLearner(
            model,
            recipe,
            open_tasks=len(pairs),
            remembered=len(messages),
            pairs_of_task=pairs_of_task,
            heard_before=heard_before,
        )

    honest = served = learner()
    _learn_all(honest, messages, on_progress)
    if honest.annotators:
        served = learner(honest.annotators)
        _learn_all(served, messages)
    _learn_shuffled(served, pairs, epochs - 1, seed, on_progress)
    honest.take_models_of(served)
    return honest.snapshot()


def _learn_all(
    learner: OnlineLearner,
    messages: Sequence[PairMessage],
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    for start in range(0, len(messages), _PART):
        part = messages[start : start + _PART]
        learner.on_messages(part)
        on_progress(len(part))
    learner.finish()


def _learn_shuffled(
    learner: OnlineLearner,
    pairs: Sequence[PreferencePair],
    epochs: int,
    seed: int,
    on_progress: Callable[[int], None],
) -> None:
    by_dimension: dict[str, list[PreferencePair]] = {}
    for pair in pairs:
        by_dimension.setdefault(dimension_of(pair), []).append(pair)
    orders = {name: random.Random(seed) for name in by_dimension}  # so that none changes another's order
    for _ in range(epochs):
        for name, own in by_dimension.items():
            shuffled = orders[name].sample(own, len(own))
            for start in range(0, len(shuffled), _PART):
                part = shuffled[start : start + _PART]
                learner.learn_again(part)
                on_progress(len(part))
