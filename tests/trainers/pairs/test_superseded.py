"""Pairs of scores that a rescoring replaced are told from those that are still in force."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from streams.messages.contracts import PairMessage, PairsEnd, PreferencePair
from tests import factories
from tests.factories import revision, run
from tests.trainers.pairs.test_revisions import events, formed
from trainers.pairs.pairing import PairingRules, pairs_of_run
from trainers.pairs.superseded import without_superseded

MADE = run([0.2, 0.8, 0.5])


def told(messages: list[PairMessage]) -> list[tuple[str, str]]:
    kept, _ = without_superseded(messages)
    return [
        (one.chosen_prompt[-1], one.rejected_prompt[-1]) for one in kept if isinstance(one, PreferencePair)
    ]


@pytest.mark.parametrize("is_revised_first", [False, True])
def test_no_pair_of_scores_that_were_replaced_is_kept(is_revised_first: bool) -> None:
    before, after = formed(MADE), formed(revision(MADE, {0: 0.8, 1: 0.2, 2: 0.5}))
    assert ("1", "2") in told(before)
    both = [*after, *before] if is_revised_first else [*before, *after]
    assert set(told(both)) == {("0", "1"), ("0", "2")}
    assert without_superseded(both)[1] == sum(isinstance(one, PreferencePair) for one in before)


def test_a_pair_of_two_candidates_that_nobody_judged_again_is_kept() -> None:
    """As where a judge was down for one video of many."""
    made = run([0.5, 0.3, None])
    assert told([*formed(made), *formed(revision(made, {2: 0.1}))]) == [("0", "1"), ("0", "2")]


def test_a_pair_that_is_formed_again_with_the_same_scores_counts_once() -> None:
    made = run([0.5, 0.3])
    both = [*formed(made), *formed(revision(made, {0: 0.5, 1: 0.3}))]
    kept, left_out = without_superseded(both)
    assert ([one.revision for one in kept if isinstance(one, PreferencePair)], left_out) == ([1], 1)


def test_the_export_of_a_rescored_run_is_kept_whole() -> None:
    rng = random.Random(3)
    for _ in range(200):
        made = run([rng.choice((None, rng.random())) for _ in range(rng.randrange(2, 9))])
        first = revision(made, {i: rng.random() for i in range(len(made) - 1) if rng.random() < 0.4})
        second = revision(first, {i: rng.random() for i in range(len(made) - 1) if rng.random() < 0.4}, 2)
        pairs = pairs_of_run(events(second), PairingRules(top_k=2))
        assert without_superseded(pairs) == (pairs, 0)


def test_only_the_newest_of_several_revisions_is_kept() -> None:
    scores: tuple[Mapping[int, float], ...] = ({0: 0.8, 1: 0.2, 2: 0.5}, {0: 0.1, 1: 0.9, 2: 0.5})
    first = revision(MADE, scores[0])
    second = revision(first, scores[1], number=2)
    newest = formed(second)
    assert told([*formed(MADE), *newest, *formed(first)]) == told(newest)


def test_votes_ends_other_runs_and_pairs_from_elsewhere_are_kept() -> None:
    before, after = formed(MADE), formed(revision(MADE, {0: 0.8, 1: 0.2, 2: 0.5}))
    vote = next(replace(one, label_source="human") for one in before if isinstance(one, PreferencePair))
    others = [
        vote,
        *(one for one in before if isinstance(one, PairsEnd)),
        *formed(run([0.2, 0.8, 0.5], run_id="run-b")),
        factories.pair({"eye.x": 0.9}, {"eye.x": 0.1}, label_source="critic"),
        factories.pair({"eye.x": 0.9}, {"eye.x": 0.1}, label_source="critic", run_id="run-a"),
    ]
    kept, _ = without_superseded([*before, *after, *others])
    assert [one for one in others if one not in kept] == []


def test_nothing_is_left_out_of_nothing() -> None:
    assert without_superseded([]) == ([], 0)
