"""Which numbered pairs of runs are taken, and that what is remembered of runs is bounded."""

from __future__ import annotations

import orjson
import pytest

from streams.messages.contracts import PairsEnd, PreferencePair
from tests.factories import pair
from trainers.pairs import sequence as sequence_module
from trainers.pairs.sequence import RunSequence


def test_a_gap_in_the_numbers_of_a_run_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    sequence = RunSequence()
    one = pair({"a.b": 0.9}, {"a.b": 0.2}, run_id="run-a")
    assert not any(sequence.takes(one, nth) for nth in (3, 4, 5))
    assert len(caplog.records) == 1
    assert sequence.takes(one, 0)
    assert not sequence.takes(one, 2)
    assert len(caplog.records) == 2


def test_a_run_that_is_formed_again_by_other_rules_has_no_pair_twice() -> None:
    one = pair({"a.b": 0.9}, {"a.b": 0.2}, run_id="run-a")
    end = PairsEnd(run_id="run-a", task_id="t", n_pairs=3, n_candidates=2)
    sequence = RunSequence()
    assert [sequence.takes(one, nth, b"top 1") for nth in (0, 1)] == [True, True]
    sequence = RunSequence.from_state(sequence.state())
    assert not any(sequence.takes(one, nth, b"top 2") for nth in (0, 1, 2, 3))
    sequence = RunSequence.from_state(sequence.state())
    assert not sequence.takes(one, 2, b""), "a pair of other rules took the place of one"
    assert sequence.takes(end, 4)
    assert not sequence.takes(end, 4)


def test_a_run_that_is_formed_again_by_its_own_rules_goes_on() -> None:
    one = pair({"a.b": 0.9}, {"a.b": 0.2}, run_id="run-a")
    sequence = RunSequence()
    assert sequence.takes(one, 0, b"top 1")
    assert not sequence.takes(one, 0, b"top 2")
    assert [sequence.takes(one, nth, b"top 1" if nth == 0 else b"") for nth in (0, 1)] == [False, True]


def pair_of(run_id: str) -> PreferencePair:
    return pair({"a.b": 0.9}, {"a.b": 0.2}, run_id=run_id)


def test_of_too_many_open_runs_that_which_was_silent_for_longest_is_learnt_no_further_and_no_run_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sequence = RunSequence(3)
    for run_id in ("a", "b", "c"):
        assert sequence.takes(pair_of(run_id), 0)
    assert sequence.takes(pair_of("a"), 1)
    sequence = RunSequence.from_state(orjson.loads(orjson.dumps(sequence.state())), 3)
    assert sequence.takes(pair_of("d"), 0)
    assert not any(sequence.takes(pair_of("b"), nth) for nth in (0, 1, 0))
    assert [sequence.takes(pair_of(run_id), nth) for run_id, nth in (("a", 2), ("c", 1), ("d", 1))] == [
        True
    ] * 3
    assert sequence.takes(pair_of("e"), 0)
    assert sequence.given_up == 2
    assert [record.message for record in caplog.records] == [
        "more than 3 runs are open: nothing more is learnt from the oldest"
    ]


def test_what_is_remembered_of_open_runs_is_bounded() -> None:
    sequence = RunSequence(200)
    for n in range(1_000):
        assert sequence.takes(pair_of(f"run-{n}"), 0, b"rules")
        sequence.takes(pair_of(f"run-{n}"), 0, b"other rules")
    state = sequence.state()
    assert all(len(state[part]) <= 200 for part in ("next", "rules", "other_rules", "closed"))


def test_runs_with_a_gap_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence_module, "_REMEMBERED_GAPS", 10)
    sequence = RunSequence()
    for n in range(25):
        assert not sequence.takes(pair_of(f"run-{n}"), 7)
    assert len(sequence._gaps) <= 10


def test_rules_of_any_length_take_no_more_of_the_state() -> None:
    sequence = RunSequence()
    assert sequence.takes(pair_of("a"), 0, b"r" * 1_000_000)
    assert not sequence.takes(pair_of("a"), 0, b"r" * 1_000_001)
    assert len(orjson.dumps(sequence.state())) < 300


def test_a_vote_is_taken_once_and_its_withdrawal_once_and_neither_is_an_open_run() -> None:
    sequence = RunSequence()
    assert [sequence.takes_vote(b"v", withdrawn=False) for _ in range(2)] == [True, False]
    sequence = RunSequence.from_state(orjson.loads(orjson.dumps(sequence.state())))
    assert [sequence.takes_vote(b"v", withdrawn=True) for _ in range(2)] == [True, False]
    assert not sequence.takes_vote(b"v", withdrawn=False)
    assert sequence.state()["next"] == {}


def test_a_vote_that_comes_behind_its_withdrawal_is_not_taken() -> None:
    sequence = RunSequence()
    assert sequence.takes_vote(b"v", withdrawn=True)
    assert not sequence.takes_vote(b"v", withdrawn=False)


def test_a_vote_that_is_called_as_a_run_is_not_that_run() -> None:
    sequence = RunSequence()
    assert sequence.takes_vote(b"run-a", withdrawn=False)
    assert sequence.takes(pair_of("run-a"), 0)
