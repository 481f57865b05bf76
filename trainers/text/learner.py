"""The learner of a text reward model: pairs in, text snapshots out, for any caller (Kafka, file, tests).

Every pair of a task is predicted before any pair of that task is learnt. The preference learner does this
with a copy of the whole model for each open run, but here that would be some hundred thousand weights.
Instead the pairs of a run wait until it ends and are learnt together. A pair without a run, whose task has no
end, is learnt at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from streams.messages.codec import sealed
from streams.messages.contracts import TRUSTED_SOURCES, PairMessage, PairsEnd, PreferencePair, TextSnapshot
from trainers.bradley_terry.losses import Gain, gain_of_pair
from trainers.evidence.evidence import Evidence
from trainers.other_version import a_count, reading_state_of
from trainers.pairs.judgements import dimension_of, fact_of, is_asked_for, judgement_of, lacks_a_text
from trainers.pairs.pairing import LIVE_SOURCES
from trainers.pairs.seen import Counts, KnownPairs, PastTasks
from trainers.pairs.weights import SOURCE_WEIGHTS, task_of, task_of_text, weight_of_each, weight_of_nth
from trainers.pairs.withdrawn import is_withdrawal
from trainers.text.estimator import DiagonalLaplace
from trainers.text.ngrams import SCHEME, grams
from trainers.text.open_texts import OpenTexts, characters_of, what_is_learnt_of
from trainers.text.reward import open_state
from trainers.text.terms import Terms

OPEN_TASKS = 500
"""Limit of open tasks; beyond it the oldest is learnt, and its later pairs are late."""
WAITING_CHARACTERS = 1_000_000
"""Limit for all waiting texts; beyond it the oldest runs are learnt before they end."""


class TextLearner:
    """A text reward model's whole state. The same messages in the same order give the same bytes.

    A task is a run or, for pairs without a run, their ``task_id`` or their goal. Critics' labels are learnt
    at full weight while there are no others. The first other label reduces all that critics have taught to
    the small weight that they have from then on.
    """

    def __init__(self, model: str = "default", *, pairs_of_task: Mapping[str, int] | None = None) -> None:
        """``pairs_of_task`` maps a task to the number of pairs to come, if all are known in advance."""
        self.model = model
        self.version = 0
        self.equal_texts = 0
        """Pairs whose two texts are equal, which teach nothing."""
        self.empty_texts = 0
        """Pairs that lack one of their texts; they are skipped, too."""
        self.ties_passed_over = 0
        """Pairs that prefer neither text."""
        self.of_dimensions = 0
        """Pairs that judge one dimension rather than overall quality; they are skipped, too."""
        self.withdrawals = 0
        """Votes that were taken back; their effect on the model stays."""
        self._pairs_of_task = pairs_of_task
        self._terms = Terms()
        self._weights = DiagonalLaplace()
        self._evidence = Evidence()
        self._past = PastTasks()
        self._known = KnownPairs()
        self._open: dict[str, OpenTexts] = {}
        self._waiting_characters = 0

    def on_message(self, message: PairMessage) -> bool:
        """Take a message of the pairs topic; False if nothing changes (a repetition, or another model's).

        A rollback concerns the model that weighs critics, and changes nothing here.
        """
        if message.model != self.model:
            return False
        if isinstance(message, PairsEnd):
            return not message.revision and self._close(message.run_id)
        if not isinstance(message, PreferencePair):
            return False
        if is_withdrawal(message):
            self.withdrawals += 1
            return False
        if dimension_of(message):
            self.of_dimensions += 1
            return False
        return self._take(message)

    def finish(self) -> None:
        """Close every task that has no end, in the order of the file; called at the file's end."""
        for task in list(self._open):
            self._close(task)

    @property
    def waiting(self) -> int:
        """Pairs of open runs that are predicted but not learnt yet."""
        return sum(len(task.waiting) for task in self._open.values())

    @property
    def labels(self) -> Mapping[str, int]:
        """Pairs learnt per label source."""
        return self._evidence.labels

    def snapshot(
        self,
        consumed: Mapping[str, Mapping[str, int]] | None = None,
        topic_ids: Mapping[str, str] | None = None,
        runs: Mapping[str, Any] | None = None,
    ) -> TextSnapshot:
        """The state as a message; ``consumed`` maps topic to partition to next offset.

        ``runs`` is the state of the RunSequence that filtered the messages, stored with the learner's.
        """
        return sealed(
            TextSnapshot(
                model=self.model,
                version=self.version,
                gate=self._evidence.gate.position,
                statement=self._statement(),
                scheme=dict(SCHEME),
                labels=dict(self.labels),
                metrics=self._metrics(),
                consumed={topic: dict(offsets) for topic, offsets in (consumed or {}).items()},
                topic_ids=dict(topic_ids or {}),
                learner=orjson.loads(
                    orjson.dumps(
                        self._state() | ({} if runs is None else {"runs": runs}),
                        option=orjson.OPT_SERIALIZE_NUMPY,
                    )
                ),
            )
        )

    @classmethod
    def from_snapshot(cls, snapshot: TextSnapshot) -> TextLearner:
        """The learner that published this snapshot; it continues bit for bit.

        Raises BadInput if another version of TriBrain wrote a state that this one cannot read.
        """
        learner = cls(snapshot.model)
        learner.version = snapshot.version
        learner._terms, learner._weights = open_state(snapshot)
        state = snapshot.learner
        with reading_state_of(f"version {snapshot.version} of text model {snapshot.model!r}"):
            learner.equal_texts = state["equal_texts"]
            learner.ties_passed_over = a_count(state["ties_passed_over"])
            learner.of_dimensions = a_count(state["of_dimensions"])
            learner.empty_texts = a_count(state.get("empty_texts", 0))
            learner.withdrawals = a_count(state.get("withdrawals", 0))
            learner._evidence = Evidence.from_state(state)
            learner._past = PastTasks.from_state(state["past"])
            learner._known = KnownPairs.from_state(state["known"])
            learner._open = {name: OpenTexts.from_state(saved) for name, saved in state["open"].items()}
            learner._waiting_characters = sum(task.characters for task in learner._open.values())
        return learner

    def _take(self, pair: PreferencePair) -> bool:
        name, judgement = task_name(pair), judgement_of(pair)
        fact, source = fact_of(pair, judgement), pair.label_source
        past = self._past.find(name)
        # Labels made during a run end with the run. People and judges label later, too.
        is_rescored = source in LIVE_SOURCES and pair.revision > 0
        if source in LIVE_SOURCES and past is not None and past.is_closed and not is_rescored:
            return False
        if is_rescored and past is None and name not in self._open and self._pairs_of_task is None:
            self._past.settle(name, {})  # later pairs of the original run are no evidence
            past = self._past.find(name)
        is_noted = source not in LIVE_SOURCES or past is not None
        if is_noted and pair.pair_id and not self._known.note(name, fact):
            return False
        is_drawn = not is_asked_for(pair)
        if past is not None:
            self._evidence.hear(judgement, is_drawn=is_drawn)
            return self._learn_late(pair, past.counts, is_rescored)
        task = self._open.get(name)
        if task is None:
            if len(self._open) == OPEN_TASKS and self._pairs_of_task is None:
                self._settle(next(iter(self._open)))
            task = self._open[name] = OpenTexts()
        if pair.pair_id:
            if fact in task.facts:
                return False
            task.facts.add(fact)
        if pair.tie:
            self.ties_passed_over += 1
            return False
        self._evidence.hear(judgement, is_drawn=is_drawn)
        if task.begun:
            return self._learn_late(pair, task.counts)
        task.counts[source] = task.counts.get(source, 0) + 1
        changed = self._predict(pair, task)
        if self._is_whole(name, pair, task):
            self._learn_waiting(task)
        self._learn_what_waits_too_long()
        return changed

    def _is_whole(self, name: str, pair: PreferencePair, task: OpenTexts) -> bool:
        """Whether no pair will come that the others have to wait for."""
        if self._pairs_of_task is None:
            return not pair.run_id
        return sum(task.counts.values()) >= self._pairs_of_task[name]

    def _predict(self, pair: PreferencePair, task: OpenTexts) -> bool:
        if self._says_nothing(pair):
            return False
        if is_asked_for(pair):
            self._evidence.pass_over(pair.label_source)
        elif pair.label_source not in TRUSTED_SOURCES:
            self._predicted(pair)
        else:
            p = self._predicted(pair)
            mean, least, most = task.gains
            gain = gain_of_pair(p, 0.5)
            task.gains = mean + gain.mean, least + gain.least, most + gain.most
            task.n_trusted += 1
        task.waiting.append(what_is_learnt_of(pair))
        self._waiting_characters += characters_of(pair)
        return True

    def _predicted(self, pair: PreferencePair) -> float:
        """P(chosen ≻ rejected), which is recorded as evidence."""
        p = self._weights.prob_prefer(
            *self._terms.difference(grams(pair.chosen_prompt), grams(pair.rejected_prompt))
        )
        self._evidence.predicted(pair.label_source, p, 0.5)
        return p

    def _says_nothing(self, pair: PreferencePair) -> bool:
        if pair.tie:
            self.ties_passed_over += 1
            return True
        same = pair.chosen_prompt == pair.rejected_prompt
        self.equal_texts += same
        is_empty = not same and lacks_a_text(pair)
        self.empty_texts += is_empty
        return same or is_empty

    def _close(self, name: str) -> bool:
        task = self._open.get(name)
        if not self._past.close(name, task.counts if task is not None else {}):
            return False
        if task is not None:
            self._learn_waiting(self._open.pop(name))
        return True

    def _settle(self, name: str) -> None:
        """Settle a task: it may continue, but its later pairs are late."""
        task = self._open.pop(name)
        self._learn_waiting(task)
        self._past.settle(name, task.counts)
        for fact in sorted(task.facts):  # which may come again
            self._known.note(name, fact)

    def _learn_what_waits_too_long(self) -> None:
        while self._pairs_of_task is None and self._waiting_characters > WAITING_CHARACTERS:
            self._learn_waiting(next(task for task in self._open.values() if task.waiting))

    def _learn_waiting(self, task: OpenTexts) -> None:
        """Learns all of a task, once every pair of it that is evidence was predicted."""
        for pair in task.waiting:
            self._learn(pair, weight_of_each(task.counts[pair.label_source]))
        if task.n_trusted and not task.begun:
            gain = Gain(*(total / task.n_trusted for total in task.gains))
            self._evidence.gate.bet(gain, pairs_learnt=self._evidence.pairs)
        self._waiting_characters -= task.characters
        task.waiting, task.begun = [], True

    def _learn_late(self, pair: PreferencePair, counts: Counts, is_rescored: bool = False) -> bool:
        """Learns a pair of a task from which the model has already learnt ``counts``.

        The first label of a person or a validator is evidence, because the task's other labels did not teach
        it. Later ones are not evidence, nor are those of a rescoring.
        """
        if self._says_nothing(pair):
            return False
        source = pair.label_source
        is_first_trusted = source in TRUSTED_SOURCES and TRUSTED_SOURCES.isdisjoint(counts)
        if is_first_trusted and not is_rescored and not is_asked_for(pair):
            gain = gain_of_pair(self._predicted(pair), 0.5)
            self._evidence.gate.bet(gain, pairs_learnt=self._evidence.pairs)
        else:
            self._evidence.pass_over(source)
        counts[source] = counts.get(source, 0) + 1
        self._learn(pair, weight_of_nth(counts[source]))
        return True

    def _learn(self, pair: PreferencePair, share: float) -> None:
        weight = pair.weight * share
        if self.labels.keys() == {"critic"} and pair.label_source != "critic":
            self._weights.temper(SOURCE_WEIGHTS["critic"])
        trusted = self._evidence.learnt(pair, weight)
        chosen, rejected = grams(pair.chosen_prompt), grams(pair.rejected_prompt)
        self._terms.see(chosen)
        self._terms.see(rejected)
        self._weights.learn(
            *self._terms.difference(chosen, rejected), weight if self._evidence.critics_alone else trusted
        )
        self.version += 1

    def _state(self) -> dict[str, Any]:
        return {
            "terms": self._terms.state(),
            "weights": self._weights.state(),
            "equal_texts": self.equal_texts,
            "ties_passed_over": self.ties_passed_over,
            "of_dimensions": self.of_dimensions,
            **({"empty_texts": self.empty_texts} if self.empty_texts else {}),
            **({"withdrawals": self.withdrawals} if self.withdrawals else {}),
            **self._evidence.state(),
            "open": {name: task.state() for name, task in self._open.items()},
            "past": self._past.state(),
            "known": self._known.state(),
        }

    def _metrics(self) -> dict[str, Any]:
        """Like those of a model that weighs critics; the baseline is chance."""
        metrics = self._evidence.metrics()
        for figures in (metrics["trusted"], *metrics["by_label_source"].values()):
            if figures is not None:
                figures["log_loss_chance"] = figures.pop("log_loss_critics_mean")
        return {
            **metrics,
            "equal_texts": self.equal_texts,
            "ties_passed_over": self.ties_passed_over,
            "of_dimensions": self.of_dimensions,
            **({"empty_texts": self.empty_texts} if self.empty_texts else {}),
            **({"withdrawals_passed_over": self.withdrawals} if self.withdrawals else {}),
        }

    def _statement(self) -> str:
        made_of, evidence = self._evidence.made_of(), self._evidence.in_words()
        if self._evidence.critics_alone:
            return f"Made of {made_of} labels alone: it says in advance what critics will, and no more."
        if self._evidence.gate.position == "active":
            return f"Made of {made_of} labels: shown to beat chance ({evidence}), so it may choose texts."
        return f"Made of {made_of} labels: not yet shown to beat chance ({evidence}); a shadow."


def task_name(pair: PreferencePair) -> str:
    """The name of a pair's task: its run, its task, or its goal."""
    return task_of(pair) or task_of_text(pair)
