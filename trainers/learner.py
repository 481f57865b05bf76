"""The preference learner: pairs in, reward snapshots out, whoever calls it (Faust agent, file, tests).

Two Bradley–Terry models learn side by side, since labels differ in worth. *Trusted* learns from people,
validators and judges, with critic labels at a whisper; *smoothing* takes every label at full weight. As
long as there are critic labels alone, smoothing is served, and the snapshot says that it cannot correct
the critics; from the first other label on, trusted is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from streams.codec import decode_snapshot, feature_hash, sealed
from streams.contracts import TRUSTED_SOURCES, PairMessage, PreferencePair, RewardSnapshot, Rollback
from trainers.bradley_terry import BradleyTerry, LinearReward, Recipe, critics_mean, log_loss
from trainers.gate import OPENS_AT, Gate
from trainers.pairing import LIVE_SOURCES

SOURCE_WEIGHTS: Mapping[str, float] = {"human": 1.0, "outcome": 1.0, "proxy": 0.25, "critic": 0.02}
"""What a label counts for in the trusted model. Labels made from the mean of the features agree with it
anyway, so they teach nothing about people; a proxy's weight stays below that of a person."""

REMEMBERED_TASKS = 10_000
"""How many closed tasks, and how many pairs of people and judges, are known when they come again; the
snapshot's size depends on it."""
OPEN_TASKS = 2_000
"""How many tasks the live learner keeps open; for one more it settles the oldest, whose later pairs are
then learnt as those of a new task. Pairs from elsewhere have no end that would close them."""

_MEAN = "critics_mean"


@dataclass(slots=True)
class _OpenTask:
    """What the models were before any pair of this task was learnt, and how well they did on it."""

    served: LinearReward
    reference: LinearReward
    pair_ids: set[str] = field(default_factory=set)
    gain: float = 0.0
    n_trusted: int = 0


@dataclass(slots=True)
class _Tally:
    """Test-then-train sums over the pairs of one label source."""

    n: int = 0
    correct: float = 0.0
    log_loss: float = 0.0
    log_loss_critics_mean: float = 0.0

    def add(self, p: float, p_reference: float) -> None:
        self.n += 1
        self.correct += 1.0 if p > 0.5 else 0.5 if p == 0.5 else 0.0
        self.log_loss += log_loss(p)
        self.log_loss_critics_mean += log_loss(p_reference)

    def figures(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "accuracy": self.correct / self.n,
            "log_loss": self.log_loss / self.n,
            "log_loss_critics_mean": self.log_loss_critics_mean / self.n,
        }


class PreferenceLearner:
    """One reward model's whole state. The same messages in the same order give the same bytes.

    A task here is a run, or for pairs without a run their ``task_id``. Every pair of a task is predicted
    by the model as it was before the task's first pair, so the figures are honest while learning is
    immediate.
    """

    def __init__(
        self, model: str = "default", recipe: Recipe | None = None, *, open_tasks: int = OPEN_TASKS
    ) -> None:
        self.model = model
        self._open_tasks = open_tasks
        self.version = 0
        self.labels: dict[str, int] = {}
        self._trusted = BradleyTerry(recipe)
        self._smoothing = BradleyTerry(recipe)
        self._reference = BradleyTerry()
        self._gate = Gate()
        self._tallies: dict[str, _Tally] = {}
        self._open: dict[str, _OpenTask] = {}
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
        self._descend(pair)

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
        served = self._served
        names = tuple(served.weights)
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
        """The learner that published this snapshot; it continues to the bit."""
        learner = cls(snapshot.model)
        learner.version = snapshot.version
        learner._take_over(snapshot)
        learner._open = {task: _open_task(saved) for task, saved in snapshot.learner["open"].items()}
        learner._closed = dict.fromkeys(snapshot.learner["closed"])
        learner._judged = dict.fromkeys(snapshot.learner.get("judged", ()))
        return learner

    def _take_over(self, snapshot: RewardSnapshot) -> None:
        """All that was learnt, and the evidence for it."""
        state = snapshot.learner
        self.labels = dict(snapshot.labels)
        self._trusted = BradleyTerry.from_state(state["trusted"])
        self._smoothing = BradleyTerry.from_state(state["smoothing"])
        self._reference = BradleyTerry.from_state(state["reference"])
        self._gate = Gate.from_state(state["gate"])
        self._tallies = {source: _Tally(**tally) for source, tally in state["tallies"].items()}

    def _roll_back(self, earlier: RewardSnapshot) -> None:
        """Be an earlier model again, but know what came since, so that none of it is learnt again."""
        self._take_over(earlier)
        served, reference = self._served.frozen(), self._reference.frozen()
        known = {**_open_pair_ids(earlier), **{name: task.pair_ids for name, task in self._open.items()}}
        self._closed = dict.fromkeys([*earlier.learner["closed"], *self._closed])
        self._judged = dict.fromkeys([*earlier.learner.get("judged", ()), *self._judged])
        self._open = {
            name: _OpenTask(served, reference, set(pair_ids))
            for name, pair_ids in known.items()
            if _task_hash(name) not in self._closed
        }
        _forget_the_oldest(self._closed)
        _forget_the_oldest(self._judged)
        self.version = max(self.version, earlier.version) + 1

    @property
    def _served(self) -> BradleyTerry:
        return self._smoothing if self.labels.keys() <= {"critic"} else self._trusted

    def _learn(self, pair: PreferencePair) -> bool:
        name = pair.run_id or pair.task_id
        is_closed = _task_hash(name) in self._closed
        if pair.label_source not in LIVE_SOURCES:
            if pair.pair_id and not _note(self._judged, f"{name}\0{pair.pair_id}"):
                return False
        elif is_closed:
            return False
        if is_closed:
            # People judge a run after its end, too. The run itself has been learnt by then, so a prediction
            # would not be honest: such a pair is learnt, and is no evidence.
            self._step(pair)
            return True
        task = self._open.get(name)
        if task is None:
            if len(self._open) == self._open_tasks:
                self._settle(self._open.pop(next(iter(self._open))))
            task = self._open[name] = _OpenTask(self._served.frozen(), self._reference.frozen())
        if pair.pair_id:
            if pair.pair_id in task.pair_ids:
                return False
            task.pair_ids.add(pair.pair_id)
        self._predict(pair, task)
        self._step(pair)
        return True

    def _predict(self, pair: PreferencePair, task: _OpenTask) -> None:
        p = task.served.prob_prefer(pair.chosen_critics, pair.rejected_critics)
        p_reference = task.reference.prob_prefer(*_means(pair))
        self._tallies.setdefault(pair.label_source, _Tally()).add(p, p_reference)
        if pair.label_source in TRUSTED_SOURCES:
            task.gain += log_loss(p_reference) - log_loss(p)
            task.n_trusted += 1

    def _step(self, pair: PreferencePair) -> None:
        self._descend(pair)
        self.labels[pair.label_source] = self.labels.get(pair.label_source, 0) + 1

    def _descend(self, pair: PreferencePair) -> None:
        sides = (pair.chosen_critics, pair.rejected_critics)
        self._smoothing.learn_pair(*sides, weight=pair.weight)
        self._trusted.learn_pair(*sides, weight=pair.weight * SOURCE_WEIGHTS[pair.label_source])
        if pair.label_source in TRUSTED_SOURCES:
            self._reference.learn_pair(*_means(pair), weight=pair.weight)

    def _close(self, name: str) -> bool:
        if not _note(self._closed, name):
            return False
        if name in self._open:
            self._settle(self._open.pop(name))
        return True

    def _settle(self, task: _OpenTask) -> None:
        if task.n_trusted:
            self._gate.bet(task.gain / task.n_trusted, pairs_learnt=sum(self.labels.values()))

    def _metrics(self) -> dict[str, Any]:
        trusted = _Tally()
        for source in sorted(TRUSTED_SOURCES & self._tallies.keys()):
            tally = self._tallies[source]
            trusted.n += tally.n
            trusted.correct += tally.correct
            trusted.log_loss += tally.log_loss
            trusted.log_loss_critics_mean += tally.log_loss_critics_mean
        return {
            "trusted": trusted.figures() if trusted.n else None,
            "by_label_source": {source: tally.figures() for source, tally in self._tallies.items()},
            "gate": {
                "evidence": self._gate.evidence,
                "opens_at": OPENS_AT,
                "tasks": self._gate.tasks,
                "opened_at_pair": self._gate.opened_at_pair,
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
            "trusted": self._trusted.state(),
            "smoothing": self._smoothing.state(),
            "reference": self._reference.state(),
            "gate": self._gate.state(),
            "tallies": {source: asdict(tally) for source, tally in self._tallies.items()},
            "open": {
                name: {
                    "served": dict(task.served.coefficients),
                    "reference": dict(task.reference.coefficients),
                    "pair_ids": sorted(task.pair_ids),
                    "gain": task.gain,
                    "n_trusted": task.n_trusted,
                }
                for name, task in self._open.items()
            },
            "closed": list(self._closed),
            **({"judged": list(self._judged)} if self._judged else {}),
        }


def _note(known: dict[str, None], name: str) -> bool:
    """Remember a closed task, or a judged pair; False where it was known already."""
    hashed = _task_hash(name)
    if hashed in known:
        return False
    known[hashed] = None
    _forget_the_oldest(known)
    return True


def _forget_the_oldest(known: dict[str, None]) -> None:
    while len(known) > REMEMBERED_TASKS:
        del known[next(iter(known))]


def _task_hash(name: str) -> str:
    """64 bits of SHA-256: among 10,000 tasks two are alike with a chance of 3 in a million million."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _open_pair_ids(snapshot: RewardSnapshot) -> dict[str, list[str]]:
    return {name: saved["pair_ids"] for name, saved in snapshot.learner["open"].items()}


def _means(pair: PreferencePair) -> tuple[dict[str, float | None], dict[str, float | None]]:
    return {_MEAN: critics_mean(pair.chosen_critics)}, {_MEAN: critics_mean(pair.rejected_critics)}


def _open_task(saved: Mapping[str, Any]) -> _OpenTask:
    return _OpenTask(
        served=LinearReward(saved["served"]),
        reference=LinearReward(saved["reference"]),
        pair_ids=set(saved["pair_ids"]),
        gain=saved["gain"],
        n_trusted=saved["n_trusted"],
    )
