from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.messages.contracts import PairStrategy, PreferencePair, RunClosed, RunEnd, TraceEvent
from streams.messages.files import read_trace
from streams.messages.no_score import not_seen
from tests.factories import event, run
from trainers.pairs.critic_rewards import rewards_in_run
from trainers.pairs.former import PairFormer
from trainers.pairs.pairing import PairingRules, pairs_of_run

# Few distinct values, so that ties and gaps of exactly min_gap are common.
scores = st.lists(st.sampled_from([None, 0.0, 0.1, 0.13, 0.2, 0.23, 0.5, 0.53, 1.0]), min_size=1, max_size=12)
rules = st.builds(
    PairingRules,
    strategy=st.sampled_from(get_args(PairStrategy)),
    min_gap=st.sampled_from([0.0, 0.03, 0.1, 0.4]),
    top_k=st.integers(1, 5),
)


def live(events: list[TraceEvent | RunEnd], rules: PairingRules) -> list[PreferencePair]:
    former = PairFormer(rules)
    return [pair for e in events for pair in former.on_event(e).pairs]


def final_top_k(events: list[TraceEvent | RunEnd], k: int) -> set[str]:
    ranked = [e for e in events if isinstance(e, TraceEvent) and e.overall_score is not None]
    ranked.sort(key=lambda e: (-(e.overall_score or 0.0), e.iter_idx))
    return {e.prompt for e in ranked[:k]}


@settings(max_examples=2000, deadline=None)
@given(scores, rules)
def test_live_pairs_whose_chosen_side_is_in_the_final_top_k_are_the_offline_export(
    values: list[float | None], rules: PairingRules
) -> None:
    events = run(values)
    offline = {p.pair_id: p for p in pairs_of_run([e for e in events if isinstance(e, TraceEvent)], rules)}
    formed = live(events, rules)
    if rules.strategy == "best_vs_rest":
        best = final_top_k(events, rules.top_k)
        formed = [p for p in formed if p.chosen_prompt in best]
    assert {p.pair_id: p for p in formed} == offline
    assert len(formed) == len(offline)


@settings(max_examples=300, deadline=None)
@given(scores, rules, st.randoms(use_true_random=False))
def test_order_and_repetition_of_arrival_change_no_pair(
    values: list[float | None], rules: PairingRules, order: object
) -> None:
    *events, end = run(values)
    shuffled = [*events, *events[::2], end, end]
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert live([*shuffled, *events, end], rules) == live([*events, end], rules)


@settings(max_examples=300, deadline=None)
@given(scores, rules)
def test_the_export_is_every_gap_between_the_top_k_and_the_rest(
    values: list[float | None], rules: PairingRules
) -> None:
    events = [e for e in run(values) if isinstance(e, TraceEvent)]
    formed = {(p.chosen_prompt, p.rejected_prompt) for p in pairs_of_run(events, rules)}
    scored = [(v, -i) for i, v in enumerate(values) if v is not None]
    if rules.strategy == "best_vs_rest":
        ranked = sorted(scored, reverse=True)
        expected = [(a, b) for a in ranked[: rules.top_k] for b in ranked[rules.top_k :]]
    else:
        expected = [(b, a) for a, b in pairwise(scored) if a[1] - b[1] == 1]
    wanted = {(f"prompt {-a[1]}", f"prompt {-b[1]}") for a, b in expected if a[0] - b[0] >= rules.min_gap}
    assert formed == wanted


def test_a_tie_goes_to_the_earlier_iteration() -> None:
    (only,) = pairs_of_run([event(0, 0.8), event(1, 0.8), event(2, 0.1)], PairingRules())
    assert (only.chosen_prompt, only.rejected_prompt) == ("prompt 0", "prompt 2")


def test_a_candidate_is_paired_before_the_run_ends() -> None:
    former = PairFormer(PairingRules())
    former.on_event(event(0, 0.2))
    (formed,) = former.on_event(event(1, 0.9)).pairs
    assert formed.chosen_prompt == "prompt 1"


def test_outcomes_make_pairs_of_their_own() -> None:
    events = [event(0, 0.9, outcome=0.1), event(1, 0.2), event(2, 0.3, outcome=0.8)]
    formed = [
        (p.label_source, p.chosen_prompt, p.rejected_prompt) for p in pairs_of_run(events, PairingRules())
    ]
    assert formed == [
        ("critic", "prompt 0", "prompt 2"),
        ("critic", "prompt 0", "prompt 1"),
        ("outcome", "prompt 2", "prompt 0"),
    ]


def test_the_end_of_a_run_says_how_much_was_formed() -> None:
    former = PairFormer(PairingRules())
    formed = [former.on_event(e) for e in run([0.2, 0.9, None, 0.5])]
    end = formed[-1].end
    assert end is not None
    assert (end.n_pairs, end.n_candidates) == (sum(len(f.pairs) for f in formed), 3)
    assert formed[-1].closed == RunClosed(run_id="run-a", model="default", iterations=(0, 1, 2, 3))


@pytest.mark.parametrize("value", [None, "", "x" * 65, ["push"], {"push": 1}])
def test_a_value_that_cannot_name_a_model_leaves_its_run_to_the_model_of_all(value: object) -> None:
    one = event(0, 0.5)
    one = msgspec.structs.replace(one, meta=one.meta | {"context": {"task_family": value}})
    assert PairingRules(model="m", model_by="task_family").model_of(one) == "m"


def test_families_of_tasks_have_reward_models_of_their_own() -> None:
    rules = PairingRules(model="m", model_by="task_family")
    events = [event(i, score, context={"task_family": "stack"}) for i, score in enumerate([0.2, 0.9])]
    (formed,) = pairs_of_run(events, rules)
    assert formed.model == "m.stack"
    (other,) = pairs_of_run([event(0, 0.2), event(1, 0.9)], rules)
    assert other.model == "m"


@pytest.mark.parametrize("strategy", get_args(PairStrategy))
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_traces_of_the_original_give_the_pairs_of_its_own_exporter(
    strategy: PairStrategy, top_k: int
) -> None:
    data = os.environ.get("TRIBRAIN_DATA")
    if not data:
        pytest.skip("set TRIBRAIN_DATA to the folder of real runs")
    folder = Path(data) / "tribrain_0_6_2"
    # Its `adjacent` does not depend on top-k.
    expected = folder / f"pairs.{strategy}.k{1 if strategy == 'adjacent' else top_k}.jsonl"
    theirs = [json.loads(line) for line in expected.read_text().splitlines()]
    events = [e for e in read_trace(folder / "trace.jsonl") if isinstance(e, TraceEvent)]
    ours = pairs_of_run(events, PairingRules(strategy=strategy, top_k=top_k))
    assert [{name: getattr(p, name) for name in theirs[0]} for p in ours] == theirs


def judged(idx: int, **critics: float | None) -> TraceEvent:
    known = [score for score in critics.values() if score is not None]
    named = {f"{name}.x": score for name, score in critics.items()}
    return event(idx, sum(known) / len(known), critics=named)


def won(*events: TraceEvent, strategy: PairStrategy = "best_vs_rest") -> list[tuple[str, str]]:
    formed = pairs_of_run(events, PairingRules(strategy=strategy))
    return [(p.chosen_prompt[-1], p.rejected_prompt[-1]) for p in formed]


@pytest.mark.parametrize("strategy", get_args(PairStrategy))
def test_a_candidate_that_its_judge_failed_on_is_not_better_for_it(strategy: PairStrategy) -> None:
    timed_out = judged(1, pixels=0.99, judge=None)
    assert won(judged(0, pixels=0.99, judge=0.1), timed_out, strategy=strategy) == []


def test_what_is_better_on_what_both_were_judged_by_is_chosen() -> None:
    timed_out = judged(1, pixels=0.99, judge=None)
    assert won(judged(0, pixels=0.9, judge=0.1), timed_out) == [("1", "0")]


def test_what_is_worse_on_what_both_were_judged_by_is_rejected() -> None:
    timed_out = judged(1, pixels=0.8, judge=None)
    assert won(judged(0, pixels=0.9, judge=0.1), timed_out) == [("0", "1")]


def without_its_thing(idx: int, **scores: float) -> TraceEvent:
    """A video in which the critic "goal" saw nothing of what the goal names."""
    made = judged(idx, **scores)
    return replace(made, critic_results=(*made.critic_results, not_seen("goal", "x", "nothing red")))


@pytest.mark.parametrize("strategy", get_args(PairStrategy))
def test_a_video_that_has_lost_its_thing_is_rejected(strategy: PairStrategy) -> None:
    lost = without_its_thing(0, pixels=0.99)
    assert won(lost, judged(1, pixels=0.9, goal=0.98), strategy=strategy) == [("1", "0")]


def test_a_thing_that_neither_video_shows_decides_nothing() -> None:
    assert won(without_its_thing(0, pixels=0.99), without_its_thing(1, pixels=0.9)) == [("0", "1")]


def test_the_best_of_a_run_with_missing_scores_is_the_one_that_the_run_picks() -> None:
    """By its plain mean the one that the judge failed on would be the best."""
    made = [
        judged(0, pixels=0.5, judge=0.1),
        judged(1, pixels=0.6, judge=None),
        judged(2, pixels=0.8, judge=0.1),
        judged(3, pixels=0.2, judge=0.1),
    ]
    assert won(*made) == [("2", "1"), ("2", "0"), ("2", "3")]


def test_scores_and_gap_of_a_pair_are_those_of_its_two_sides_alone() -> None:
    (only,) = pairs_of_run(
        [judged(0, pixels=0.9, judge=0.2), judged(1, pixels=0.4, judge=None)], PairingRules()
    )
    assert (only.chosen_score, only.rejected_score) == pytest.approx((0.55, 0.3))
    assert only.gap == pytest.approx(0.25)


missing = st.fixed_dictionaries(
    {"pixels": st.sampled_from([0.0, 0.2, 0.5, 0.9]), "judge": st.sampled_from([None, 0.1, 0.4, 0.8])}
)


@settings(max_examples=500, deadline=None)
@given(st.lists(missing, min_size=1, max_size=9), st.sampled_from([0.0, 0.03, 0.1]))
def test_live_pairs_of_the_final_best_are_the_offline_export_whatever_is_missing(
    scores: list[dict[str, float | None]], min_gap: float
) -> None:
    rules = PairingRules(min_gap=min_gap)
    events = [judged(i, **of) for i, of in enumerate(scores)]
    rewards = rewards_in_run(events)
    best = min(rewards, key=lambda i: (-rewards[i], i))
    offline = {p.pair_id: p for p in pairs_of_run(events, rules)}
    formed = live([*events, RunEnd(run_id="run-a", iterations=tuple(range(len(events))))], rules)
    assert {p.pair_id: p for p in formed if p.chosen_prompt == f"prompt {best}"} == offline
    turned_round = {(p.rejected_prompt, p.chosen_prompt) for p in formed}
    assert min_gap == 0.0 or not turned_round & {(p.chosen_prompt, p.rejected_prompt) for p in formed}


def test_candidates_without_a_common_critic_make_no_pair_of_the_critics() -> None:
    assert won(judged(0, pixels=0.2), judged(1, judge=0.9)) == []


def test_a_score_of_the_text_on_one_side_alone_changes_no_pair() -> None:
    late = event(1, 0.9, critics={"pixels.x": 0.9, "text_rm.text": 0.1})
    assert won(judged(0, pixels=0.2), late) == [("1", "0")]


def test_an_outcome_is_a_pair_whatever_the_critics_lack() -> None:
    events = [
        event(0, 0.2, critics={"pixels.x": 0.2, "judge.x": None}, outcome=0.9),
        event(1, 0.2, critics={"pixels.x": 0.1, "judge.x": 0.3}, outcome=0.1),
    ]
    formed = [p for p in pairs_of_run(events, PairingRules()) if p.label_source == "outcome"]
    assert [p.chosen_prompt[-1] for p in formed] == ["0"]
