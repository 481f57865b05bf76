"""What people and judges say of two candidates: who, of which, and what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from streams.messages.contracts import PreferencePair
from streams.messages.dimensions import dimension_called
from streams.messages.votes import RANDOM_RULE
from trainers.pairs.seen import hashed
from trainers.pairs.weights import task_of
from trainers.pairs.withdrawn import MODE, is_withdrawal

LONGEST_NAME = 64
"""Characters by which a judge or an annotator is told from others."""


class Judgement(NamedTuple):
    """What a person or a judge says of two candidates."""

    candidates: str
    """Both, by hash."""
    first: bool | None
    """Whether the one that sorts first is preferred; None for a tie."""
    judge: str | None
    """None for a person."""
    annotator: str = ""
    """The person, where one is named."""


def dimension_of(pair: PreferencePair) -> str:
    """What the label judges; empty for the whole."""
    return dimension_called(pair.dimension)


def judge_of(pair: PreferencePair) -> str:
    """Who gave the label of a proxy, in at most ``LONGEST_NAME`` characters."""
    return _named(str(pair.meta.get("judge", "")))


def annotator_of(pair: PreferencePair) -> str:
    """Which person gave the label (``meta["annotator"]``), in at most ``LONGEST_NAME`` characters."""
    annotator = pair.meta.get("annotator")
    return "" if annotator is None else _named(str(annotator))


def _named(name: str) -> str:
    """The name, or where it is long its beginning and a hash, so that two long names stay two."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 17]}…{hashed(name)}"


def judgement_of(pair: PreferencePair) -> Judgement | None:
    """What a pair tells of judges and people; None where neither labelled it."""
    if pair.label_source == "human":
        return Judgement(*_candidates(pair), None, annotator_of(pair))
    if pair.label_source == "proxy":
        return Judgement(*_candidates(pair), judge_of(pair))
    return None


def is_asked_for(pair: PreferencePair) -> bool:
    """Whether two candidates were shown to a person because of what a model believes of them.

    What is learnt of such an answer is as right as of any other. What it says of the model is not: pairs that
    the model is unsure of are hard, so its hits among them, and those of judges, are no picture of all pairs.
    """
    rule = pair.meta.get("rule") if pair.meta.get("mode") == MODE else None
    return bool(rule) and rule != RANDOM_RULE


def fact_of(pair: PreferencePair, judgement: Judgement | None) -> str:
    """What is the same when it comes again; what another says, or says otherwise, is another fact."""
    if is_withdrawal(pair):
        return f"{pair.pair_id}\0withdrawn"
    if judgement is None:
        return pair.pair_id
    _, first, judge, annotator = judgement
    return f"{pair.pair_id}\0{annotator if judge is None else judge}\0{first}"


def _candidates(pair: PreferencePair) -> tuple[str, bool | None]:
    """The two candidates whichever is preferred, by hash, and whether the one that sorts first is."""
    chosen = _side(pair.chosen_artifact, pair.chosen_prompt, pair.chosen_critics)
    rejected = _side(pair.rejected_artifact, pair.rejected_prompt, pair.rejected_critics)
    if "chosen_run_id" in pair.meta:  # of two runs, whose videos may have the same name
        chosen = f"{pair.meta['chosen_run_id']}\0{chosen}"
        rejected = f"{pair.meta.get('rejected_run_id')}\0{rejected}"
    both = "\0".join((task_of(pair), *sorted((chosen, rejected))))
    return hashed(both), None if pair.tie else chosen <= rejected


def _side(artifact: str, prompt: str, critics: Mapping[str, float | None]) -> str:
    """Its video; where none is named, what it was made of and what critics said."""
    if artifact:
        return artifact
    return prompt + "\0" + orjson.dumps(dict(critics), option=orjson.OPT_SORT_KEYS).decode()
