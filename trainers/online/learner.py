"""The preference learner: pairs in, reward snapshots out, for any caller (Faust agent, file, tests).

While all labels are critics', the model that takes every label at full weight is served, and the snapshot
says that it cannot correct the critics. From the first other label on, the trusted one is served
(``trainers.online.models``).

Messages are learnt in batches, in three steps whose results do not depend on where a batch is cut. The
weights of the pairs are computed in order. Loops over the rows then treat each row as if it were alone.
Finally the evidence from the predictions is recorded at the row where it was seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import orjson

from streams.errors import BadInput
from streams.messages.checkpoints import carried_by
from streams.messages.codec import decode_snapshot, encode, feature_hash, sealed
from streams.messages.contracts import DimensionReward, PairMessage, PreferencePair, RewardSnapshot, Rollback
from streams.messages.feature_names import shown
from streams.messages.fields import ScoreRange
from trainers.bradley_terry.estimators import PairEstimator, Recipe
from trainers.bradley_terry.reward import printable
from trainers.bradley_terry.rows import Read
from trainers.evidence.annotators import WELL_KNOWN, Annotators
from trainers.online.admission import OPEN_TASKS, Admission
from trainers.online.batch import AdmittedPairs
from trainers.online.dimensions import Dimensions
from trainers.online.models import Models, coefficients
from trainers.online.unsettled import UnsettledVotes
from trainers.other_version import a_count
from trainers.pairs.judgements import dimension_of, judgement_of
from trainers.pairs.seen import REMEMBERED, hashed
from trainers.pairs.withdrawn import is_withdrawal

_ROWS = 1024
"""Pairs learnt at a time, which bounds the memory of a batch."""
_MOST_NAMED = 5
"""Features named in a statement."""


class OnlineLearner:
    """One reward model's whole state. The same messages in the same order give the same bytes.

    Every pair of a task (``trainers.pairs.weights.task_of``) is predicted by the model as it was before the
    task's first pair, so the figures are honest although learning is immediate.
    """

    def __init__(
        self,
        model: str = "default",
        recipe: Recipe | None = None,
        *,
        open_tasks: int = OPEN_TASKS,
        remembered: int = REMEMBERED,
        pairs_of_task: Mapping[tuple[str, str, str], int] | None = None,
        heard_before: Mapping[str, Annotators] | None = None,
        dimension: str = "",
    ) -> None:
        """``open_tasks`` limits the open tasks, and ``remembered`` the other tasks and the pairs.

        ``pairs_of_task`` maps (dimension, task, label source) to the number of pairs to come, if all are
        known in advance. ``heard_before`` maps a dimension to what all votes show about their annotators.
        ``dimension`` is what the labels judge; other dimensions have their own learners inside this one.
        """
        self.model = model
        self.recipe = (recipe or Recipe()).complete()
        self.version = 0
        self._dimension = dimension
        self._models = Models.new(self.recipe)
        self._admission = Admission(open_tasks, remembered, pairs_of_task)
        self._heard_before = heard_before or {}
        self._admission.evidence.heard_before = self._heard_before.get(dimension)
        self._unsettled = UnsettledVotes()
        self._dimensions = Dimensions(self._begin_dimension)

    def on_message(self, message: PairMessage, known_new: bool = False) -> bool:
        """``on_messages`` for one; False if it changes nothing (a repetition, or for another model)."""
        return self.on_messages([message], [known_new]) > 0

    def on_messages(self, messages: Sequence[PairMessage], known_new: Sequence[bool] | None = None) -> int:
        """Learn messages of the pairs topic in order; returns the number of those that changed something.

        The bits do not depend on how a stream is split into calls. ``known_new`` has one flag per message:
        True means that it cannot be a repetition, so nothing is stored to recognise it. A call that raises
        changes nothing. Of the messages that the contracts allow, only a rollback to the state of another
        version of TriBrain raises (BadInput).
        """
        given = zip(messages, known_new or [False] * len(messages), strict=True)
        mine = [(message, is_new) for message, is_new in given if message.model == self.model]
        pairs = [message for message, _ in mine if self._is_own(message)]
        read, judgements = self._admission.rows.read(pairs), [judgement_of(pair) for pair in pairs]
        earlier = [self._carried_by(message) for message, _ in mine if isinstance(message, Rollback)]
        batch = self._admission.begin()
        at = changes = 0
        for message, is_new in mine:
            if self._is_own(message) and is_withdrawal(message):
                batch, changed = self._learn(batch, read), self._undo(message, read, at)
                at += 1
            elif self._is_own(message):
                changed = self._admission.take(message, is_new, judgements[at], batch, read, at)
                at += 1
                if len(batch.pairs) == _ROWS or batch.newly_known:
                    batch = self._learn(batch, read)
            elif isinstance(message, PreferencePair):
                if is_withdrawal(message) and not self._dimensions.knows(message):
                    continue
                if self._dimensions.is_new(message):  # it starts from what was learnt so far
                    batch = self._learn(batch, read)
                self._dimensions.add(message, is_new)
                continue
            elif isinstance(message, Rollback):
                self._learn(batch, read)
                self.version += (of_dimensions := self._dimensions.learn())
                changes += of_dimensions
                self.go_back_to(earlier.pop(0))
                batch, changed = self._admission.begin(), True
            elif message.revision:  # its run has, or will have, an end of its own
                changed = False
            else:
                changed = self._admission.close(message.run_id, batch)
                self._dimensions.end(message, is_new)
            changes += changed
            self.version += changed
        self._learn(batch, read)
        self.version += (of_dimensions := self._dimensions.learn())
        return changes + of_dimensions

    def learn_again(self, pairs: Sequence[PreferencePair]) -> None:
        """A further epoch: learns the pairs in order, without changing any figure."""
        for name, learner in self._dimensions.learners.items():
            learner.learn_again([pair for pair in pairs if dimension_of(pair) == name])
        own = [pair for pair in pairs if self._is_own(pair)]
        for start in range(0, len(own), _ROWS):
            part = own[start : start + _ROWS]
            read, batch = self._admission.rows.read(part), self._admission.begin(is_news=False)
            for at, pair in enumerate(part):
                self._admission.take_again(pair, batch, read, at)
            self._learn(batch, read)

    @property
    def annotators(self) -> dict[str, Annotators]:
        """What votes show about the annotators, by dimension (empty for overall quality), where they can be
        distinguished."""
        of_each = {self._dimension: self, **self._dimensions.learners}
        heard = {name: learner._admission.evidence.annotators for name, learner in of_each.items()}
        return {name: annotators for name, annotators in heard.items() if annotators.compared}

    def take_models_of(self, other: OnlineLearner) -> None:
        """Serve what another learner learnt from the same messages, with this one's evidence."""
        self._models = other._models
        for name, learner in self._dimensions.learners.items():
            learner._models = other._dimensions.learners[name]._models

    def finish(self) -> None:
        """Close every task that has no end, in the order of the file; called at the file's end."""
        for learner in self._dimensions.learners.values():
            learner.finish()
        read, batch = self._admission.rows.read([]), self._admission.begin()
        self._admission.close_all(batch)
        self._learn(batch, read)

    def snapshot(
        self,
        consumed: Mapping[str, Mapping[str, int]] | None = None,
        topic_ids: Mapping[str, str] | None = None,
        base: str = "",
    ) -> RewardSnapshot:
        """The served model as a message; ``consumed`` maps topic to partition to next offset."""
        reward = self._reward()
        return sealed(
            RewardSnapshot(
                model=self.model,
                version=self.version,
                feature_hash=feature_hash(reward["feature_names"]),
                consumed={topic: dict(offsets) for topic, offsets in (consumed or {}).items()},
                topic_ids=dict(topic_ids or {}),
                base=base,
                recipe={"learner": self.recipe.learner, "parameters": dict(self.recipe.parameters or {})},
                dimensions={
                    name: learner._on_dimension() for name, learner in self._dimensions.learners.items()
                },
                ranges=self._ranges(),
                **reward,
            )
        )

    def state(self) -> dict[str, Any]:
        """Everything that later steps depend on; later steps do not change the returned value.

        Values are JSON's, plus NumPy arrays of finite float64 or of int64, so it is cheap to take.
        ``orjson.dumps(state, option=orjson.OPT_SERIALIZE_NUMPY)`` writes it, in any thread, and
        ``from_state`` takes the result of ``orjson.loads``, bit for bit.
        """
        return {
            "version": self.version,
            **self._models.state(),
            **self._admission.state(),
            **({"unsettled": self._unsettled.state()} if self._unsettled.votes else {}),
            "dimensions": self._dimensions.state(),
        }

    @classmethod
    def from_state(
        cls,
        model: str,
        state: Mapping[str, Any],
        *,
        open_tasks: int = OPEN_TASKS,
        remembered: int = REMEMBERED,
    ) -> OnlineLearner:
        """The learner with this ``state``, read back from JSON or not; it continues bit for bit.

        Raises BadInput if another version of TriBrain wrote a state that this one cannot read.
        """
        try:
            learner = cls(model, recipe_of(model, state), open_tasks=open_tasks, remembered=remembered)
            learner._restore(state)
            # A state that could not be published later is unusable.
            decode_snapshot(encode(learner.snapshot()), model)
            orjson.dumps(learner.state(), option=orjson.OPT_SERIALIZE_NUMPY)
        except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError, BadInput):
            raise _of_another_version(model, state) from None
        return learner

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.version = a_count(state["version"])
        self._models = Models.from_state(state)
        self._admission.restore(state)
        if "unsettled" in state:
            features = len(self._admission.rows.vocabulary.columns)
            self._unsettled = UnsettledVotes.from_state(state["unsettled"], features)
        self._dimensions.restore(state["dimensions"], self._restored_dimension)

    def _is_own(self, message: PairMessage) -> TypeGuard[PreferencePair]:
        return isinstance(message, PreferencePair) and dimension_of(message) == self._dimension

    def _begin_dimension(self, name: str) -> OnlineLearner:
        """A copy of this learner as it is now."""
        learner = OnlineLearner(self.model, self.recipe, dimension=name)
        learner._models = self._models.begun_from()
        learner._admission = self._admission.begun_from()
        learner._admission.evidence.heard_before = self._heard_before.get(name)
        return learner

    def _restored_dimension(self, name: str, state: Mapping[str, Any]) -> OnlineLearner:
        learner = self._begin_dimension(name)
        learner._restore(state)
        return learner

    @property
    def labels(self) -> Mapping[str, int]:
        """Pairs learnt per label source."""
        return self._admission.evidence.labels

    @property
    def is_active(self) -> bool:
        """Whether the gate is open."""
        return self._admission.evidence.gate.position == "active"

    @property
    def _served(self) -> PairEstimator:
        return self._models.smoothing if self._admission.evidence.critics_alone else self._models.trusted

    def _learn(self, batch: AdmittedPairs, read: Read) -> AdmittedPairs:
        """Learn what was added, and record the evidence of the predictions. Returns the next batch."""
        tasks, evidence = self._admission.open, self._admission.evidence
        alarms: list[int] = []
        if batch.pairs:
            rows = batch.rows(read, self._admission.rows)
            self._models.know(self._admission.rows.vocabulary.columns)
            tasks.widen(rows.X.shape[1])
            alarms = self._models.learn(rows, tasks.served, tasks.reference)
            for i, annotator, name, task, trust in batch.unsettled:
                self._unsettled.keep(
                    annotator,
                    name,
                    task,
                    rows.X[i],
                    tie=bool(rows.ties[i]),
                    weight=float(rows.weights[i]),
                    trust=trust,
                )
            p, p_reference = tasks.predict(rows)
            evidence.predicted_many(batch.sources, (rows.slots >= 0) & ~rows.ties, p, p_reference)
        for pairs_before, slot, pairs_learnt in batch.settled:
            while alarms and alarms[0] < pairs_before:
                evidence.gate.close()
                del alarms[0]
            if (gain := tasks.mean_gain(slot)) is not None:
                evidence.gate.bet(gain, pairs_learnt=pairs_learnt)
        for _ in alarms:
            evidence.gate.close()
        tasks.free_left()
        self._weigh_again(batch.newly_known)
        return self._admission.begin()

    def _weigh_again(self, newly_known: Sequence[str]) -> None:
        """Give earlier votes of these annotators the weight of their next ones."""
        annotators = self._admission.evidence.annotators
        for annotator in newly_known:
            trust = self._admission.evidence.weight_of(annotator)
            for vote in self._unsettled.of(annotator):
                row = vote.row(len(self._admission.rows.vocabulary.columns))
                now = vote.weight * trust
                self._models.weigh_again(row, vote.weight * vote.trust, now, tie=vote.tie)
                self._admission.counts_now(vote.name, now, vote.task, trust - vote.trust)
                vote.trust = trust
            if annotators.compared[annotator] >= WELL_KNOWN:
                self._unsettled.let_go(annotator)

    def _undo(self, pair: PreferencePair, read: Read, at: int) -> bool:
        """Undo a vote, number ``at`` of those that were read; False if it was not learnt."""
        learnt_with = self._admission.undo(pair)
        if learnt_with is None:
            return False
        rows = self._admission.rows
        X, means = rows.rows(read, [at], [rows.plan(read, at)], is_news=False)
        self._models.know(rows.vocabulary.columns)
        self._models.undo(X[0], means[0], *learnt_with, tie=pair.tie)
        self._unsettled.let_go(name=hashed(pair.pair_id))
        return True

    def _carried_by(self, rollback: Rollback) -> OnlineLearner:
        """The learner with the state in a rollback. Raises BadInput if it cannot continue."""
        bounds = self._admission
        earlier = OnlineLearner.from_state(
            self.model, carried_by(rollback).state, open_tasks=bounds.open_tasks, remembered=bounds.remembered
        )
        earlier.check_learner(self.recipe)
        return earlier

    def check_learner(self, other: Recipe) -> None:
        """Raises BadInput if the model's learner differs from ``other``'s."""
        if other.learner != self.recipe.learner:
            raise BadInput(
                f"model {self.model!r} is learnt by {other.learner} now, and was learnt by "
                f"{self.recipe.learner} at version {self.version}; it cannot go back to that"
            )

    def go_back_to(self, earlier: OnlineLearner) -> None:
        """Become the earlier model again, but remember what came since, so that none of it is learnt again.

        Tasks that were open in the earlier model keep its predictions; tasks that started since are predicted
        by the earlier model.
        """
        self._dimensions.go_back_to(earlier._dimensions)
        begun = earlier._admission.take_in(self._admission)
        self.recipe, self._models, self._admission = earlier.recipe, earlier._models, earlier._admission
        self._unsettled = earlier._unsettled
        served, reference = coefficients(self._served), coefficients(self._models.reference)
        for name in begun:
            self._admission.open.write(name, served, reference)
        self.version = max(self.version, earlier.version)

    def _reward(self) -> dict[str, Any]:
        """The fields of a snapshot and of a dimension's reward."""
        served = self._served
        covariance = served.covariance
        return {
            "gate": self._admission.evidence.gate.position,
            "statement": self._statement(),
            "feature_names": served.features,
            "weights": served.weights,
            "scales": served.scales,
            "covariance": () if covariance is None else tuple(map(tuple, covariance.tolist())),
            "labels": dict(self.labels),
            "metrics": self._metrics(),
            "references": dict(self._admission.rows.vocabulary.references),
            "tie_nu": served.tie_nu,
        }

    def _on_dimension(self) -> DimensionReward:
        reward = self._reward()
        of_features = {name: tuple(reward[name].values()) for name in ("weights", "scales")}
        return DimensionReward(**reward | of_features)

    def _ranges(self) -> dict[str, ScoreRange]:
        shown, features = self._admission.rows.shown.ranges, set(self._served.features)
        return {name: of for name, of in shown.items() if name in features}

    def _metrics(self) -> dict[str, Any]:
        over_bounds = self._admission.over_bounds() | self._dimensions.over_bounds()
        noticed = {"over_bounds": over_bounds, "far_off": self._far_off()}
        noticed["marks"] = self._marks()
        return self._admission.evidence.metrics() | {name: what for name, what in noticed.items() if what}

    def _far_off(self) -> dict[str, int]:
        """Differences that were not learnt, by feature, for the features with the most."""
        return _most(self._served.far_off)

    def _marks(self) -> dict[str, int]:
        """Scores taken for marks for missing ones, by critic, for the critics with the most."""
        return _most(self._admission.rows.shown.taken)

    def _statement(self) -> str:
        noticed = [
            f" Taken as missing, as a usual mark for that: {n} scores of {shown(name)!r}."
            for name, n in self._marks().items()
        ]
        noticed += [
            f" Not learnt, as too far off for a score: {n} differences of {shown(name)!r}."
            for name, n in self._far_off().items()
        ]
        return self._made_of() + "".join(noticed)

    def _made_of(self) -> str:
        evidence = self._admission.evidence
        made_of, by = evidence.made_of(), evidence.in_words()
        if not evidence.pairs:
            of = ", ".join(map(printable, sorted(self._dimensions.learners)))
            return (
                f"Made of labels on {of} alone: it says nothing of the whole." if of else "Made of no labels."
            )
        if evidence.critics_alone:
            return f"Made of {made_of} labels alone: it smooths the critics and cannot correct them."
        if self.is_active:
            return f"Made of {made_of} labels: shown to beat the critics' mean ({by}), so it steers."
        return f"Made of {made_of} labels: not yet shown to beat the critics' mean ({by}); a shadow."


def _most(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: -item[1])[:_MOST_NAMED])


def recipe_of(model: str, state: Mapping[str, Any]) -> Recipe:
    """The recipe of the learner in a model's state. Raises BadInput for another version of TriBrain."""
    try:
        return Recipe(learner=state["trusted"]["learner"], parameters=state["trusted"]["parameters"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _of_another_version(model, state) from None


def _of_another_version(model: str, state: Mapping[str, Any]) -> BadInput:
    return BadInput(
        f"version {state.get('version', '?')} of model {model!r} was written by another version of TriBrain, "
        "whose learner this one cannot continue; give another --model"
    )


def load_learner(recipe: Recipe | None = None) -> None:
    """Import and compile now, which the first pair would otherwise wait a second or so for."""
    critics: dict[str, float | None] = {"any.critic": 1.0}
    OnlineLearner(recipe=recipe).on_message(
        PreferencePair(
            task_id="",
            label_source="human",
            chosen_critics=critics,
            rejected_critics=dict.fromkeys(critics, 0.0),
        )
    )
