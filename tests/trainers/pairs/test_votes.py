"""Which pair a vote gives, and which votes give none."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from streams.messages.codec import decode_pair, encode
from streams.messages.contracts import TraceEvent
from streams.messages.votes import Vote
from tests.factories import event
from trainers.pairs.former import NotUsable
from trainers.pairs.judgements import judgement_of
from trainers.pairs.pairing import PairingRules
from trainers.pairs.votes import pair_of_vote

RULES = PairingRules()


def vote(**changes: Any) -> Vote:
    fields: dict[str, Any] = {
        "vote_id": "v1",
        "left_run_id": "run-a",
        "left_iter_idx": 0,
        "right_run_id": "run-b",
        "right_iter_idx": 3,
        "answer": "left",
    }
    return Vote(**(fields | changes))


def side(run_id: str, i: int, **meta: Any) -> TraceEvent:
    made = event(i, 0.5, run_id=run_id)
    return replace(made, meta=made.meta | meta)


LEFT, RIGHT = side("run-a", 0), side("run-b", 3)


@pytest.mark.parametrize(
    ("answer", "chosen", "tie"),
    [("left", 0, False), ("right", 3, False), ("tie", 0, True), ("both_bad", 0, True)],
)
def test_the_answer_decides_which_side_is_chosen(answer: Any, chosen: int, tie: bool) -> None:
    pair = pair_of_vote(vote(answer=answer), LEFT, RIGHT, RULES)
    assert (pair.chosen_prompt, pair.tie, pair.label_source) == (f"prompt {chosen}", tie, "human")
    assert pair.meta["chosen_iter_idx"] == str(chosen)
    assert pair.meta["chosen_run_id"] == ("run-a" if chosen == 0 else "run-b")


def test_what_both_runs_share_is_the_context_and_what_differs_is_each_side_s_own() -> None:
    left = side("run-a", 0, context={"world": "wow", "steps": 1, "only": "a"}, candidate_context={"arm": "x"})
    right = side("run-b", 3, context={"world": "wow", "steps": 1.0}, candidate_context={"arm": "y"})
    pair = pair_of_vote(vote(answer="right"), left, right, RULES)
    assert pair.context == {"world": "wow"}
    assert pair.rejected_context == {"steps": 1, "only": "a", "arm": "x"}
    assert repr(pair.chosen_context) == "{'steps': 1.0, 'arm': 'y'}"


def test_what_a_vote_says_beside_its_answer_is_in_the_pair_as_texts() -> None:
    said = vote(annotator="ann", rule="variance", probability=0.25, response_time_s=3.5, dimension="physics")
    pair = pair_of_vote(said, LEFT, RIGHT, RULES)
    assert pair.dimension == "physics"
    assert pair.meta.items() >= {
        "mode": "vote", "vote_id": "v1", "annotator": "ann", "rule": "variance", "probability": "0.25",
        "response_time_s": "3.5",
    }.items()  # fmt: skip
    assert {type(value) for value in pair.meta.values()} == {str}
    assert decode_pair(encode(pair), "here") == pair


def test_the_same_vote_gives_the_same_id_and_another_vote_another() -> None:
    ids = [pair_of_vote(vote(vote_id=name), LEFT, RIGHT, RULES).pair_id for name in ("v1", "v1", "v2")]
    assert ids[0] == ids[1] != ids[2]


def test_a_pair_of_one_run_is_of_that_run_and_one_of_two_runs_of_their_task() -> None:
    within = pair_of_vote(vote(right_run_id="run-a"), LEFT, side("run-a", 3), RULES)
    assert (within.run_id, within.task_id) == ("run-a", "run-a")
    across = pair_of_vote(vote(), side("run-a", 0, task_id="t"), side("run-b", 3, task_id="t"), RULES)
    assert (across.run_id, across.task_id) == ("", "t")
    by_goal = pair_of_vote(vote(), LEFT, RIGHT, RULES)
    assert by_goal.run_id == ""
    assert by_goal.task_id.startswith("goal-")


@pytest.mark.parametrize(
    ("left", "right", "why"),
    [
        (side("run-a", 0, task_id="t"), side("run-b", 3, task_id="u"), "two tasks, 't' and 'u'"),
        (side("run-a", 0, task_id="t"), RIGHT, "one without a task_id"),
        (LEFT, side("run-b", 3, goal_instruction="another"), "goals differ"),
        (side("run-a", 0, goal_instruction=" "), side("run-b", 3, goal_instruction=""), "neither a task_id"),
        (*(side(run, 0, goal_instruction="\u200b") for run in ("run-a", "run-b")), "neither a task_id"),
    ],
)
def test_candidates_of_two_tasks_are_an_error_that_says_so(
    left: TraceEvent, right: TraceEvent, why: str
) -> None:
    with pytest.raises(NotUsable, match=why):
        pair_of_vote(vote(), left, right, RULES)


def test_candidates_of_two_reward_models_are_an_error() -> None:
    rules = PairingRules(model_by="family")
    left, right = (side(run, 0, context={"family": run}) for run in ("run-a", "run-b"))
    with pytest.raises(NotUsable, match=r"two reward models, 'default\.run-a' and 'default\.run-b'"):
        pair_of_vote(vote(), left, right, rules)
    same = side("run-b", 0, context={"family": "run-a"})
    assert pair_of_vote(vote(), left, same, rules).model == "default.run-a"


def unjudged(run_id: str, i: int, **meta: Any) -> TraceEvent:
    made = event(i, None, run_id=run_id, critics={})
    return replace(made, meta=made.meta | meta)


def test_a_candidate_that_nobody_judged_makes_a_pair_where_prompts_or_contexts_tell_it_apart() -> None:
    assert pair_of_vote(vote(), unjudged("run-a", 0), RIGHT, RULES).chosen_critics == {}
    left = unjudged("run-a", 3, candidate_context={"arm": "x"})
    assert pair_of_vote(vote(left_iter_idx=3), left, RIGHT, RULES).chosen_context == {"arm": "x"}


def test_a_pair_of_which_nothing_can_be_learnt_is_an_error() -> None:
    with pytest.raises(NotUsable, match="no critic has scored both"):
        pair_of_vote(vote(left_iter_idx=3), unjudged("run-a", 3), RIGHT, RULES)


def test_people_who_disagree_on_two_runs_videos_of_one_name_are_known_to_disagree() -> None:
    left, right = side("run-a", 0), side("run-b", 0)
    says = [
        judgement_of(pair_of_vote(vote(right_iter_idx=0, answer=answer), left, right, RULES))
        for answer in ("left", "right")
    ]
    assert says[0] is not None
    assert says[1] is not None
    assert says[0].candidates == says[1].candidates
    assert says[0].first is not says[1].first
