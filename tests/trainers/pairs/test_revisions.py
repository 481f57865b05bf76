"""Pairs of a run that was rescored: those of the revised scores in which a side was judged anew."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest

from streams.messages.contracts import PairMessage, PairsEnd, PreferencePair, TraceEvent, TraceMessage
from tests.factories import revision, run
from trainers.pairs.former import LateEvent, PairFormer
from trainers.pairs.pairing import PairingRules, pairs_of_run
from trainers.pairs.sequence import RunSequence

RUN = run([0.5, None, 0.3, 0.8])
FIRST = revision(RUN, {1: 0.9})
SECOND = revision(FIRST, {3: 0.95}, number=2)
ALL = [*RUN, *FIRST, *SECOND]


def events(messages: Sequence[TraceMessage]) -> list[TraceEvent]:
    return [message for message in messages if isinstance(message, TraceEvent)]


def formed(messages: Iterable[TraceMessage], rules: PairingRules | None = None) -> list[PairMessage]:
    former = PairFormer(rules or PairingRules())
    return [one for message in messages for one in former.on_event(message).messages]


def ids(messages: Iterable[PairMessage]) -> set[str]:
    return {message.pair_id for message in messages if isinstance(message, PreferencePair)}


def sides(pair: PreferencePair) -> set[str]:
    return {pair.chosen_prompt, pair.rejected_prompt}


@pytest.mark.parametrize("strategy", ["best_vs_rest", "adjacent"])
@pytest.mark.parametrize("top_k", [1, 2])
def test_a_revisions_pairs_contain_those_of_its_export_that_have_a_rescored_side(
    strategy: str, top_k: int
) -> None:
    rng = random.Random(7)
    rules = PairingRules(strategy=strategy, top_k=top_k)  # type: ignore[arg-type]
    for _ in range(200):
        made = run([rng.choice((None, rng.random())) for _ in range(rng.randrange(2, 9))])
        judged = {i: rng.choice((None, rng.random())) for i in range(len(made) - 1) if rng.random() < 0.4}
        revised = revision(made, judged)
        live = [m for m in formed(revised, rules) if isinstance(m, PreferencePair)]
        anew = {f"prompt {i}" for i in judged}
        export = pairs_of_run(events(revised), rules)
        assert all(sides(pair) & anew for pair in live)
        assert ids(live) >= {pair.pair_id for pair in export if sides(pair) & anew}


def test_the_export_of_a_rescored_run_is_that_of_its_scores() -> None:
    pairs = pairs_of_run(events(FIRST), PairingRules())
    prompts = [(pair.chosen_prompt, pair.rejected_prompt) for pair in pairs]
    assert prompts == [("prompt 1", f"prompt {i}") for i in (3, 0, 2)]


def test_a_pair_of_two_sides_that_were_not_rescored_is_the_pair_that_it_was() -> None:
    made, revised = run([0.5, 0.3, None]), revision(run([0.5, 0.3, None]), {2: 0.1})
    before = {p.pair_id: p for p in pairs_of_run(events(made), PairingRules())}
    now = pairs_of_run(events(revised), PairingRules())
    assert [pair.revision for pair in now] == [0, 1]
    assert before[now[0].pair_id] == now[0]
    assert ids(formed(revised)) == {now[1].pair_id}


def test_a_pair_has_the_revision_in_which_a_side_was_last_rescored() -> None:
    revisions = {
        (pair.chosen_prompt, pair.rejected_prompt): pair.revision
        for pair in pairs_of_run(events(SECOND), PairingRules(top_k=2))
    }
    assert revisions == {
        ("prompt 3", "prompt 0"): 2,
        ("prompt 3", "prompt 2"): 2,
        ("prompt 1", "prompt 0"): 1,
        ("prompt 1", "prompt 2"): 1,
    }


def test_a_side_that_is_rescored_again_makes_another_pair_of_it() -> None:
    again = revision(FIRST, {1: 0.9}, number=2)
    assert ids(formed(FIRST)).isdisjoint(ids(formed(again)))


@pytest.mark.parametrize("seed", range(20))
def test_in_whatever_order_they_come_and_twice_the_pairs_are_the_same(seed: int) -> None:
    mixed = [*ALL, *ALL]
    random.Random(seed).shuffle(mixed)
    by_run: dict[tuple[str, int], list[PairMessage]] = {}
    for message in formed(mixed):
        assert isinstance(message, PreferencePair | PairsEnd)
        by_run.setdefault(message.run, []).append(message)
    assert by_run == {
        ("run-a", number): formed(messages) for number, messages in enumerate((RUN, FIRST, SECOND))
    }


def test_half_of_a_revision_waits_as_an_open_run_does() -> None:
    former = PairFormer(PairingRules())
    for message in (*RUN, *FIRST[:2]):
        former.on_event(message)
    assert former.is_open(("run-a", 1))
    assert not former.is_open(("run-a", 0))
    former.on_tick(60.0, 60.0)
    (end,), _ = former.on_tick(60.0, 60.0)
    assert (end.run, end.iterations) == (("run-a", 1), (0, 1))


def test_a_closed_revision_is_known_by_its_mark_and_no_other_is() -> None:
    former, next_owner = PairFormer(PairingRules()), PairFormer(PairingRules())
    marks = [mark for message in FIRST if (mark := former.on_event(message).closed) is not None]
    next_owner.recall(marks)
    assert formed_by(next_owner, FIRST) == []
    assert formed_by(next_owner, RUN) == formed(RUN)
    with pytest.raises(LateEvent, match="iteration 7 of revision 1 of run 'run-a' came after"):
        next_owner.on_event(revision(run([0.1] * 8), {})[7])


def formed_by(former: PairFormer, messages: Iterable[TraceMessage]) -> list[PairMessage]:
    return [one for message in messages for one in former.on_event(message).messages]


def test_each_revision_is_numbered_by_itself_and_taken_once() -> None:
    sequence = RunSequence()
    taken = [
        {sequence.takes(message, nth, b"rules") for nth, message in enumerate(formed(messages))}
        for messages in (FIRST, RUN, FIRST, SECOND)
    ]
    assert taken == [{True}, {True}, {False}, {True}]


def test_a_run_as_it_was_made_has_the_hash_that_states_on_kafka_have_of_it() -> None:
    sequence = RunSequence()
    for nth, message in enumerate(formed(RUN)):
        sequence.takes(message, nth)
    assert sequence.state()["closed"] == [9963677655024059808]
