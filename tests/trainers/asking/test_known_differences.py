"""Differences that were worked out before are those that would be worked out now."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from tests.trainers.asking.pools import candidates, learnt
from trainers.asking.known_differences import KnownDifferences
from trainers.asking.pool import as_preference, pairs_to_ask
from trainers.bradley_terry.beliefs import differences_for

POOL = pairs_to_ask(candidates(tasks=3))
REWARD = learnt(POOL[:10])


def test_a_pool_that_changes_has_the_differences_of_its_pairs_in_their_order() -> None:
    known = KnownDifferences()
    for pool in (POOL[:6], POOL[3:12], POOL[::-1], POOL[2:4], []):
        found = known.of(REWARD, pool)
        expected = differences_for(REWARD, [as_preference(pair) for pair in pool])
        assert np.array_equal(found, expected, equal_nan=True)


def test_a_model_with_other_features_or_ranges_has_differences_of_its_own() -> None:
    known = KnownDifferences()
    known.of(REWARD, POOL)
    others = [
        replace(REWARD, feature_names=REWARD.feature_names[::-1]),
        replace(REWARD, ranges=dict.fromkeys(REWARD.ranges, (0.0, 0.01, True))),
    ]
    marked = [(replace(one, critics=one.critics | {"goal.task": -1.0}), other) for one, other in POOL]
    for reward in others:
        for pool in (POOL, marked):
            expected = differences_for(reward, [as_preference(pair) for pair in pool])
            assert np.array_equal(known.of(reward, pool), expected, equal_nan=True)
