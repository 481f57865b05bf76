"""What a reward says of candidates, and what it does not take for one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from streams.messages.codec import encode, feature_hash, sealed
from streams.messages.contracts import DimensionReward, RewardSnapshot
from tests import factories
from tribrain import BadInput, Reward

NAMES = ("sharp", "calm", "@arm=task")
COVARIANCE = ((0.04, 0.01, 0.0), (0.01, 0.09, 0.0), (0.0, 0.0, 0.25))


def snapshot(**changes: Any) -> RewardSnapshot:
    fields: dict[str, Any] = {
        "model": "default",
        "version": 3,
        "gate": "active",
        "statement": "made by a test",
        "feature_names": NAMES,
        "feature_hash": feature_hash(NAMES),
        "weights": {"sharp": 0.8, "calm": -0.3, "@arm=task": 0.5},
        "scales": dict.fromkeys(NAMES, 0.25),
        "covariance": COVARIANCE,
        "labels": {"human": 3},
        "metrics": {},
    }
    return sealed(RewardSnapshot(**fields | changes))


REWARD = Reward(snapshot())
THREE: Mapping[str, Mapping[str, float | None]] = {
    "dull": {"sharp": 0.2, "calm": 0.5},
    "crisp": {"sharp": 0.9, "calm": 0.5},
    "wild": {"sharp": 0.9, "calm": 0.1},
}


def test_a_comparison_is_that_of_the_weights() -> None:
    preference = REWARD.prob_prefer({"sharp": 0.6, "calm": 0.1}, {"sharp": 0.4, "calm": 0.2})
    assert preference.probability == pytest.approx(1 / (1 + math.exp(-(0.8 * 0.8 + 0.3 * 0.4))))
    assert preference.ci95 is not None
    assert preference.ci95[0] < preference.probability < preference.ci95[1]
    assert 0.0 < preference.confidence < 1.0
    assert preference.tie == 0.0


def test_the_other_way_round_it_says_the_opposite() -> None:
    one = REWARD.prob_prefer(THREE["dull"], THREE["wild"])
    other = REWARD.prob_prefer(THREE["wild"], THREE["dull"])
    assert other.probability == pytest.approx(1.0 - one.probability)
    assert one.ci95 is not None
    assert other.ci95 == pytest.approx((1.0 - one.ci95[1], 1.0 - one.ci95[0]))


def test_ties_are_as_probable_as_they_were_learnt_to_be() -> None:
    assert Reward(snapshot(tie_nu=2.0)).prob_prefer(THREE["dull"], THREE["dull"]).tie == 0.5


def test_a_point_estimate_has_no_intervals_and_full_confidence() -> None:
    reward = Reward(snapshot(covariance=()))
    preference = reward.prob_prefer(THREE["dull"], THREE["wild"])
    assert (preference.ci95, preference.confidence) == (None, 1.0)
    assert [place.ci95 for place in reward.rank(THREE)] == [None] * 3


def test_the_best_comes_first() -> None:
    assert [place.name for place in REWARD.rank(THREE)] == ["wild", "crisp", "dull"]


def test_of_two_the_ranking_says_what_the_comparison_says() -> None:
    two = {name: THREE[name] for name in ("dull", "crisp")}
    preference = REWARD.prob_prefer(two["crisp"], two["dull"])
    best = REWARD.rank(two)[0]
    assert best.probability == pytest.approx(preference.probability)
    assert best.ci95 == pytest.approx(preference.ci95)


def test_a_reward_is_above_the_mean_of_the_others() -> None:
    weighed = {name: (0.8 * of["sharp"] - 0.3 * of["calm"]) / 0.25 for name, of in THREE.items()}  # type: ignore[operator]
    expected = {
        name: of - sum(other for key, other in weighed.items() if key != name) / 2
        for name, of in weighed.items()
    }
    assert {place.name: place.reward for place in REWARD.rank(THREE)} == pytest.approx(expected)


def test_a_single_candidate_is_as_good_as_itself() -> None:
    (place,) = REWARD.rank({"only": THREE["dull"]})
    assert (place.reward, place.probability, place.ci95) == (0.0, 0.5, None)


def test_nothing_is_certain_of_candidates_that_no_critic_scored_both() -> None:
    preference = REWARD.prob_prefer({"sharp": 0.6}, {"sharp": None, "calm": 0.2})
    assert (preference.probability, preference.ci95) == (0.5, None)
    ranked = REWARD.rank({**THREE, "unscored": {"sharp": None}})
    assert {place.name: place.ci95 is None for place in ranked} == {
        "wild": False, "crisp": False, "dull": False, "unscored": True,
    }  # fmt: skip


def test_equal_candidates_keep_their_order() -> None:
    assert [place.name for place in REWARD.rank(dict.fromkeys("cab", THREE["dull"]))] == ["c", "a", "b"]


def test_a_candidate_may_have_any_name_that_a_dictionary_takes() -> None:
    assert REWARD.rank({(1, "a"): THREE["dull"], None: THREE["crisp"]})[0].name is None


def test_a_critic_that_not_both_have_says_nothing() -> None:
    without = REWARD.prob_prefer({"sharp": 0.6}, {"sharp": 0.4, "calm": 0.2})
    null = REWARD.prob_prefer({"sharp": 0.6, "calm": None}, {"sharp": 0.4, "calm": 0.2})
    nan = REWARD.prob_prefer({"sharp": 0.6, "calm": math.nan}, {"sharp": 0.4, "calm": 0.2})
    assert without == null == nan
    assert without.probability == pytest.approx(1 / (1 + math.exp(-0.64)))


def test_a_critic_that_the_reward_does_not_know_says_nothing() -> None:
    known = {"sharp": 0.6}, {"sharp": 0.4}
    more = ({**side, "new": value} for side, value in zip(known, (0.1, 0.9), strict=True))
    assert REWARD.prob_prefer(*more) == REWARD.prob_prefer(*known)


def test_a_mark_for_a_missing_score_says_nothing() -> None:
    reward = Reward(snapshot(ranges={"sharp": (0.0, 1.0, True)}))
    assert reward.prob_prefer({"sharp": -1.0}, {"sharp": 0.4}).probability == 0.5


def test_iterations_of_a_run_are_ranked_with_what_each_was_made_with() -> None:
    events = [factories.event(n, 0.5, critics={"sharp.x": 0.5}) for n in range(2)]
    by_task = replace(events[1], meta=events[1].meta | {"candidate_context": {"arm": "task"}})
    names = [place.name for place in REWARD.rank([events[0], by_task])]
    assert names == [1, 0]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_candidates_may_be_a_dataframe(library: str) -> None:
    dataframe = pytest.importorskip(library, reason="make lora installs it").DataFrame
    table = dataframe(
        {"candidate": list(THREE), **{c: [of[c] for of in THREE.values()] for c in ("sharp", "calm")}}
    )
    assert REWARD.rank(table) == REWARD.rank(THREE)


def test_candidates_may_be_a_list_of_rows() -> None:
    assert REWARD.rank([{"candidate": name, **of} for name, of in THREE.items()]) == REWARD.rank(THREE)


@pytest.mark.parametrize(
    ("candidates", "said"),
    [
        ({}, "there are no candidates to rank; expected at least one"),
        ([], "the table has no rows; expected a row for each candidate"),
        ([{"name": "a", "sharp": 0.1}], "the list of candidates has no 'candidate'; expected a row"),
        ([{"Candidate": "a", "sharp": 0.1}], "did you mean 'Candidate'? Rename it"),
        ([{"candidate": None, "sharp": 0.1}], "row 0: candidate is missing; expected a name"),
        ([{"candidate": "a", "sharp": 0.1}] * 2, "candidate 'a' is there twice; expected each once"),
        ([{"candidate": "a", "sharp": "high"}], "row 0: sharp: found 'high'; expected a number"),
        ({"a": {"sharp": "high"}}, "candidate 'a': sharp: found 'high'; expected a number"),
        ({"a": {"sharp": math.inf}}, "candidate 'a': sharp: found inf; expected a number"),
        ({"a": {"sharp": True}}, "candidate 'a': sharp: found True; expected a number"),
        ({"a": 0.5}, "candidate 'a': found 0.5; expected a mapping from critic to score"),
        ({"a": {}}, "candidate 'a': has the critics none; expected some of 'sharp', 'calm'"),
        ({"a": {"sharpp": 0.5}}, "candidate 'a': has the critics 'sharpp'; expected some of 'sharp', 'calm'"),
        ({"a": {"Sharpp": 0.5}}, "which the reward knows: did you mean 'sharp'?"),
        ({"a": {1: 0.5}}, "candidate 'a': has the critics 1; expected some of 'sharp', 'calm'"),
        ([factories.event(0, 0.5)] * 2, "candidate 0 is there twice; expected each once"),
        ([factories.event(0, 0.5), {}], "candidate 1: found {}; expected iterations of a run alone"),
        (7, "found a int; expected a dataframe"),
    ],
)
def test_what_cannot_be_ranked_is_refused_with_what_is_needed(candidates: Any, said: str) -> None:
    with pytest.raises(BadInput) as refusal:
        REWARD.rank(candidates)
    assert said in str(refusal.value)


def test_bad_input_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="expected at least one"):
        REWARD.rank({})


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (0, "found 0; expected a number above 0"),
        (-1, "found -1"),
        (math.nan, "found nan"),
        ("1", "found '1'"),
    ],
)
def test_a_step_that_is_none_is_refused(step: Any, said: str) -> None:
    with pytest.raises(BadInput, match=f"^step: {said}"):
        REWARD.explain(step)


def test_it_explains_itself_with_weights_odds_and_intervals() -> None:
    (sharp,) = (effect for effect in REWARD.explain(step=0.5).effects if effect.feature == "sharp")
    assert sharp.odds_ratio == pytest.approx(math.exp(2 * 0.8))
    assert sharp.weight == 0.8
    assert sharp.weight_ci95 == pytest.approx((0.8 - 1.96 * 0.2, 0.8 + 1.96 * 0.2), rel=1e-4)


def test_it_says_what_it_is_of() -> None:
    told = (REWARD.model, REWARD.version, REWARD.gate, REWARD.is_active, REWARD.statement, REWARD.critics)
    assert told == ("default", 3, "active", True, "made by a test", ("sharp", "calm"))


def test_it_shows_itself_in_a_line() -> None:
    said = "Reward(model='default', version=3, gate='active', critics=('sharp', 'calm'))"
    assert repr(REWARD) == said


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "bt_reward.json"
    REWARD.write(path)
    assert Reward.read(str(path)) == REWARD
    assert path.read_bytes() == encode(REWARD.snapshot)


def test_a_file_that_is_no_reward_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "bt_reward.json"
    with pytest.raises(BadInput, match=f"^{path}: "):
        Reward.read(path)
    path.write_bytes(encode(REWARD.snapshot).replace(b"made by a test", b"made by a pest"))
    with pytest.raises(BadInput, match="the checksum does not match"):
        Reward.read(path)


def test_a_path_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "bt_reward.json"
    with pytest.raises(BadInput, match=f"^{path}: cannot be written"):
        REWARD.write(path)


def test_a_dimension_has_a_reward_of_its_own() -> None:
    of_physics = DimensionReward(
        gate="shadow",
        statement="of physics",
        feature_names=("calm",),
        weights=(2.0,),
        scales=(0.25,),
        labels={"human": 1},
        metrics={},
    )
    reward = Reward(snapshot(dimensions={"physics": of_physics}))
    assert reward.dimensions == ("physics",)
    assert reward.on("physics").rank(THREE)[0].name == "dull"
    assert reward.on("overall").rank(THREE)[0].name == "wild"
    with pytest.raises(
        BadInput, match="has learnt nothing on the dimension 'taste'; it knows overall, physics"
    ):
        reward.on("taste")
