from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from runner.rewards.from_file import FileRewardFeed
from runner.rewards.preference import PreferenceGate, PreferencePolicy
from streams.errors import BadInput
from streams.files import write_atomically
from streams.messages.codec import encode, sealed
from streams.messages.contracts import DimensionReward, GateState, RewardSnapshot
from tests.runner.fakes import judged, snapshot

unit = st.floats(0.0, 1.0)


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


def test_a_candidate_against_itself_is_even() -> None:
    alike = judged({"quality": 0.4, "task": None})
    assert PreferencePolicy().compare(alike, alike, snapshot()).lean == 0.0


def test_two_candidates_lean_to_opposite_sides() -> None:
    one, other = judged({"quality": 0.4, "task": 0.2}), judged({"quality": 0.7, "task": None})
    policy = PreferencePolicy()
    leans = [policy.compare(one, other, snapshot()).lean, policy.compare(other, one, snapshot()).lean]
    assert leans[0] < 0.0
    assert leans[1] == pytest.approx(-leans[0])


def test_a_shadow_is_asked_but_not_followed() -> None:
    opinion = PreferencePolicy().compare(
        judged({"quality": 0.9}), judged({"quality": 0.5}), snapshot(gate="shadow")
    )
    assert opinion.lean == 0.0
    assert opinion.probability > 0.9


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
    leans = [
        PreferencePolicy(prefer=prefer).compare(candidate, BEST, known).lean
        for prefer in ({}, {"overall": 1.0}, {"overall": 1.0, "physics": 1.0}, {"physics": 1.0})
    ]
    assert leans[0] == leans[1] < 0.0 < leans[3]
    assert leans[2] == pytest.approx((leans[1] + leans[3]) / 2)


@pytest.mark.parametrize(("of_overall", "of_physics"), [(2.0, 1.0), (1.0, 2.0), (1.0, 9.0)])
def test_a_dimension_moves_a_candidate_by_its_share_of_all_weights(
    of_overall: float, of_physics: float
) -> None:
    candidate = judged({"quality": 0.3, "physics": 0.9})
    policy = PreferencePolicy(prefer={"overall": of_overall, "physics": of_physics})
    opinion = policy.compare(candidate, BEST, with_dimensions(physics=PHYSICS))
    leans = {name: of.lean for name, of in opinion.by_dimension.items()}
    weighted = of_overall * leans["overall"] + of_physics * leans["physics"]
    assert opinion.lean == pytest.approx(weighted / (of_overall + of_physics))
    assert leans["overall"] < 0.0 < leans["physics"]


def test_each_dimensions_opinion_is_kept_apart() -> None:
    candidate = judged({"quality": 0.3, "physics": 0.9})
    policy = PreferencePolicy(prefer={"overall": 1.0, "physics": 2.0})
    opinion = policy.compare(candidate, BEST, with_dimensions(physics=PHYSICS))
    assert opinion.by_dimension["physics"].probability > 0.9
    assert opinion.by_dimension["overall"].probability < 0.2


@pytest.mark.parametrize("known", [{}, {"physics": snapshot({"eye.physics": 2.0}, gate="shadow")}])
def test_a_dimension_that_is_unknown_or_a_shadow_moves_nothing_and_keeps_its_share(
    known: dict[str, RewardSnapshot],
) -> None:
    candidate = judged({"quality": 0.7, "physics": 0.0})
    overall = PreferencePolicy().compare(candidate, BEST, snapshot())
    half = PreferencePolicy(prefer={"overall": 1.0, "physics": 1.0}).compare(
        candidate, BEST, with_dimensions(**known)
    )
    assert half.lean == pytest.approx(overall.lean / 2)


def test_where_nothing_that_is_weighed_is_known_nothing_is_preferred() -> None:
    policy = PreferencePolicy(prefer={"beauty": 1.0})
    assert policy.compare(judged({"quality": 0.7, "physics": 0.0}), BEST, snapshot()).lean == 0.0


@given(
    st.dictionaries(st.sampled_from(("overall", "physics", "beauty")), st.floats(1e-3, 1e3), min_size=1), unit
)
def test_dimensions_together_lean_no_further_than_one_alone_could(
    prefer: dict[str, float], score: float
) -> None:
    candidate = judged({"quality": score, "physics": 1.0 - score})
    opinion = PreferencePolicy(prefer=prefer).compare(candidate, BEST, with_dimensions(physics=PHYSICS))
    assert abs(opinion.lean) <= 1.0


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
