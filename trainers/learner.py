"""The preference learner: pairs in, reward snapshots out, whoever calls it (Faust agent, file, tests).

Two Bradley–Terry models learn side by side, since labels differ in worth. *Trusted* learns from people,
validators and judges, with critic labels at a whisper; *smoothing* takes every label at full weight. As
long as there are critic labels alone, smoothing is served, and the snapshot says that it cannot correct
the critics; from the first other label on, trusted is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streams.codec import decode_snapshot, feature_hash, sealed
from streams.contracts import TRUSTED_SOURCES, PairMessage, PreferencePair, RewardSnapshot, Rollback
from streams.errors import BadInput
from trainers.bradley_terry import BradleyTerry, critics_mean
from trainers.estimators import Recipe, estimator_from_state
from trainers.features import Vocabulary, of_pair
from trainers.gate import OPENS_AT, Gate
from trainers.open_tasks import OpenTask, forget_the_oldest, note, task_hash
from trainers.pair_weights import SOURCE_WEIGHTS, task_of, weight_of_each, weight_of_nth
from trainers.pairing import LIVE_SOURCES
from trainers.proxies import ProxyAudit
from trainers.tally import Tally, log_loss

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
        self.labels: dict[str, int] = {}
        self.recipe = recipe or Recipe()
        self._trusted = BradleyTerry(self.recipe.new())
        self._smoothing = BradleyTerry(self.recipe.new())
        self._reference = BradleyTerry(_REFERENCE.new())
        self._vocabulary = Vocabulary()
        self._audit = ProxyAudit()
        self._gate = Gate()
        self._tallies: dict[str, Tally] = {}
        self._open: dict[str, OpenTask] = {}
        self._closed: dict[str, None] = {}
        self._judged: dict[str, None] = {}

    def on_message(self, message: PairMessage) -> bool:
        """Learn a message of the pairs topic; False where it changes nothing (seen before, other model)."""
        if message.model != self.model:
            return False
        if isinstance(message, Rollback):
            self._roll_back(decode_snapshot(message.snapshot.encode(), "rollback"))
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
        """The state as a message; ``consumed`` is topic to partition to next offset."""
        served = self._served.estimator
        names = served.features
        return sealed(
            RewardSnapshot(
                model=self.model,
                version=self.version,
                gate=self._gate.position,
                statement=self._statement(),
                feature_names=names,
                feature_hash=feature_hash(names),
                weights=served.weights,
                scales=served.scales,
                covariance=tuple(map(tuple, served.covariance or ())),
                labels=dict(self.labels),
                metrics=self._metrics(),
                consumed={topic: dict(offsets) for topic, offsets in (consumed or {}).items()},
                topic_ids=dict(topic_ids or {}),
                base=base,
                learner=self._state(),
            )
        )

    @classmethod
    def from_snapshot(cls, snapshot: RewardSnapshot) -> PreferenceLearner:
        """The learner that published this snapshot; it continues to the bit.

        Raises BadInput where another version of TriBrain wrote a state that this one cannot read.
        """
        learner = cls(snapshot.model, recipe_of(snapshot))
        learner.version = snapshot.version
        learner._take_over(snapshot)
        learner._open = {task: OpenTask.from_state(saved) for task, saved in snapshot.learner["open"].items()}
        learner._closed = dict.fromkeys(snapshot.learner["closed"])
        learner._judged = dict.fromkeys(snapshot.learner.get("judged", ()))
        return learner

    def _take_over(self, snapshot: RewardSnapshot) -> None:
        """All that was learnt, and the evidence for it."""
        state = snapshot.learner
        self.labels = dict(snapshot.labels)
        self._trusted = BradleyTerry(estimator_from_state(state["trusted"]))
        self._smoothing = BradleyTerry(estimator_from_state(state["smoothing"]))
        self._reference = BradleyTerry(estimator_from_state(state["reference"]))
        self._vocabulary = Vocabulary(**state["vocabulary"])
        self._audit = ProxyAudit.from_state(state["audit"])
        self._gate = Gate.from_state(state["gate"])
        self._tallies = {source: Tally.from_state(tally) for source, tally in state["tallies"].items()}

    def _roll_back(self, earlier: RewardSnapshot) -> None:
        """Be an earlier model again, but know what came since, so that none of it is learnt again."""
        recipe_of(earlier)
        self._take_over(earlier)
        served, reference = self._served.frozen(), self._reference.frozen()
        known = {**_open_pair_ids(earlier), **{name: task.pair_ids for name, task in self._open.items()}}
        self._closed = dict.fromkeys([*earlier.learner["closed"], *self._closed])
        self._judged = dict.fromkeys([*earlier.learner.get("judged", ()), *self._judged])
        self._open = {
            name: OpenTask(served, reference, set(pair_ids))
            for name, pair_ids in known.items()
            if task_hash(name) not in self._closed
        }
        forget_the_oldest(self._closed)
        forget_the_oldest(self._judged)
        self.version = max(self.version, earlier.version) + 1

    @property
    def is_active(self) -> bool:
        """Whether the gate is open."""
        return self._gate.position == "active"

    @property
    def _served(self) -> BradleyTerry:
        return self._smoothing if self.labels.keys() <= {"critic"} else self._trusted

    def _learn(self, pair: PreferencePair) -> bool:
        name = task_of(pair)
        is_closed = task_hash(name) in self._closed
        if pair.label_source not in LIVE_SOURCES:
            if pair.pair_id and not note(self._judged, f"{name}\0{pair.pair_id}"):
                return False
        elif is_closed:
            return False
        if is_closed:
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
        self._tallies.setdefault(pair.label_source, Tally()).add(p, p_reference)
        if pair.label_source in TRUSTED_SOURCES:
            task.gain += log_loss(p_reference) - log_loss(p)

    def _step(self, pair: PreferencePair, nth: int) -> None:
        """``nth`` is how many pairs of its task and label source there are now."""
        alarms = self._trusted.estimator.alarms
        weight = pair.weight * self._share(pair, nth)
        self._audit.hear(pair)
        if pair.label_source in TRUSTED_SOURCES:
            self._audit.trusted_weight += weight
        self._descend(pair, weight)
        self.labels[pair.label_source] = self.labels.get(pair.label_source, 0) + 1
        if self._trusted.estimator.alarms > alarms:
            self._gate.close()

    def _share(self, pair: PreferencePair, nth: int) -> float:
        if self._pairs_of_task is None:
            return weight_of_nth(nth)
        return weight_of_each(self._pairs_of_task[task_of(pair), pair.label_source])

    def _descend(self, pair: PreferencePair, weight: float) -> None:
        d = self._vocabulary.admit(of_pair(pair))
        self._smoothing.learn_pair(d, weight)
        is_proxy = pair.label_source == "proxy"
        trust = self._audit.weigh(pair, weight) if is_proxy else weight * SOURCE_WEIGHTS[pair.label_source]
        self._trusted.learn_pair(d, trust)
        if pair.label_source in TRUSTED_SOURCES:
            self._reference.learn_pair(_mean_difference(pair), weight)

    def _close(self, name: str) -> bool:
        if not note(self._closed, name):
            return False
        if name in self._open:
            self._settle(self._open.pop(name))
        return True

    def _settle(self, task: OpenTask) -> None:
        if task.n_trusted:
            self._gate.bet(task.gain / task.n_trusted, pairs_learnt=sum(self.labels.values()))

    def _metrics(self) -> dict[str, Any]:
        trusted = Tally.of(self._tallies[source] for source in sorted(TRUSTED_SOURCES & self._tallies.keys()))
        return {
            "trusted": trusted.figures() if trusted.n else None,
            "by_label_source": {source: tally.figures() for source, tally in self._tallies.items()},
            **({"proxies": self._audit.figures()} if "proxy" in self.labels else {}),
            "gate": {
                "evidence": self._gate.evidence,
                "opens_at": OPENS_AT,
                "tasks": self._gate.tasks,
                "opened_at_pair": self._gate.opened_at_pair,
                "closed_times": self._gate.closed_times,
            },
        }

    def _statement(self) -> str:
        made_of = ", ".join(f"{n} {source}" for source, n in self.labels.items()) or "no"
        if self.labels.keys() <= {"critic"}:
            return f"Made of {made_of} labels alone: it smooths the critics and cannot correct them."
        evidence = f"evidence {self._gate.evidence:,.1f} after {self._gate.tasks} tasks, {OPENS_AT:g} needed"
        if self._gate.position == "active":
            return f"Made of {made_of} labels: shown to beat the critics' mean ({evidence}), so it steers."
        return f"Made of {made_of} labels: not yet shown to beat the critics' mean ({evidence}); a shadow."

    def _state(self) -> dict[str, Any]:
        return {
            "trusted": self._trusted.estimator.state(),
            "smoothing": self._smoothing.estimator.state(),
            "reference": self._reference.estimator.state(),
            "vocabulary": self._vocabulary.state(),
            "audit": self._audit.state(),
            "gate": self._gate.state(),
            "tallies": {source: tally.state() for source, tally in self._tallies.items()},
            "open": {name: task.state() for name, task in self._open.items()},
            "closed": list(self._closed),
            **({"judged": list(self._judged)} if self._judged else {}),
        }


def recipe_of(snapshot: RewardSnapshot) -> Recipe:
    """Which learner made the snapshot. Raises BadInput for the state of another version of TriBrain."""
    try:
        for model in ("trusted", "smoothing", "reference"):
            estimator_from_state(snapshot.learner[model])
        Vocabulary(**snapshot.learner["vocabulary"])
        ProxyAudit.from_state(snapshot.learner["audit"])
        state = snapshot.learner["trusted"]
        return Recipe(learner=state["learner"], parameters=state["parameters"])
    except (KeyError, TypeError):
        raise BadInput(
            f"version {snapshot.version} of model {snapshot.model!r} was written by another version of "
            "TriBrain, whose learner this one cannot continue; give another --model"
        ) from None


def _open_pair_ids(snapshot: RewardSnapshot) -> dict[str, list[str]]:
    return {name: saved["pair_ids"] for name, saved in snapshot.learner["open"].items()}


def _mean_difference(pair: PreferencePair) -> dict[str, float]:
    return {_MEAN: critics_mean(pair.chosen_critics) - critics_mean(pair.rejected_critics)}
