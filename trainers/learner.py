"""The preference learner: pairs in, reward snapshots out, whoever calls it (Faust agent, file, tests).

Two Bradley–Terry models learn side by side, since labels differ in worth. *Trusted* learns from people,
validators and judges, with critic labels at a whisper; *smoothing* takes every label at full weight. As
long as there are critic labels alone, smoothing is served, and the snapshot says that it cannot correct
the critics; from the first other label on, trusted is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streams.errors import BadInput
from streams.messages.checkpoints import carried_by
from streams.messages.codec import feature_hash, sealed
from streams.messages.contracts import TRUSTED_SOURCES, PairMessage, PreferencePair, RewardSnapshot, Rollback
from trainers.books import Books
from trainers.bradley_terry import BradleyTerry, critics_mean
from trainers.estimators import Recipe, estimator_from_state
from trainers.features import Vocabulary, of_pair
from trainers.open_tasks import OpenTask, forget_the_oldest
from trainers.pair_weights import task_of, weight_of_each, weight_of_nth
from trainers.proxies import ProxyAudit
from trainers.tally import log_loss

OPEN_TASKS = 500
"""How many tasks the live learner keeps open; for one more it settles the oldest, whose later pairs are
then learnt as those of a new task. Pairs from elsewhere have no end that would close them."""

_MEAN = "critics_mean"
_REFERENCE = Recipe(parameters={"prior_variance": 4.0, "drift_delta": 0.0})
"""One feature is learnt quickly without harm. A reference that lags behind is beaten by models that are no
better than the critics' mean: with the models' own rate, the gate opened in error in 90 of 200 null runs."""


class PreferenceLearner:
    """One reward model's whole state. The same messages in the same order give the same bytes.

    A task here is a run, or for pairs without a run their ``task_id``. Every pair of a task is predicted
    by the model as it was before the task's first pair, so the figures are honest while learning is
    immediate.
    """

    def __init__(
        self,
        model: str = "default",
        recipe: Recipe | None = None,
        *,
        open_tasks: int = OPEN_TASKS,
        pairs_of_task: Mapping[tuple[str, str], int] | None = None,
    ) -> None:
        """``pairs_of_task`` is (task, label source) to how many pairs will come, where all are at hand."""
        self._pairs_of_task = pairs_of_task
        self.model = model
        self._open_tasks = open_tasks
        self.version = 0
        self.recipe = (recipe or Recipe()).complete()
        self._trusted = BradleyTerry(self.recipe.new())
        self._smoothing = BradleyTerry(self.recipe.new())
        self._reference = BradleyTerry(_REFERENCE.new())
        self._vocabulary = Vocabulary()
        self._books = Books()
        self._open: dict[str, OpenTask] = {}

    def on_messages(self, messages: Sequence[PairMessage], known_new: Sequence[bool] = ()) -> int:
        """Learn messages of the pairs topic in their order; returns how many changed something.

        The bits do not depend on how a stream is cut into calls. Where ``known_new`` is given (True or False
        for each message), the caller knows of a True one that it cannot be a repetition: nothing is kept to
        tell it by. Rollbacks aside, a call that raises has changed nothing.
        """
        return sum(self.on_message(message) for message in messages)

    def on_message(self, message: PairMessage) -> bool:
        """Learn a message of the pairs topic; False where it changes nothing (seen before, other model).

        Raises BadInput for a rollback to what cannot be continued, and has then changed nothing.
        """
        if message.model != self.model:
            return False
        if isinstance(message, Rollback):
            self.roll_back(carried_by(message).state)
            return True
        changed = self._learn(message) if isinstance(message, PreferencePair) else self._close(message.run_id)
        self.version += changed
        return changed

    def learn_again(self, pair: PreferencePair) -> None:
        """A further epoch over a pair: it is learnt, and no figure changes."""
        self._descend(pair, pair.weight * self._share(pair, 1))

    def finish(self) -> None:
        """The end of a file: close every task that has no end of its own, in the order of the file."""
        for task in list(self._open):
            self._close(task)

    def snapshot(
        self,
        consumed: Mapping[str, Mapping[str, int]] | None = None,
        topic_ids: Mapping[str, str] | None = None,
        base: str = "",
    ) -> RewardSnapshot:
        """What is served, as a message; ``consumed`` is topic to partition to next offset."""
        served = self._served.estimator
        names = served.features
        return sealed(
            RewardSnapshot(
                model=self.model,
                version=self.version,
                gate=self._books.gate.position,
                statement=self._statement(),
                feature_names=names,
                feature_hash=feature_hash(names),
                weights=served.weights,
                scales=served.scales,
                covariance=tuple(map(tuple, served.covariance or ())),
                labels=dict(self.labels),
                metrics=self._books.metrics(),
                consumed={topic: dict(offsets) for topic, offsets in (consumed or {}).items()},
                topic_ids=dict(topic_ids or {}),
                base=base,
                recipe={"learner": self.recipe.learner, "parameters": dict(self.recipe.parameters or {})},
                references=dict(self._vocabulary.references),
            )
        )

    @classmethod
    def from_state(cls, model: str, state: Mapping[str, Any]) -> PreferenceLearner:
        """The learner that had this ``state``, read back from JSON or not; it continues to the bit.

        Raises BadInput where another version of TriBrain wrote a state that this one cannot read.
        """
        learner = cls(model, recipe_of(model, state))
        try:
            learner.version = int(state["version"])
            learner._take_over(state)
            learner._open = {task: OpenTask.from_state(saved) for task, saved in state["open"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(
                f"the state of model {model!r} cannot be continued ({type(error).__name__}: {error}); "
                "give another --model"
            ) from None
        return learner

    def state(self) -> dict[str, Any]:
        """Everything that later steps depend on; later steps do not change what was returned.

        Values are those of JSON, and NumPy arrays of finite float64 or of int64, so that it is cheap to take:
        ``orjson.dumps(state, option=orjson.OPT_SERIALIZE_NUMPY)`` writes it, in any thread, and
        ``from_state`` takes what ``orjson.loads`` reads, bit for bit.
        """
        return {
            "version": self.version,
            "labels": dict(self.labels),
            "trusted": self._trusted.estimator.state(),
            "smoothing": self._smoothing.estimator.state(),
            "reference": self._reference.estimator.state(),
            "vocabulary": self._vocabulary.state(),
            **self._books.state({name: task.state() for name, task in self._open.items()}),
        }

    def roll_back(self, earlier: Mapping[str, Any]) -> None:
        """Be the model of an earlier ``state`` again, and know what came since, to learn none of it again.

        Raises BadInput, and changes nothing, where another version of TriBrain wrote the state.
        """
        back = PreferenceLearner.from_state(self.model, earlier)
        now = self._books
        self._books, self._vocabulary = back._books, back._vocabulary
        self._trusted, self._smoothing, self._reference = back._trusted, back._smoothing, back._reference
        served, reference = self._served.frozen(), self._reference.frozen()
        known = {name: task.pair_ids for name, task in (back._open | self._open).items()}
        self._books.closed |= now.closed
        self._books.judged |= now.judged
        self._open = {
            name: OpenTask(served, reference, set(pair_ids))
            for name, pair_ids in known.items()
            if not self._books.is_closed(name)
        }
        forget_the_oldest(self._books.closed)
        forget_the_oldest(self._books.judged)
        self.version = max(self.version, back.version) + 1

    def _take_over(self, state: Mapping[str, Any]) -> None:
        """All that was learnt, and the evidence for it."""
        self._books = Books.from_state(state, state["labels"])
        self._trusted = BradleyTerry(estimator_from_state(state["trusted"]))
        self._smoothing = BradleyTerry(estimator_from_state(state["smoothing"]))
        self._reference = BradleyTerry(estimator_from_state(state["reference"]))
        self._vocabulary = Vocabulary(**state["vocabulary"])

    @property
    def labels(self) -> Mapping[str, int]:
        """Pairs learnt per label source."""
        return self._books.labels

    @property
    def is_active(self) -> bool:
        """Whether the gate is open."""
        return self._books.gate.position == "active"

    @property
    def _served(self) -> BradleyTerry:
        return self._smoothing if self._books.critics_alone else self._trusted

    def _learn(self, pair: PreferencePair) -> bool:
        name = task_of(pair)
        if not self._books.admits(name, pair):
            return False
        if self._books.is_closed(name):
            # People judge a run after its end, too. The run itself has been learnt by then, so a prediction
            # would not be honest: such a pair is learnt, and is no evidence.
            self._step(pair, 1)
            return True
        task = self._open.get(name)
        if task is None:
            if len(self._open) == self._open_tasks:
                self._settle(self._open.pop(next(iter(self._open))))
            task = self._open[name] = OpenTask(self._served.frozen(), self._reference.frozen())
        if pair.pair_id:
            if pair.pair_id in task.pair_ids:
                return False
            task.pair_ids.add(pair.pair_id)
        self._predict(pair, task)
        task.counts[pair.label_source] = task.counts.get(pair.label_source, 0) + 1
        self._step(pair, task.counts[pair.label_source])
        return True

    def _predict(self, pair: PreferencePair, task: OpenTask) -> None:
        p = task.served.prob_prefer(of_pair(pair))
        p_reference = task.reference.prob_prefer(_mean_difference(pair))
        self._books.predicted(pair.label_source, p, p_reference)
        if pair.label_source in TRUSTED_SOURCES:
            task.gain += log_loss(p_reference) - log_loss(p)

    def _step(self, pair: PreferencePair, nth: int) -> None:
        """``nth`` is how many pairs of its task and label source there are now."""
        alarms = self._trusted.estimator.alarms
        weight = pair.weight * self._share(pair, nth)
        self._books.hear(pair)
        self._books.count_trusted(pair, weight)
        self._descend(pair, weight)
        self._books.learnt(pair.label_source)
        if self._trusted.estimator.alarms > alarms:
            self._books.gate.close()

    def _share(self, pair: PreferencePair, nth: int) -> float:
        if self._pairs_of_task is None:
            return weight_of_nth(nth)
        return weight_of_each(self._pairs_of_task[task_of(pair), pair.label_source])

    def _descend(self, pair: PreferencePair, weight: float) -> None:
        d = self._vocabulary.admit(of_pair(pair))
        self._smoothing.learn_pair(d, weight)
        self._trusted.learn_pair(d, self._books.trust(pair, weight))
        if pair.label_source in TRUSTED_SOURCES:
            self._reference.learn_pair(_mean_difference(pair), weight)

    def _close(self, name: str) -> bool:
        if not self._books.close(name):
            return False
        if name in self._open:
            self._settle(self._open.pop(name))
        return True

    def _settle(self, task: OpenTask) -> None:
        if task.n_trusted:
            self._books.bet(task.gain / task.n_trusted)

    def _statement(self) -> str:
        made_of, evidence = self._books.made_of(), self._books.evidence()
        if self._books.critics_alone:
            return f"Made of {made_of} labels alone: it smooths the critics and cannot correct them."
        if self.is_active:
            return f"Made of {made_of} labels: shown to beat the critics' mean ({evidence}), so it steers."
        return f"Made of {made_of} labels: not yet shown to beat the critics' mean ({evidence}); a shadow."


def recipe_of(model: str, state: Mapping[str, Any]) -> Recipe:
    """Which learner made the state of a model. Raises BadInput for one of another version of TriBrain."""
    try:
        for part in ("trusted", "smoothing", "reference"):
            estimator_from_state(state[part])
        Vocabulary(**state["vocabulary"])
        ProxyAudit.from_state(state["audit"])
        trusted = state["trusted"]
        return Recipe(learner=trusted["learner"], parameters=trusted["parameters"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(
            f"version {state.get('version', '?')} of model {model!r} was written by another version of "
            "TriBrain, whose learner this one cannot continue; give another --model"
        ) from None


def _mean_difference(pair: PreferencePair) -> dict[str, float]:
    return {_MEAN: critics_mean(pair.chosen_critics) - critics_mean(pair.rejected_critics)}
