"""Pairs of a rescoring: learnt once, also when their run is over, and no evidence."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from streams.messages.codec import encode
from streams.messages.contracts import PairMessage, PairsEnd, PreferencePair, RunEnd, TraceEvent
from tests.factories import event, revision
from trainers.online.learner import OnlineLearner
from trainers.online.train import train_on_pairs
from trainers.pairs.former import PairFormer
from trainers.pairs.pairing import PairingRules, pairs_of_run
from trainers.text.learner import TextLearner

Learner = OnlineLearner | TextLearner
LEARNERS = pytest.mark.parametrize("begin", [OnlineLearner, TextLearner], ids=["critics", "texts"])


def judged(scores: Sequence[float | None], run_id: str = "run-a") -> list[TraceEvent | RunEnd]:
    """A run whose every video a person judged."""
    made = [event(i, s, run_id=run_id, outcome=0.9 if s is None else s) for i, s in enumerate(scores)]
    return [*made, RunEnd(run_id=run_id, iterations=tuple(range(len(made))))]


RUN = judged([0.5, 0.2, None])
REVISION = revision(RUN, {2: 0.8})


def pairs(messages: Sequence[TraceEvent | RunEnd]) -> list[PairMessage]:
    former = PairFormer(PairingRules())
    return [one for message in messages for one in former.on_event(message).messages]


def learnt(begin: Callable[[], Learner], messages: Sequence[PairMessage]) -> Learner:
    learner = begin()
    for message in messages:
        learner.on_message(message)
    return learner


def metrics(learner: Learner) -> dict[str, Any]:
    return learner.snapshot().metrics


def by_source(messages: Sequence[PairMessage]) -> dict[str, int]:
    sources = [m.label_source for m in messages if isinstance(m, PreferencePair)]
    return {source: sources.count(source) for source in sorted(set(sources))}


@LEARNERS
def test_they_are_learnt_although_their_run_is_over_and_are_no_evidence(
    begin: Callable[[], Learner],
) -> None:
    before = learnt(begin, pairs(RUN))
    after = learnt(begin, [*pairs(RUN), *pairs(REVISION)])
    new = by_source(pairs(REVISION))
    assert new == {"critic": 2, "outcome": 2}
    assert {s: after.labels[s] - before.labels[s] for s in new} == new
    was, now = metrics(before), metrics(after)
    assert (now["trusted"], now["by_label_source"]) == (was["trusted"], was["by_label_source"])
    assert (now["gate"], now["no_evidence"]) == (was["gate"], {"outcome": 2})


@LEARNERS
def test_they_are_learnt_once_however_often_they_come(begin: Callable[[], Learner]) -> None:
    once = learnt(begin, [*pairs(RUN), *pairs(REVISION)])
    again = learnt(begin, [*pairs(RUN), *pairs(REVISION), *pairs(REVISION), *pairs(RUN)])
    assert encode(again.snapshot()) == encode(once.snapshot())


@LEARNERS
def test_their_end_leaves_the_run_as_it_is(begin: Callable[[], Learner]) -> None:
    *open_pairs, end = pairs(RUN)
    (end_of_revision,) = [message for message in pairs(REVISION) if isinstance(message, PairsEnd)]
    plain = learnt(begin, [*open_pairs, end])
    disturbed = learnt(begin, [open_pairs[0], end_of_revision, *open_pairs[1:], end, end_of_revision])
    assert encode(disturbed.snapshot()) == encode(plain.snapshot())


@LEARNERS
def test_what_a_run_says_after_its_revision_is_no_evidence_either(begin: Callable[[], Learner]) -> None:
    learner = learnt(begin, [*pairs(REVISION), *pairs(RUN)])
    found, expected = metrics(learner), by_source([*pairs(RUN), *pairs(REVISION)])
    assert dict(learner.labels) == expected
    assert (found["trusted"], found["no_evidence"]) == (None, {"outcome": expected["outcome"]})


@LEARNERS
def test_a_run_is_over_after_its_own_end_alone(begin: Callable[[], Learner]) -> None:
    *own, end = pairs(RUN)
    late = replace(next(m for m in own if isinstance(m, PreferencePair)), pair_id="another")
    unended = learnt(begin, [*pairs(REVISION), *own])
    assert unended.on_message(late)
    ended = learnt(begin, [*pairs(REVISION), *own, end])
    assert not ended.on_message(late)


def test_a_learner_that_goes_on_from_its_state_has_the_same_bits() -> None:
    rng = random.Random(3)
    messages: list[PairMessage] = []
    for n in range(30):
        made = judged([rng.choice((None, rng.random())) for _ in range(5)], f"run-{n}")
        revised = revision(made, {i: rng.random() for i in range(5) if rng.random() < 0.5})
        both = [pairs(made), pairs(revised)]
        rng.shuffle(both)
        messages += [message for part in both for message in part]
    whole = OnlineLearner()
    whole.on_messages(messages)
    first = OnlineLearner()
    first.on_messages(messages[:40])
    second = OnlineLearner.from_state("default", first.state())
    second.on_messages(messages[40:])
    assert encode(second.snapshot()) == encode(whole.snapshot())


def test_in_a_file_the_export_of_a_rescored_run_is_evidence_as_any_other() -> None:
    made = judged([0.5, 0.2, 0.4])
    export = pairs_of_run([m for m in made if isinstance(m, TraceEvent)], PairingRules())
    rescored = revision(made, {0: 0.5, 1: 0.2, 2: 0.4})
    again = pairs_of_run([m for m in rescored if isinstance(m, TraceEvent)], PairingRules())
    assert {pair.revision for pair in again} == {1}
    assert train_on_pairs(again).metrics == train_on_pairs(export).metrics
