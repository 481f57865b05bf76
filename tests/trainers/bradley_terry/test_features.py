from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.messages.contracts import TraceEvent
from streams.messages.feature_names import critic_of, is_critic, is_indicator, is_interaction, shown
from tests.factories import pair
from trainers.bradley_terry.features import UNIT, differences, of_events, unit_of
from trainers.bradley_terry.reward import prob_prefer
from trainers.online.train import train_on_pairs

NAMES = st.text(st.sampled_from("ab.@=% é\u52d5") | st.characters(codec="utf-8"), min_size=1, max_size=12)
values = (
    st.none() | st.booleans() | st.floats(-5, 5) | st.sampled_from(["x", "y", ""]) | st.lists(st.just("x"))
)
contexts = st.dictionaries(st.sampled_from(["arm", "cost", "generator"]), values)
scores = st.dictionaries(st.sampled_from(["a.x", "b.y"]), st.none() | st.floats(0, 1))


@given(a=scores, b=scores, of_a=contexts, of_b=contexts, context=contexts)
def test_the_other_way_round_every_difference_changes_its_sign(
    a: dict[str, Any], b: dict[str, Any], of_a: dict[str, Any], of_b: dict[str, Any], context: dict[str, Any]
) -> None:
    one = differences(a, b, context=context, of_a=of_a, of_b=of_b)
    other = differences(b, a, context=context, of_a=of_b, of_b=of_a)
    assert one == {name: -value for name, value in other.items()}


def test_what_sets_the_sides_apart_is_plus_one_for_the_first_and_minus_one_for_the_second() -> None:
    d = differences({}, {}, of_a={"arm": "task", "generator": "g"}, of_b={"arm": "physics", "generator": "g"})
    assert d == {"@arm=task": 1.0, "@arm=physics": -1.0}


def test_a_side_without_an_arm_is_of_no_arm() -> None:
    assert differences({}, {}, of_a={"arm": "task"}) == {"@arm=task": 1.0}


def test_a_number_counts_by_its_difference_where_both_sides_have_it() -> None:
    assert differences({}, {}, of_a={"cost": 3}, of_b={"cost": 1.5}) == {"@cost": 1.5}
    assert differences({}, {}, of_a={"cost": 3}) == {}


def test_a_shared_context_repeats_the_critics_differences_in_its_name() -> None:
    d = differences({"a.x": 0.75}, {"a.x": 0.25}, context={"world_model": "dit-7b"})
    assert d == {"a.x": 0.5, "a.x@world_model=dit-7b": 0.5}


@pytest.mark.parametrize(
    "value", ["a story of more than sixty-four characters, which is no category at all", [1], {}]
)
def test_what_names_no_category_is_passed_over(value: Any) -> None:
    assert differences({"a.x": 1.0}, {"a.x": 0.0}, context={"k": value}, of_a={"k": value}) == {"a.x": 1.0}


@given(
    critics=st.sets(NAMES, min_size=2, max_size=4),
    key=NAMES,
    value=st.text(st.characters(codec="utf-8"), min_size=1, max_size=63),
)
def test_any_name_is_what_it_is_meant_to_be(critics: set[str], key: str, value: str) -> None:
    a, b = dict.fromkeys(critics, 1.0), dict.fromkeys(critics, 0.0)
    d = differences(a, b, context={key: value}, of_a={key: value}, of_b={key: value + "!"})
    of_critics = [name for name in d if is_critic(name)]
    assert sorted(map(critic_of, of_critics)) == sorted(critics)
    assert list(map(shown, of_critics)) == list(map(critic_of, of_critics))
    interactions = [name for name in d if is_interaction(name)]
    assert sorted(map(critic_of, interactions)) == sorted(critics)
    indicators = [name for name in d if is_indicator(name)]
    assert [d[name] for name in indicators] == [1.0, -1.0]
    assert len(d) == len({*of_critics, *interactions, *indicators})


@pytest.mark.parametrize("name", ["det.AP@IoU=0.50", "v1.1", "50%", "%40", "a b", "動き.品質", "@", "="])
def test_a_critic_of_any_name_is_learnt(name: str) -> None:
    pairs = [
        pair({name: 0.9, "other.x": 0.2}, {name: 0.1, "other.x": 0.8}, task_id=f"{n}") for n in range(30)
    ]
    model = train_on_pairs(pairs)
    (feature,) = [each for each in model.feature_names if critic_of(each) == name]
    assert model.weights[feature] > 0.1
    assert prob_prefer(model, differences({name: 1.0}, {name: 0.0})) > 0.6


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("flicker.quality", is_critic),
        ("model@2.quality", is_critic),
        ("flicker.quality@world_model=dit-7b", is_interaction),
        ("@arm=physics", is_indicator),
    ],
)
def test_a_name_tells_what_kind_of_feature_it_is(name: str, kind: Any) -> None:
    assert [f for f in (is_critic, is_interaction, is_indicator) if f(name)] == [kind]


def test_a_number_of_a_context_is_no_critic_and_has_its_unit() -> None:
    assert not is_critic("@cost")
    assert unit_of("@cost") == unit_of("flicker.quality") == UNIT


def test_two_iterations_are_compared_with_what_their_trace_says_of_them() -> None:
    def event(score: float, arm: str) -> TraceEvent:
        meta = {"run_id": "r", "context": {"world_model": "w"}, "candidate_context": {"arm": arm}}
        return TraceEvent(
            iter_idx=0, prompt="", artifact_path="", overall_score=score, meta=meta, critic_results=()
        )

    assert of_events(event(0.5, "task"), event(0.25, "physics")) == {"@arm=physics": -1.0, "@arm=task": 1.0}
