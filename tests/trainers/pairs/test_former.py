"""Which messages a pair former makes of late, repeated, silent and half-read runs."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count, permutations
from typing import Any

import pytest

from streams.messages.contracts import (
    PairMessage,
    PairsEnd,
    PreferencePair,
    RunClosed,
    RunEnd,
    TraceMessage,
)
from tests.factories import event, run
from trainers.pairs.former import LateEvent, PairFormer
from trainers.pairs.pairing import PairingRules, _SourcePairing

SCORES = [0.1, 0.5, 0.9, 0.3]


def former() -> PairFormer:
    return PairFormer(PairingRules())


def fed(pair_former: PairFormer, messages: Iterable[TraceMessage]) -> list[PairMessage | RunClosed]:
    """What is published for the messages, in its order."""
    published: list[PairMessage | RunClosed] = []
    for message in messages:
        formed = pair_former.on_event(message)
        published += formed.messages
        published += [formed.closed] if formed.closed else []
    return published


def test_an_end_waits_for_the_iterations_that_it_names() -> None:
    first, second, third, fourth, end = run(SCORES)
    pair_former = former()
    assert not any(isinstance(m, PairsEnd) for m in fed(pair_former, [end, first, fourth, third]))
    assert isinstance(fed(pair_former, [second])[-2], PairsEnd)


@pytest.mark.parametrize("begin", range(5))
def test_a_run_that_is_known_to_be_closed_is_not_opened_wherever_it_is_read_again(begin: int) -> None:
    messages = run(SCORES)
    (mark,) = [m for m in fed(former(), messages) if isinstance(m, RunClosed)]
    second_owner = former()
    second_owner.recall([mark])
    assert fed(second_owner, messages[begin:]) == []
    assert not second_owner.is_open(("run-a", 0))


def test_a_late_iteration_of_a_run_that_another_closed_is_told_from_a_repetition() -> None:
    second_owner = former()
    second_owner.recall([RunClosed(run_id="run-a", model="default", iterations=(0, 2))])
    assert fed(second_owner, [event(2, 0.5)]) == []
    with pytest.raises(LateEvent):
        second_owner.on_event(event(1, 0.5))


def test_the_mark_of_another_models_former_closes_nothing() -> None:
    first, second, *_ = run(SCORES)
    pair_former = former()
    pair_former.recall([RunClosed(run_id="run-a", model="other", iterations=(0, 1))])
    assert isinstance(fed(pair_former, [first, second])[0], PreferencePair)


def test_whoever_forms_a_run_gives_its_pairs_the_same_numbers_in_any_order_of_arrival() -> None:
    *events, end = run([0.1, 0.5, None, 0.9, 0.3, 0.95])

    def numbered(messages: Iterable[TraceMessage]) -> dict[int, str]:
        one = former()
        formed = [one.on_event(message) for message in messages]
        return {f.first + n: pair.pair_id for f in formed for n, pair in enumerate(f.pairs)}

    in_order = numbered([*events, end])
    assert sorted(in_order) == list(range(len(in_order)))
    for order in permutations(events):
        assert numbered([end, *order, *events]) == in_order


def test_an_event_that_cannot_be_paired_leaves_its_run_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = [0.2, 0.1, 0.9, 0.4, 0.8]
    end = RunEnd(run_id="run-a", iterations=tuple(range(5)))
    events = [event(i, scores[i], outcome=1.0 - scores[i]) for i in (1, 0, 3, 2, 4)]
    messages: list[TraceMessage] = [*events, end]
    undisturbed = fed(former(), messages)
    build = _SourcePairing._pair
    for failing in range(sum(isinstance(made, PreferencePair) for made in undisturbed)):
        builds = count()

        def fail_once(*arguments: Any, builds: Any = builds, failing: int = failing) -> PreferencePair:
            if next(builds) == failing:
                raise ZeroDivisionError
            return build(*arguments)

        monkeypatch.setattr(_SourcePairing, "_pair", fail_once)
        disturbed, made, errors = former(), [], 0
        for message in messages:
            try:
                made += fed(disturbed, [message])
            except ZeroDivisionError:
                errors += 1
                made += fed(disturbed, [message])
        assert (errors, made) == (1, undisturbed)


def test_a_repetition_of_a_closed_run_is_nothing_and_a_new_iteration_of_it_is_late() -> None:
    pair_former = former()
    messages = run(SCORES)
    fed(pair_former, messages)
    assert fed(pair_former, messages) == []
    with pytest.raises(LateEvent, match="iteration 4 of run 'run-a' came after the run had ended without it"):
        pair_former.on_event(event(4, 0.7))


def test_a_silent_run_is_given_an_end_that_names_what_has_come() -> None:
    *events, _ = run(SCORES)
    pair_former = former()
    fed(pair_former, [events[0], events[1], events[3]])
    assert pair_former.on_tick(30.0, 60.0) == ([], [])
    assert pair_former.on_tick(30.0, 60.0) == ([], [])
    ((end,), given_up) = pair_former.on_tick(30.0, 60.0)
    assert (end.run_id, end.iterations, given_up) == ("run-a", (0, 1, 3), [])
    formed = fed(pair_former, [end])
    assert isinstance(formed[-2], PairsEnd)
    assert not pair_former.is_open(("run-a", 0))


def test_a_sign_of_life_begins_the_silence_anew() -> None:
    first, second, *_ = run(SCORES)
    pair_former = former()
    fed(pair_former, [first])
    for _ in range(2):
        assert pair_former.on_tick(50.0, 60.0) == ([], [])
    fed(pair_former, [second])
    assert pair_former.on_tick(50.0, 60.0) == ([], [])
    assert pair_former.on_tick(50.0, 60.0) == ([], [])


def test_a_silent_run_without_its_beginning_is_given_up_and_may_come_again_whole() -> None:
    messages = run(SCORES)
    pair_former = former()
    fed(pair_former, messages[1:])
    pair_former.on_tick(60.0, 60.0)
    assert pair_former.on_tick(60.0, 60.0) == ([], [("run-a", 0)])
    assert fed(pair_former, messages) == fed(former(), messages)


def test_a_run_whose_first_iteration_could_not_be_published_has_the_pairs_of_the_others() -> None:
    *_, second, third, fourth, _ = run(SCORES)
    formed = fed(former(), [third, second, fourth, RunEnd(run_id="run-a", iterations=(1, 2, 3))])
    assert [m.chosen_prompt for m in formed if isinstance(m, PreferencePair)] == ["prompt 2"] * 2


def test_a_run_without_iterations_is_closed_without_a_word_to_the_learner() -> None:
    (only,) = fed(former(), [RunEnd(run_id="run-a", iterations=())])
    assert isinstance(only, RunClosed)
