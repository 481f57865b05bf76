"""The pair from a vote: a person's answer about two candidates, with everything known about both.

People's labels are the most expensive, so any ambiguity (two tasks, two reward models) is an error rather
than a guess.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from msgspec.structs import replace

from streams.messages.contracts import PreferencePair, TraceEvent
from streams.messages.refusals import is_blank
from streams.messages.votes import Vote
from trainers.pairs.former import NotUsable
from trainers.pairs.pairing import PairingRules
from trainers.pairs.withdrawn import MODE

_EITHER = ("tie", "both_bad")


def pair_of_vote(vote: Vote, left: TraceEvent, right: TraceEvent, rules: PairingRules) -> PreferencePair:
    """The pair from a vote that gives one; the events are its candidates.

    Raises NotUsable if the two belong to different tasks or reward models, or if nothing that distinguishes
    them is known.
    """
    pair = _pair(vote, left, right, rules)
    if not _is_told_apart(pair):
        raise NotUsable(
            "no critic has scored both candidates, and their prompts and contexts are the same, so nothing "
            "can be learnt about their difference; have them scored and replay the vote"
        )
    return pair


def withdrawal_of_vote(
    vote: Vote, left: TraceEvent, right: TraceEvent, rules: PairingRules
) -> PreferencePair:
    """Takes back the pair of a vote, which a learner finds by its id.

    The pair may have been formed before a rescoring left nothing that distinguishes the two. Raises NotUsable
    if they belong to different tasks or reward models, so that there never was a pair.
    """
    return replace(_pair(vote, left, right, rules), withdrawn=True)


def _pair(vote: Vote, left: TraceEvent, right: TraceEvent, rules: PairingRules) -> PreferencePair:
    run_id, task_id = _task(left, right)
    model = _model(left, right, rules)
    shared, of_left, of_right = contexts_of_two(
        left.context, right.context, left.candidate_context, right.candidate_context
    )
    sides = [(left, of_left, left.critic_scores()), (right, of_right, right.critic_scores())]
    if vote.answer == "right":
        sides.reverse()
    (chosen, own_of_chosen, of_chosen), (rejected, own_of_rejected, of_rejected) = sides
    return PreferencePair(
        pair_id=pair_id_of(vote.vote_id),
        run_id=run_id,
        task_id=task_id,
        model=model,
        label_source="human",
        dimension=vote.dimension,
        tie=vote.answer in _EITHER,
        goal_instruction=chosen.goal_instruction or rejected.goal_instruction,
        chosen_prompt=chosen.prompt,
        rejected_prompt=rejected.prompt,
        chosen_artifact=chosen.artifact_path,
        rejected_artifact=rejected.artifact_path,
        chosen_score=chosen.overall_score,
        rejected_score=rejected.overall_score,
        chosen_critics=of_chosen,
        rejected_critics=of_rejected,
        context=shared,
        chosen_context=own_of_chosen,
        rejected_context=own_of_rejected,
        meta=_meta(vote, chosen, rejected),
    )


def pair_id_of(vote_id: str) -> str:
    """The id of a vote's pair."""
    return hashlib.blake2b(f"{MODE}\0{vote_id}".encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _task(left: TraceEvent, right: TraceEvent) -> tuple[str, str]:
    """The run of both, empty for candidates of two runs, and their task."""
    if left.run_id == right.run_id:
        return left.run_id, left.task_id
    tasks = [str(event.meta.get("task_id") or "") for event in (left, right)]
    if any(tasks):
        if tasks[0] != tasks[1]:
            raise NotUsable(
                f"the candidates are of two tasks, {_named(tasks[0])} and {_named(tasks[1])}; a vote "
                "compares two of one task"
            )
        return "", tasks[0]
    goals = [event.goal_instruction.strip() for event in (left, right)]
    if goals[0] != goals[1]:
        raise NotUsable(
            "the candidates are of runs without a task_id whose goals differ; a vote compares two of one task"
        )
    if is_blank(goals[0]):
        raise NotUsable(
            "the candidates are of two runs that name neither a task_id nor a goal; a vote compares two of "
            "one task"
        )
    return "", f"goal-{hashlib.sha256(goals[0].encode(errors='surrogatepass')).hexdigest()[:16]}"


def _named(task: str) -> str:
    return repr(task) if task else "one without a task_id"


def _model(left: TraceEvent, right: TraceEvent, rules: PairingRules) -> str:
    models = rules.model_of(left), rules.model_of(right)
    if models[0] != models[1]:
        raise NotUsable(
            f"the candidates' runs are of two reward models, {models[0]!r} and {models[1]!r}; a vote teaches "
            "one"
        )
    return models[0]


def contexts_of_two(
    left: Mapping[str, Any],
    right: Mapping[str, Any],
    own_of_left: Mapping[str, Any],
    own_of_right: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What both runs' contexts share, and what each candidate has alone: its own, and its run's part that is
    not shared."""
    shared = {name: value for name, value in left.items() if name in right and _same(value, right[name])}
    of_left, of_right = (
        {name: value for name, value in of_run.items() if name not in shared} | dict(own)
        for of_run, own in ((left, own_of_left), (right, own_of_right))
    )
    return shared, of_left, of_right


def _same(one: Any, other: Any) -> bool:
    """Equality as in JSON, where 1, 1.0 and true are three values."""
    written = (orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for value in (one, other))
    return next(written) == next(written)


def _is_told_apart(pair: PreferencePair) -> bool:
    other = pair.rejected_critics
    return (
        any(score is not None and other.get(name) is not None for name, score in pair.chosen_critics.items())
        or not _same(pair.chosen_context, pair.rejected_context)
        or pair.chosen_prompt != pair.rejected_prompt
    )


def _meta(vote: Vote, chosen: TraceEvent, rejected: TraceEvent) -> dict[str, str]:
    """The pair's ``meta``: only texts, which are fastest to write, and only what the vote states."""
    of_two_runs = chosen.run_id != rejected.run_id
    said = {
        "mode": MODE,
        "vote_id": vote.vote_id,
        "answer": vote.answer,
        "annotator": vote.annotator,
        "rule": vote.rule,
        "probability": vote.probability,
        "response_time_s": vote.response_time_s,
        "plays_left": vote.plays_left,
        "plays_right": vote.plays_right,
        "voted_at": vote.voted_at,
        "page": vote.page,
        "takes_back": vote.takes_back,
        "chosen_run_id": chosen.run_id if of_two_runs else "",
        "rejected_run_id": rejected.run_id if of_two_runs else "",
        "chosen_iter_idx": chosen.iter_idx,
        "rejected_iter_idx": rejected.iter_idx,
    }
    return {name: str(value) for name, value in said.items() if value is not None and value != ""}
