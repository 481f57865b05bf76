"""Decides which pairs are new and how much each weighs, before a batch of them is learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streams.messages.contracts import TRUSTED_SOURCES, LabelSource, PreferencePair
from trainers.bradley_terry.rows import Read, RowMaker
from trainers.bradley_terry.shown import ShownScores
from trainers.bradley_terry.vocabulary import Vocabulary
from trainers.evidence.annotators import FAIRLY_KNOWN
from trainers.evidence.evidence import Evidence
from trainers.online.batch import AdmittedPairs
from trainers.online.open_tasks import OpenTask, OpenTasks
from trainers.other_version import LARGEST_SUM, within
from trainers.pairs.elsewhere import Elsewhere, other_names_of
from trainers.pairs.judgements import PairJudgement, annotator_of, dimension_of, fact_of, is_asked_for
from trainers.pairs.pairing import LIVE_SOURCES
from trainers.pairs.seen import (
    REMEMBERED,
    Counts,
    KnownPairs,
    PastTask,
    PastTasks,
    hashed,
    remember,
    trusted_of,
)
from trainers.pairs.weights import task_of, weight_of_each, weight_of_nth
from trainers.pairs.withdrawn import may_be_withdrawn

OPEN_TASKS = 500
"""Limit of open tasks in the live learner. Beyond it the oldest is settled, and its later pairs are learnt
but are no evidence. Pairs from elsewhere have no end that would close their tasks."""


OPEN_TASKS_OF_A_DIMENSION = 50
"""A lower limit, because there are several dimensions besides the overall reward."""
LATE_TASKS = 8
"""Limit of tasks that people vote on after their runs. Beyond it, the one with the oldest last vote is
settled: its evidence counts, and later votes on it are no evidence."""
_NO_VOTES: Mapping[str, Any] = {"names": [], "weights": []}


@dataclass(slots=True)
class Admission:
    """The tasks and pairs seen so far; decisions depend only on their order."""

    open_tasks: int = OPEN_TASKS
    remembered: int = REMEMBERED
    pairs_of_task: Mapping[tuple[str, str, str], int] | None = None
    """(Dimension, task, label source) to the number of pairs to come, if all are known in advance."""
    evidence: Evidence = field(default_factory=Evidence)
    rows: RowMaker = field(default_factory=lambda: RowMaker(Vocabulary()))
    open: OpenTasks = field(default_factory=OpenTasks)
    past: PastTasks = field(default_factory=PastTasks)
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    known: KnownPairs = field(default_factory=KnownPairs)
    votes: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Learnt votes that can be undone, by hash: their weights, as ``undo`` returns them."""
    settled_early: int = 0
    """Tasks that were settled because too many were open."""

    def begin(self, is_news: bool = True) -> AdmittedPairs:
        """An empty batch; ``is_news`` is False for pairs that were learnt before."""
        return AdmittedPairs(known=len(self.rows.vocabulary.columns), is_news=is_news)

    def take(
        self,
        pair: PreferencePair,
        is_new: bool,
        judgement: PairJudgement | None,
        batch: AdmittedPairs,
        read: Read,
        at: int,
    ) -> bool:
        """Add a pair, number ``at`` of those that were read; False if it is not new.

        ``is_new`` means that it cannot be a repetition.
        """
        name, source = task_of(pair), pair.label_source
        task, past = self.open.by_name.get(name), None
        if task is None:
            past = self.past.find(name, self.remembered)
        # Labels made during a run end with the run. People and judges label later, too.
        of_a_closed_run = task.is_closed if task is not None else past is not None and past.is_closed
        is_rescored = source in LIVE_SOURCES and pair.revision > 0
        if of_a_closed_run and source in LIVE_SOURCES and not is_rescored:
            return False
        fact = "" if is_new or not pair.pair_id else fact_of(pair, judgement)
        if fact and not self.known.note(name, fact, self.remembered):
            return False
        slot = opened = -1
        annotator = annotator_of(pair) if source == "human" else ""
        others = other_names_of(pair) if source in TRUSTED_SOURCES else ()
        if is_rescored and (of_a_closed_run or self.pairs_of_task is None):
            counts = self._counts_of_known(name, task, past)
            self.evidence.pass_over(source)
        elif past is not None and not (source in TRUSTED_SOURCES and TRUSTED_SOURCES.isdisjoint(past.counts)):
            # A prediction by a model that has learnt from the task is not honest, so it is no evidence.
            counts = past.counts
            self.evidence.pass_over(source)
        else:
            if task is None:
                task = self._open(name, past, batch)
                opened = task.slot
            elif name in self.open.late and source in TRUSTED_SOURCES:
                self.open.late[name] = self.open.late.pop(name)
            counts, slot = task.counts, task.slot
            if (
                is_asked_for(pair)
                or self.evidence.annotators.is_opposed(annotator)  # before this vote is counted
                or self._is_known_elsewhere(pair, others)
                or (fact and self.known.has_forgotten(name, fact))
            ):
                self.evidence.pass_over(source)
                slot = -1
        before = counts.get(source, 0.0)
        weight = pair.weight * self._share(pair, before + 1.0)
        evidence, rows = self.evidence, self.rows
        alone = evidence.critics_alone
        self._note_elsewhere(pair, others)
        if judgement is not None:
            batch.newly_known += evidence.hear(judgement, is_drawn=not is_asked_for(pair))
        trusted_weight = evidence.learnt(pair, weight)
        trust = evidence.weight_of(annotator)
        counts[source] = before + trust  # a vote that is not trusted takes no share from the others
        name_of_vote = hashed(pair.pair_id) if may_be_withdrawn(pair) else ""
        if name_of_vote:
            remember(self.votes, name_of_vote, (weight, trusted_weight), self.remembered)
        if annotator and evidence.annotators.compared.get(annotator, 0) < FAIRLY_KNOWN:
            batch.unsettled.append((len(batch.pairs), annotator, name_of_vote, name, trust))
        plan = rows.plan(read, at)
        known = len(rows.vocabulary.columns)
        batch.pairs.append((at, plan, known, source, weight, trusted_weight, slot, opened, alone, pair.tie))
        return True

    def undo(self, pair: PreferencePair) -> tuple[float, float] | None:
        """Stop counting a vote that is taken back.

        Returns its weights when it was learnt: as a person's label, and relative to those of people. None if
        it was not learnt, or if too many others were learnt since to know.
        """
        learnt_with = self.votes.pop(hashed(pair.pair_id), None)
        if learnt_with is None:
            return None
        name, source = task_of(pair), pair.label_source
        weight, trusted_weight = learnt_with
        self._add(name, source, -trusted_weight / weight if source == "human" and weight > 0.0 else -1.0)
        self.evidence.undo(pair, weight)
        return learnt_with

    def counts_now(self, name: str, trusted_weight: float, task: str, more_trust: float) -> None:
        """Update what a person's vote on a task counts, and its weight if it can be undone."""
        self._add(task, "human", more_trust)
        if name in self.votes:
            self.votes[name] = self.votes[name][0], trusted_weight

    def take_again(self, pair: PreferencePair, batch: AdmittedPairs, read: Read, at: int) -> None:
        """Add a pair that was learnt before and is to be learnt once more; it is no evidence."""
        weight = pair.weight * self._share(pair, 1)
        plan, trusted_weight = self.rows.plan(read, at), self.evidence.trust(pair, weight)
        known, source = len(self.rows.vocabulary.columns), pair.label_source
        batch.pairs.append((at, plan, known, source, weight, trusted_weight, -1, -1, False, pair.tie))

    def close(self, name: str, batch: AdmittedPairs) -> bool:
        """Close a task; False if it was already known to be closed."""
        task = self.open.by_name.get(name)
        if task is not None and task.is_closed:
            return False
        return not self.past.is_closed(name) and self.past.close(
            name, self._leave(name, batch), self.remembered
        )

    def close_all(self, batch: AdmittedPairs) -> None:
        """Close every open task, in the order in which they were opened."""
        for name in list(self.open.by_name):
            if not self.close(name, batch):
                self._settle(name, batch)

    def over_bounds(self) -> dict[str, int]:
        """What exceeded the limits; omits zeros."""
        counts = {
            "pairs_with_features_left_out": self.rows.vocabulary.pairs_without_room,
            "tasks_settled_early": self.settled_early,
            "tasks_forgotten": self.past.forgotten,
            "pairs_forgotten": self.known.forgotten,
        }
        return {name: n for name, n in counts.items() if n}

    def take_in(self, later: Admission) -> list[str]:
        """Take over the knowledge of a later state, so that nothing that came since is learnt again.

        Returns the names of the open tasks that started since, which have no coefficients yet.
        """
        self.past.take_in(later.past, self.remembered)
        self.elsewhere.take_in(later.elsewhere, self.remembered)
        self.known.take_in(later.known, self.remembered)
        self.settled_early = max(self.settled_early, later.settled_early)
        for name in [name for name in self.open.by_name if self.past.find(name, self.remembered) is not None]:
            self.open.leave(name)
        begun = []
        for name, task in later.open.by_name.items():
            if name in later.open.late:
                self._remember(name, task)
                continue
            mine = self.open.by_name.get(name)
            if mine is None:
                mine = self.open.open(name, {})
                begun.append(name)
            for source, n in task.counts.items():
                mine.counts[source] = max(n, mine.counts.get(source, 0))
        return begun

    def begun_from(self) -> Admission:
        """A new state that has learnt nothing, with the same features.

        It knows which tasks are closed, and from which tasks trusted labels were learnt.
        """
        begun = Admission(
            min(self.open_tasks, OPEN_TASKS_OF_A_DIMENSION)
            if self.pairs_of_task is None
            else self.open_tasks,
            self.remembered,
            self.pairs_of_task,
        )
        begun.rows = RowMaker(Vocabulary(**self.rows.vocabulary.state()), self.rows.shown.begun_from())
        begun.rows.vocabulary.pairs_without_room = 0
        begun.open.widen(len(begun.rows.vocabulary.columns))
        # The predicting model has learnt a task's trusted labels, so those of another dimension are no
        # evidence.
        begun.past, begun.elsewhere = self.past.of_trusted(), self.elsewhere.copy()
        for name, task in self.open.by_name.items():
            if trusted := trusted_of(task.counts):
                begun.past.settle(name, trusted, self.remembered)
            if task.is_closed:
                begun.past.close(name, trusted, self.remembered)
        return begun

    def state(self) -> dict[str, Any]:
        """Argument of ``restore``, stored in a learner's state: JSON values, and copies of arrays."""
        return {
            "vocabulary": self.rows.vocabulary.state(),
            "shown": self.rows.shown.state(),
            **self.evidence.state(),
            "open": self.open.state(),
            "past": self.past.state(),
            **({"elsewhere": self.elsewhere.state()} if self.elsewhere else {}),
            "known": self.known.state(),
            "settled_early": self.settled_early,
            **self._votes_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from this state."""
        vocabulary = Vocabulary(**state["vocabulary"])
        self.rows = RowMaker(vocabulary, ShownScores.from_state(state["shown"]))
        self.evidence = Evidence.from_state(state)
        self.open = OpenTasks.from_state(state["open"], len(vocabulary.columns))
        self.past = PastTasks.from_state(state["past"])
        self.elsewhere = Elsewhere.from_state(state["elsewhere"]) if "elsewhere" in state else Elsewhere()
        self.known = KnownPairs.from_state(state["known"])
        self.settled_early = int(state["settled_early"])
        votes = state.get("votes", _NO_VOTES)
        weights = within(votes["weights"], (len(votes["names"]), 2), 0.0, LARGEST_SUM, "weights of votes")
        self.votes = dict(zip(votes["names"], map(tuple, weights.tolist()), strict=True))

    def _open(self, name: str, past: PastTask | None, batch: AdmittedPairs) -> OpenTask:
        """Open a task, or reopen a past one; settle others if too many are open."""
        if past is not None:
            while len(self.open.late) >= LATE_TASKS:
                self._settle(next(iter(self.open.late)), batch)
        while len(self.open.by_name) >= self.open_tasks:
            oldest = next(iter(self.open.by_name))
            self.settled_early += oldest not in self.open.late
            self._settle(oldest, batch)
        if past is None:
            return self.open.open(name, {})
        task = self.open.open(name, dict(past.counts))
        task.is_closed = past.is_closed
        self.open.late[name] = None
        return task

    def _counts_of_known(self, name: str, task: OpenTask | None, past: PastTask | None) -> Counts:
        """The counts of a task, which a rescored pair adds to; an unknown task becomes known here.

        So its own pairs, if they come after those of a revision, are no evidence either.
        """
        if task is not None:
            return task.counts
        if past is None:
            self.past.settle(name, {}, self.remembered)
            past = self.past.find(name, self.remembered)
        assert past is not None
        return past.counts

    def _add(self, name: str, source: LabelSource, trust: float) -> None:
        """Change what was learnt of a task, wherever it is known, after the fact."""
        task, past = self.open.by_name.get(name), self.past.find(name, self.remembered)
        for counts in (task.counts if task else None, past.counts if past else None):
            if counts is not None and source in counts:
                counts[source] = max(0.0, counts[source] + trust)

    def _settle(self, name: str, batch: AdmittedPairs) -> None:
        """Settle an open task. It may continue, but its later predictions are no evidence."""
        task = self.open.by_name[name]
        self._leave(name, batch)
        self._remember(name, task)

    def _remember(self, name: str, task: OpenTask) -> None:
        if task.is_closed:
            self.past.close(name, {}, self.remembered)
        self.past.settle(name, task.counts, self.remembered)

    def _leave(self, name: str, batch: AdmittedPairs) -> Counts:
        """Settle a task if it is open: its predictions become evidence. Returns its counts."""
        task = self.open.leave(name)
        if task is None:
            return {}
        batch.settled.append((len(batch.pairs), task.slot, self.evidence.pairs))
        return task.counts

    def _votes_state(self) -> dict[str, Any]:
        """The votes' part of the state; empty if there are no votes."""
        if not self.votes:
            return {}
        return {"votes": {"names": list(self.votes), "weights": np.array([*self.votes.values()])}}

    def _is_known_elsewhere(self, pair: PreferencePair, others: Sequence[str]) -> bool:
        """Whether trusted labels of its candidates were learnt under another name than its own."""
        return self.elsewhere.knows(pair) or any(map(self._has_trusted, others))

    def _note_elsewhere(self, pair: PreferencePair, others: Sequence[str]) -> None:
        """Note that trusted labels of the pair's candidates were learnt, under their other names.

        A name that has trusted labels of its own is open or past, and decides by itself what is evidence.
        """
        for other in others:
            if not self._has_trusted(other):
                self.elsewhere.note(other, pair, self.remembered)

    def _has_trusted(self, name: str) -> bool:
        task = self.open.by_name.get(name)
        return bool(trusted_of(task.counts)) if task is not None else self.past.has_trusted(name)

    def _share(self, pair: PreferencePair, nth: float) -> float:
        """The pair's share of a weight, as number ``nth`` among what counts of its task and label source."""
        if self.pairs_of_task is None:
            return weight_of_nth(nth)
        return weight_of_each(self.pairs_of_task[dimension_of(pair), task_of(pair), pair.label_source])
