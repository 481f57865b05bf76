"""Learning from comparisons: all at once, or one by one as they come."""

from __future__ import annotations

from collections.abc import Collection
from typing import Self

from streams.errors import BadInput
from streams.messages.contracts import PairsEnd, PreferencePair
from streams.messages.refusals import shown
from trainers.bradley_terry.estimators import DEFAULT_LEARNER, LearnerName, Recipe
from tribrain.api.comparisons import Comparisons, as_pairs, current_pairs
from tribrain.api.reward import Reward


def learn(
    comparisons: Comparisons,
    *,
    model: str = "default",
    learner: LearnerName = DEFAULT_LEARNER,
    epochs: int = 1,
    seed: int = 0,
    ignore: Collection[str] = (),
) -> Reward:
    """The reward that all comparisons teach, as ``tribrain reward train`` learns it.

    The first pass, in the order given, predicts each pair before its task is learnt; that is the evidence of
    the gate.

    - ``comparisons``: pairs, or a table of them, at least one
    - ``model``: the reward model's name; pairs have to be for it
    - ``learner``: ``laplace`` gives intervals, ``river-logistic`` is a point estimate
    - ``epochs``: passes over the pairs; those after the first change no figure
    - ``seed``: shuffles the pairs in passes after the first
    - ``ignore``: columns of the table to leave out

    Raises BadInput for a table or a pair that cannot be learnt, for none at all, for a learner that is not
    known, and for ``epochs`` below 1.

    >>> from tribrain import learn
    >>> rows = [
    ...     {"task": n, "left_sharp": 0.8, "right_sharp": 0.3, "winner": "left" if n % 4 else "right"}
    ...     for n in range(40)
    ... ]
    >>> for place in learn(rows).rank({"a": {"sharp": 0.3}, "b": {"sharp": 0.8}}):
    ...     print(place.name, place.probability > 0.5, place.ci95 is not None)
    b True True
    a False True
    """
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        raise BadInput(f"epochs: found {shown(epochs)}; expected a whole number of at least 1")
    recipe = Recipe(learner=learner)
    pairs = current_pairs(comparisons, model, ignore)
    from trainers.online.train import train_on_pairs  # not at the top: numba takes a while to load

    return Reward(train_on_pairs(pairs, model=model, recipe=recipe, epochs=epochs, seed=seed))


class PreferenceLearner:
    """The live trainer's learner: pairs come one by one, and ``reward`` is what they have taught so far.

    Every pair is predicted by the model as it was before its task began. That counts as evidence for the gate
    once the task has ended. ``model`` is the reward model's name, which pairs have to be for, and ``learner``
    is as in ``learn``. Raises BadInput for comparisons that cannot be learnt, and then learns none of them.

    >>> from tribrain import PreferenceLearner, comparison
    >>> learner = PreferenceLearner()
    >>> learner = learner.learn_one(comparison({"sharp": 0.9}, {"sharp": 0.4}, "left", task="pour the tea"))
    >>> learner.reward.version, learner.reward.critics
    (1, ('sharp',))
    """

    def __init__(self, *, model: str = "default", learner: LearnerName = DEFAULT_LEARNER) -> None:
        from trainers.online.learner import OnlineLearner

        self._learner = OnlineLearner(model, Recipe(learner=learner))

    @property
    def reward(self) -> Reward:
        """The reward learnt so far; later pairs do not change it."""
        return Reward(self._learner.snapshot())

    def learn_one(self, pair: PreferencePair) -> Self:
        """Learn a ``pair``; one whose id was learnt before is skipped.

        Raises BadInput for one that is not for this model.
        """
        return self.learn_many([pair])

    def learn_many(self, comparisons: Comparisons, *, ignore: Collection[str] = ()) -> Self:
        """Learn ``comparisons``, pairs or a table, in their order.

        ``ignore`` names columns of the table to leave out. Raises BadInput for what cannot be learnt, and for
        none at all.
        """
        self._learner.on_messages(as_pairs(comparisons, self._learner.model, ignore))
        return self

    def end_task(self, task: str) -> Self:
        """End this ``task``: no more of its pairs come, so its predictions count as evidence.

        A task without pairs is passed over.
        """
        model = self._learner.model
        end = PairsEnd(run_id=task, task_id=task, model=model, n_pairs=0, n_candidates=0)
        self._learner.on_message(end)
        return self
