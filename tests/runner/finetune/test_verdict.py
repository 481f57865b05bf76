"""Whether a new checkpoint takes the place of the one before: two judges have to show it."""

from __future__ import annotations

import msgspec
import pytest

from runner.finetune.comparison import Comparison, FailedPair, PairResult
from runner.finetune.verdict import by_task, judge, win_rate


def pairs(
    wins: int, losses: int, ties: int = 0, *, by_count: float = 1.0, by_reward: float | None = None
) -> Comparison:
    """``wins``, ``losses`` and ``ties`` are by the critics' mean."""
    results = [1.0] * wins + [0.0] * losses + [0.5] * ties
    return Comparison(
        tuple(PairResult(f"goal {n}", n, result, by_count, by_reward) for n, result in enumerate(results))
    )


def test_the_interval_is_wilsons() -> None:
    # 8 of 10: 0.490 to 0.943 (Wilson 1927; also in Brown, Cai and DasGupta 2001).
    rate = win_rate([float(n < 8) for n in range(10)])
    assert rate.rate == pytest.approx(0.8)
    assert rate.ci95 == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_more_seeds_of_a_task_are_no_more_tasks() -> None:
    assert by_task([("a", 1.0), ("b", 0.0)]) == by_task([("a", 1.0)] * 50 + [("b", 0.0)] * 50) == (1.0, 0.0)


def test_nothing_compared_shows_nothing() -> None:
    assert win_rate([]).ci95 == (0.0, 1.0)
    assert not judge(1, Comparison(()), 0).promote


@pytest.mark.parametrize(
    ("wins", "losses", "before", "promoted"),
    [(7, 0, 0, True), (6, 0, 0, False), (30, 10, 0, True), (29, 11, 0, False), (30, 10, 9, False)],
)
def test_it_is_promoted_only_on_the_evidence_that_its_line_needs(
    wins: int, losses: int, before: int, promoted: bool
) -> None:
    verdict = judge(1, pairs(wins, losses), before)
    assert verdict.promote is promoted is (verdict.selector.evidence >= verdict.needed)


def test_checkpoints_that_are_the_same_stay_where_they_are() -> None:
    verdict = judge(3, pairs(0, 0, ties=200, by_count=0.5), 2)
    assert (verdict.promote, verdict.selector.win_rate.rate) == (False, 0.5)
    assert verdict.statement.startswith("Version 3 does not take its place: by the critics' mean it wins 50%")
    assert "evidence of 210 is needed, as 2 before promoted nothing;" in verdict.statement


def test_where_the_reward_selected_it_has_to_show_that_it_wins() -> None:
    assert judge(1, pairs(40, 0, by_reward=1.0), 0).promote
    verdict = judge(1, pairs(40, 0, by_reward=0.5), 0)
    assert not verdict.promote
    assert verdict.statement.endswith("; the reward has to show more.")


def test_where_the_reward_selected_the_critics_mean_has_to_show_that_it_is_not_clearly_worse() -> None:
    verdict = judge(1, pairs(18, 22, by_reward=1.0), 0)
    assert (verdict.promote, verdict.other.judge) == (False, "critics_mean")
    assert "the critics' mean must show, too, that it is not clearly worse" in verdict.statement
    assert judge(1, pairs(26, 14, by_reward=1.0), 0).promote


def test_where_the_critics_mean_selected_a_gain_of_a_single_critic_promotes_nothing() -> None:
    verdict = judge(1, pairs(40, 0, by_count=0.2), 0)
    assert (verdict.promote, verdict.selector.judge, verdict.other.judge) == (
        False,
        "critics_mean",
        "critics_count",
    )


def test_a_verdict_follows_from_what_its_event_says() -> None:
    verdict = judge(1, pairs(28, 12, by_count=0.75), 4)
    told = msgspec.json.decode(msgspec.json.encode(verdict.as_json()))
    again = [
        PairResult(str(n), n, by_mean, by_count, None)
        for n, (by_mean, by_count) in enumerate(
            zip(told["selector"]["results"], told["other"]["results"], strict=True)
        )
    ]
    assert judge(1, Comparison(tuple(again)), told["without_promotion"]) == verdict


def test_pairs_that_could_not_be_compared_count_for_nobody_and_are_named() -> None:
    compared = pairs(7, 0)
    failed = (FailedPair("goal 7", 7, "old", "out of memory"), FailedPair("goal 8", 8, "", "no score"))
    verdict = judge(1, Comparison(compared.pairs, failed), 0)
    assert (verdict.selector, verdict.other) == (judge(1, compared, 0).selector, judge(1, compared, 0).other)
    assert (verdict.left_out, verdict.why_left_out) == (2, "the old checkpoint: out of memory")
    named = " 2 of 9 pairs could not be compared (the old checkpoint: out of memory)."
    assert verdict.statement == judge(1, compared, 0).statement + named
