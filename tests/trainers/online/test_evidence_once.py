"""Candidates whose labels were learnt are no evidence again: under another name, or after being forgotten."""

from __future__ import annotations

from collections.abc import Callable
from functools import partialmethod
from itertools import permutations
from typing import Any

import pytest
from msgspec.structs import replace

from streams.messages.codec import encode
from streams.messages.contracts import PairMessage, PairsEnd, PreferencePair
from tests.factories import pair
from tests.states import read_back
from trainers.online.learner import OnlineLearner
from trainers.pairs.forgotten import ForgottenNames
from trainers.pairs.seen import REMEMBERED, KnownPairs, PastTasks, hashed
from trainers.text.learner import TextLearner

N = 20


def label(nth: int, how: str) -> PreferencePair:
    """On the same two candidates of a run, as the name of the way says."""
    made = pair({"a.x": 0.9}, {"a.x": 0.1}, run_id=f"run-{nth}", task_id=f"T {nth}", pair_id=f"{how}-{nth}")
    if how == "of its task":
        return replace(made, run_id="")
    if how == "on two runs":
        runs = {"chosen_run_id": f"run-{nth}", "rejected_run_id": f"other-{nth}"}
        return replace(made, run_id="", task_id=f"goal-{nth}", meta=runs)
    return made if how == "of its run" else replace(made, task_id=f"run-{nth}")


def labels(how: str) -> list[PreferencePair]:
    return [label(nth, how) for nth in range(N)]


def learnt(*messages: PairMessage, remembered: int = REMEMBERED) -> OnlineLearner:
    learner = OnlineLearner(remembered=remembered)
    learner.on_messages(messages)
    return learner


def figures(learner: OnlineLearner) -> tuple[int, int]:
    """Labels that are evidence, and those that are none."""
    metrics = learner.snapshot().metrics
    return metrics["trusted"]["n"], metrics.get("no_evidence", {}).get("human", 0)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        *permutations(("of its run", "of its task"), 2),
        *permutations(("of its run", "on two runs"), 2),
        *permutations(("of its run without a task", "on two runs"), 2),
    ],
)
def test_labels_of_the_same_candidates_are_evidence_once_whatever_they_are_called_by(
    first: str, then: str
) -> None:
    learner = learnt(*labels(first), *labels(then))
    assert figures(learner) == (N, N)
    assert learner.snapshot().labels == {"human": 2 * N}, "all are learnt"
    learner.finish()
    assert learner.snapshot().metrics["gate"]["tasks"] == N


def test_runs_of_one_task_are_evidence_each() -> None:
    messages = [replace(label(nth, "of its run"), task_id="T") for nth in range(N)]
    assert figures(learnt(*messages)) == (N, 0)


def test_votes_on_runs_of_one_task_are_evidence_each_where_no_vote_on_these_runs_was_learnt() -> None:
    def of_two(one: int, other: int) -> PreferencePair:
        runs = {"chosen_run_id": f"run-{one}", "rejected_run_id": f"run-{other}"}
        return replace(label(one, "of its task"), task_id="T", pair_id=f"{one} {other}", meta=runs)

    within = [replace(label(0, "of its run"), task_id="T")]
    assert figures(learnt(*within, of_two(1, 2), of_two(2, 3), of_two(1, 2))) == (3, 0)
    assert figures(learnt(*within, of_two(1, 2), of_two(0, 2))) == (2, 1)


def test_labels_of_critics_make_no_name_known() -> None:
    of_critics = [replace(one, label_source="critic", pair_id="") for one in labels("of its run")]
    assert figures(learnt(*of_critics, *labels("of its task"))) == (N, 0)


def test_a_task_that_was_labelled_before_its_runs_is_predicted_as_it_was_opened() -> None:
    again = [replace(one, pair_id=f"again {one.pair_id}") for one in labels("of its task")]
    assert figures(learnt(*labels("of its task"), *labels("of its run"), *again)) == (2 * N, N)


def test_on_a_dimension_that_begins_later_too() -> None:
    of_tasks = [replace(one, dimension="physics") for one in labels("of its task")]
    metrics = learnt(*labels("of its run"), *of_tasks).snapshot().dimensions["physics"].metrics
    assert metrics["no_evidence"] == {"human": N}
    assert metrics["trusted"] is None


def test_it_is_known_after_a_restart_and_in_batches_of_any_size() -> None:
    messages = [*labels("of its run"), *labels("of its task")]
    whole, parts = learnt(*messages, remembered=5), OnlineLearner(remembered=5)
    for start in range(0, len(messages), 3):
        parts.on_messages(messages[start : start + 3])
        parts = read_back(parts, remembered=5)
    assert encode(parts.snapshot()) == encode(whole.snapshot())
    assert figures(whole) == (N, N), "also of what is beyond what is remembered"


def test_a_restarted_dimension_knows_what_it_knew_and_no_more() -> None:
    on_physics = [replace(one, dimension="physics") for one in labels("of its task")]
    whole = learnt(on_physics[0], *labels("of its run"))
    restarted = read_back(whole)
    for learner in (whole, restarted):
        learner.on_messages(on_physics[1:])
    assert encode(restarted.snapshot()) == encode(whole.snapshot())


def passes(n_tasks: int, n_passes: int) -> list[PairMessage]:
    """A stream that comes again as it was: three labels of each run, and its end."""
    stream: list[PairMessage] = []
    for run in range(n_tasks):
        stream += [replace(label(run, "of its run"), pair_id=f"{run}.{nth}") for nth in range(3)]
        stream.append(PairsEnd(run_id=f"run-{run}", task_id=f"T {run}", n_pairs=3, n_candidates=2))
    return stream * n_passes


def test_a_stream_that_comes_again_after_it_was_forgotten_is_no_evidence_and_that_is_said() -> None:
    once, four_times = (learnt(*passes(200, n), remembered=20) for n in (1, 4))
    assert figures(once) == (600, 0)
    assert figures(four_times) == (600, 1800)
    metrics = four_times.snapshot().metrics
    assert metrics["gate"] == once.snapshot().metrics["gate"]
    assert metrics["over_bounds"]["tasks_forgotten"] > 180


def test_a_pair_that_comes_again_after_it_was_forgotten_while_its_task_is_open_is_no_evidence() -> None:
    in_turn = [replace(label(nth % N, "of its task"), pair_id=str(nth)) for nth in range(5 * N)]
    learner = learnt(*in_turn, *in_turn, remembered=10)
    assert figures(learner) == (5 * N, 5 * N)
    assert learner.snapshot().labels == {"human": 10 * N}


def test_so_is_the_vote_that_comes_after_the_forgotten_run_has_ended_again() -> None:
    *_, end = passes(1, 1)
    learner = learnt(*passes(200, 1), remembered=20)
    learner.on_messages([end, replace(label(0, "of its run"), pair_id="late")])
    assert figures(learner) == (600, 1)


def test_a_forgotten_run_of_which_critics_alone_spoke_is_evidence_when_people_vote() -> None:
    of_critics = [
        replace(one, label_source="critic") if isinstance(one, PreferencePair) else one
        for one in passes(200, 1)
    ]
    assert figures(learnt(*of_critics, *labels("of its run"), remembered=20)) == (N, 0)


def test_what_was_forgotten_stays_known_over_a_restart_and_a_rollback() -> None:
    first = learnt(*passes(100, 1), remembered=20)
    later = learnt(*passes(200, 1), remembered=20)
    restarted = read_back(later, remembered=20)
    later.go_back_to(first)
    for learner in (restarted, later):
        before = figures(learner)[0]
        learner.on_messages(passes(200, 1))
        assert figures(learner)[0] == before


def test_texts_that_come_again_after_they_were_forgotten_are_no_evidence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for kind in (PastTasks, KnownPairs):
        monkeypatch.setattr(kind, "_add", partialmethod(_with_a_bound_of_20, kind._add))
    stream = [
        replace(one, chosen_prompt=f"good {nth}", rejected_prompt=f"bad {nth}")
        if isinstance(one, PreferencePair)
        else one
        for nth, one in enumerate(passes(60, 1))
    ]
    learner = TextLearner()
    for message in [*stream, *stream]:
        learner.on_message(message)
    metrics = learner.snapshot().metrics
    assert metrics["trusted"]["n"] == 180
    assert metrics["no_evidence"] == {"human": 180}


def _with_a_bound_of_20(kept: Any, add: Callable[..., None], *what: Any) -> None:
    add(kept, *what[:-1], 20)


def test_a_name_that_was_forgotten_is_never_taken_for_a_new_one_and_a_new_one_hardly_ever_for_it() -> None:
    names = ForgottenNames()
    for nth in range(100_000):
        names.add(hashed(f"task {nth}"))
    assert all(hashed(f"task {nth}") in names for nth in range(0, 100_000, 97))
    mistaken = sum(hashed(f"new {nth}") in names for nth in range(20_000))
    assert mistaken / 20_000 == pytest.approx(1 / 60, rel=0.2)


@pytest.mark.parametrize("state", ["AAAA", "no base64!", "é"])
def test_a_state_of_forgotten_names_that_cannot_be_is_refused(state: str) -> None:
    with pytest.raises(ValueError, match=r"bytes|base64|ASCII"):
        ForgottenNames.from_state(state)


def test_a_state_from_before_names_were_kept_goes_on() -> None:
    state = learnt(*labels("of its run")).state()
    del state["elsewhere"], state["past"]["lost"]
    learner = OnlineLearner.from_state("default", state)
    learner.on_messages(labels("of its run"))
    assert figures(learner) == (N, 0)
