from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from runner.rewards.from_file import FileRewardFeed
from runner.rewards.preference import PreferenceGate, PreferencePolicy, combined_reward
from streams.errors import BadInput
from streams.files import write_atomically
from streams.messages.codec import encode, sealed
from streams.messages.contracts import DimensionReward, GateState, RewardSnapshot
from tests.runner.fakes import judged, snapshot

unit = st.floats(0.0, 1.0)
weight = st.floats(0.0, 10.0)


@given(unit, unit, weight)
def test_without_confidence_the_reward_is_exactly_the_critics(r: float, p: float, w: float) -> None:
    assert combined_reward(r, p, 0.0, w) == r


@given(unit, unit, weight)
def test_at_even_odds_the_reward_is_exactly_the_critics(r: float, c: float, w: float) -> None:
    assert combined_reward(r, 0.5, c, w) == r


@given(unit, unit, unit, weight)
def test_a_preference_moves_the_reward_by_no_more_than_its_weight(
    r: float, p: float, c: float, w: float
) -> None:
    assert abs(combined_reward(r, p, c, w) - r) <= w + 1e-12


@given(unit, unit, unit, unit, weight)
def test_the_more_preferred_the_higher_the_reward(r: float, p: float, q: float, c: float, w: float) -> None:
    low, high = sorted((p, q))
    assert combined_reward(r, low, c, w) <= combined_reward(r, high, c, w)


@given(unit, unit, unit, weight)
def test_preferences_for_and_against_are_mirror_images(r: float, p: float, c: float, w: float) -> None:
    up, down = combined_reward(r, p, c, w), combined_reward(r, 1.0 - p, c, w)
    assert up - r == pytest.approx(r - down, abs=1e-9)


def test_the_formula_is_that_of_the_design() -> None:
    assert combined_reward(0.6, 0.9, 0.5, 0.2) == pytest.approx(0.6 + 0.2 * 0.5 * 0.8)


@pytest.mark.parametrize(
    ("p", "c", "w"), [(1.1, 1, 0.2), (float("nan"), 1, 0.2), (0.5, -0.1, 0.2), (0.5, 1, -1)]
)
def test_numbers_out_of_range_are_refused(p: float, c: float, w: float) -> None:
    with pytest.raises(ValueError, match="expected p and c"):
        combined_reward(0.5, p, c, w)


@pytest.mark.parametrize(
    ("policy_gate", "given_by_user", "snapshot_gate", "steers"),
    [
        ("auto", False, "shadow", False),
        ("auto", False, "active", True),
        ("auto", True, "shadow", True),
        ("auto", True, "active", True),
        ("require", False, "shadow", False),
        ("require", False, "active", True),
        ("require", True, "shadow", False),
        ("require", True, "active", True),
        ("ignore", False, "shadow", True),
        ("ignore", False, "active", True),
        ("ignore", True, "shadow", True),
        ("ignore", True, "active", True),
    ],
)
def test_who_may_steer(
    policy_gate: PreferenceGate, given_by_user: bool, snapshot_gate: GateState, steers: bool
) -> None:
    policy = PreferencePolicy(gate=policy_gate, given_by_user=given_by_user)
    assert policy.steers(snapshot_gate) is steers


def test_a_bad_preference_weight_is_bad_input() -> None:
    with pytest.raises(BadInput, match="preference weight is -1"):
        PreferencePolicy(weight=-1)


def test_the_first_candidate_has_the_critics_reward_and_no_gain() -> None:
    verdict = PreferencePolicy().judge(judged({"quality": 0.4}), None, snapshot())
    assert verdict is not None
    assert (verdict.combined, verdict.gain, verdict.probability) == (0.4, None, None)


def test_the_best_against_itself_gains_nothing() -> None:
    best = judged({"quality": 0.4, "task": None})
    verdict = PreferencePolicy().judge(best, best, snapshot())
    assert verdict is not None
    assert (verdict.combined, verdict.gain, verdict.probability) == (0.4, 0.0, 0.5)


def test_without_a_snapshot_the_gain_is_the_critics() -> None:
    verdict = PreferencePolicy().judge(judged({"quality": 0.5}), judged({"quality": 0.4}), None)
    assert verdict is not None
    assert (verdict.combined, verdict.confidence, verdict.probability) == (0.5, 0.0, None)
    assert verdict.gain == pytest.approx(0.1)


def test_a_candidate_no_critic_could_judge_has_no_verdict() -> None:
    assert PreferencePolicy().judge(judged({"quality": None}), judged({"quality": 0.4}), snapshot()) is None


def test_a_preference_can_overrule_the_critics() -> None:
    """Critics like the pretty one better; people were seen to care for the task."""
    best = judged({"quality": 0.9, "task": 0.2})
    candidate = judged({"quality": 0.5, "task": 0.5})
    people = snapshot({"eye.quality": 0.1, "eye.task": 2.0})
    alone = PreferencePolicy().judge(candidate, best, None)
    with_people = PreferencePolicy().judge(candidate, best, people)
    assert alone is not None
    assert with_people is not None
    assert alone.gain is not None
    assert with_people.gain is not None
    assert alone.gain < 0 < with_people.gain


def test_a_shadow_is_asked_but_not_followed() -> None:
    candidate, best = judged({"quality": 0.9}), judged({"quality": 0.5})
    verdict = PreferencePolicy().judge(candidate, best, snapshot(gate="shadow"))
    assert verdict is not None
    assert verdict.combined == 0.9
    assert verdict.probability is not None
    assert verdict.probability > 0.9


def with_dimensions(**dimensions: RewardSnapshot) -> RewardSnapshot:
    """The usual snapshot with the rewards of these, too."""
    return sealed(
        replace(
            snapshot(),
            dimensions={
                name: DimensionReward(
                    gate=of.gate,
                    statement=of.statement,
                    feature_names=of.feature_names,
                    weights=tuple(of.weights.values()),
                    scales=tuple(of.scales.values()),
                    labels=of.labels,
                    metrics=of.metrics,
                )
                for name, of in dimensions.items()
            },
        )
    )


PHYSICS = snapshot({"eye.physics": 2.0})
BEST = judged({"quality": 0.5, "physics": 0.5})


def test_a_run_may_weigh_the_dimensions() -> None:
    """The candidate looks worse and moves better."""
    candidate = judged({"quality": 0.3, "physics": 0.9})
    known = with_dimensions(physics=PHYSICS)
    gains = []
    for prefer in ({}, {"overall": 1.0}, {"overall": 1.0, "physics": 1.0}, {"physics": 1.0}):
        verdict = PreferencePolicy(prefer=prefer).judge(candidate, BEST, known)
        assert verdict is not None
        assert verdict.gain is not None
        gains.append(verdict.gain)
    assert gains[0] == gains[1] < 0.0 < gains[3]
    assert gains[2] == pytest.approx((gains[1] + gains[3]) / 2)


def test_each_dimensions_opinion_is_kept_apart() -> None:
    candidate = judged({"quality": 0.3, "physics": 0.9})
    verdict = PreferencePolicy(prefer={"overall": 1.0, "physics": 2.0}).judge(
        candidate, BEST, with_dimensions(physics=PHYSICS)
    )
    assert verdict is not None
    assert verdict.by_dimension["physics"].probability > 0.9
    assert verdict.by_dimension["overall"].probability < 0.2


@pytest.mark.parametrize("known", [{}, {"physics": snapshot({"eye.physics": 2.0}, gate="shadow")}])
def test_a_dimension_that_is_unknown_or_a_shadow_moves_nothing_and_keeps_its_share(
    known: dict[str, RewardSnapshot],
) -> None:
    candidate = judged({"quality": 0.7, "physics": 0.0})
    overall = PreferencePolicy().judge(candidate, BEST, snapshot())
    half = PreferencePolicy(prefer={"overall": 1.0, "physics": 1.0}).judge(
        candidate, BEST, with_dimensions(**known)
    )
    assert overall is not None
    assert half is not None
    critics = candidate.overall_score or 0.0
    assert half.combined - critics == pytest.approx((overall.combined - critics) / 2)


def test_where_nothing_that_is_weighed_is_known_the_reward_is_the_critics() -> None:
    candidate = judged({"quality": 0.7, "physics": 0.0})
    verdict = PreferencePolicy(prefer={"beauty": 1.0}).judge(candidate, BEST, snapshot())
    assert verdict is not None
    assert (verdict.combined, verdict.confidence) == (candidate.overall_score, 0.0)


@given(
    st.dictionaries(st.sampled_from(("overall", "physics", "beauty")), st.floats(1e-3, 1e3), min_size=1), unit
)
def test_dimensions_together_move_the_reward_by_no_more_than_the_weight(
    prefer: dict[str, float], score: float
) -> None:
    candidate = judged({"quality": score, "physics": 1.0 - score})
    verdict = PreferencePolicy(weight=0.3, prefer=prefer).judge(
        candidate, BEST, with_dimensions(physics=PHYSICS)
    )
    assert verdict is not None
    assert candidate.overall_score is not None
    assert abs(verdict.combined - candidate.overall_score) <= 0.3 + 1e-12


@pytest.mark.parametrize(
    "prefer", [{"physics": 0.0}, {"physics": -1.0}, {"physics": float("nan")}, {"": 1.0}]
)
def test_a_share_that_is_none_is_bad_input(prefer: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="expected a dimension and a number above 0"):
        PreferencePolicy(prefer=prefer)


def write(path: Path, content: RewardSnapshot | bytes) -> None:
    write_atomically(path, content if isinstance(content, bytes) else encode(content))


@pytest.fixture
def reward_file(tmp_path: Path) -> Path:
    path = tmp_path / "bt_reward.json"
    write(path, snapshot(version=3))
    return path


def test_a_file_feed_gives_the_snapshot_in_the_file(reward_file: Path) -> None:
    assert FileRewardFeed(reward_file).latest() == snapshot(version=3)


@pytest.mark.parametrize("content", [b"", b"{", encode(snapshot()).replace(b"2.0", b"9.0")])
def test_a_file_that_cannot_be_used_at_the_start_is_bad_input(reward_file: Path, content: bytes) -> None:
    write(reward_file, content)
    with pytest.raises(BadInput):
        FileRewardFeed(reward_file)


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        FileRewardFeed(tmp_path / "none.json")


def test_a_newer_snapshot_in_the_file_is_picked_up(reward_file: Path) -> None:
    feed = FileRewardFeed(reward_file)
    write(reward_file, snapshot(version=4))
    assert feed.latest().version == 4


@pytest.mark.parametrize(
    "content",
    [b"{", snapshot(version=2), snapshot(version=4, model="another"), encode(snapshot(version=4))[:-20]],
    ids=["not JSON", "older", "of another model", "cut short"],
)
def test_a_worse_file_leaves_the_snapshot_in_use(
    reward_file: Path, content: RewardSnapshot | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    feed = FileRewardFeed(reward_file)
    write(reward_file, content)
    assert [feed.latest().version for _ in range(3)] == [3, 3, 3]
    assert len(caplog.records) == 1


def test_a_repaired_file_is_picked_up_after_a_damaged_one(reward_file: Path) -> None:
    feed = FileRewardFeed(reward_file)
    write(reward_file, b"{")
    feed.latest()
    write(reward_file, snapshot(version=5))
    assert feed.latest().version == 5


def test_a_file_that_is_gone_leaves_the_snapshot_in_use(reward_file: Path) -> None:
    feed = FileRewardFeed(reward_file)
    os.unlink(reward_file)
    assert feed.latest().version == 3


def test_a_weight_without_a_scale_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "f.json", sealed(replace(snapshot(), scales={})))
    with pytest.raises(BadInput, match=r"scales\.eye\.quality"):
        FileRewardFeed(tmp_path / "f.json")
