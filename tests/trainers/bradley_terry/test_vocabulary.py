"""Which features a model learns, and what becomes of those for which there is no room."""

from __future__ import annotations

from msgspec.structs import replace

from streams.messages.contracts import PreferencePair
from streams.messages.feature_names import is_critic, is_indicator, is_interaction
from tests.factories import pair
from trainers.bradley_terry.rows import RowMaker
from trainers.bradley_terry.vocabulary import CRITICS, INDICATORS, INTERACTIONS, REFERENCES, Vocabulary
from trainers.online.learner import OnlineLearner


def in_world(name: str) -> PreferencePair:
    return replace(pair({"a.x": 0.75}, {"a.x": 0.25}), context={"world_model": name})


def test_the_first_value_of_a_shared_context_is_the_one_that_others_are_compared_with() -> None:
    vocabulary = Vocabulary()
    maker = RowMaker(vocabulary)
    assert maker.rows_of([in_world("w1")]).tolist() == [[0.5]]
    assert maker.rows_of([in_world("w2")]).tolist() == [[0.5, 0.5]]
    assert list(vocabulary.columns) == ["a.x", "a.x@world_model=w2"]
    again = Vocabulary(**vocabulary.state())
    RowMaker(again).rows_of([in_world("w1")])
    assert list(again.columns) == list(vocabulary.columns)


def test_a_critic_is_new_with_the_first_pair_that_has_it_on_both_sides() -> None:
    vocabulary = Vocabulary()
    one_sided = pair({"a.x": 1.0, "b.y": None}, {"a.x": 0.0, "b.y": 1.0})
    both = pair({"a.x": 1.0, "b.y": 0.5}, {"a.x": 0.0, "b.y": 1.0})
    X = RowMaker(vocabulary).rows_of([one_sided, pair({"b.y": 1.0}, {"b.y": 0.0}), both])
    assert list(vocabulary.columns) == ["a.x", "b.y"]
    assert X[2].tolist() == [1.0, -0.5]


def crowd(n: int) -> PreferencePair:
    """A pair with critics, contexts and a kind of context that no other has."""
    scores = {"a.x": 1.0, f"critic-{n}.x": 1.0}
    made = pair(scores, dict.fromkeys(scores, 0.0), task_id=f"t{n}", pair_id=str(n))
    return replace(
        made,
        context={"family": f"f{n}", f"kind-{n}": "k"},
        chosen_context={"generator": f"g{n}"},
        rejected_context={"generator": "g"},
    )


def test_there_is_room_for_so_many_features_of_each_kind_and_what_is_left_out_is_said() -> None:
    learner = OnlineLearner()
    learner.on_messages([crowd(n) for n in range(300)])
    snapshot = learner.snapshot()
    kinds = ((is_critic, CRITICS), (is_interaction, INTERACTIONS), (is_indicator, INDICATORS))
    for is_of_kind, room in kinds:
        assert sum(map(is_of_kind, snapshot.feature_names)) == room
    assert len(learner.state()["vocabulary"]["references"]) == REFERENCES
    # The fifth kind of context is the first thing for which there is no room (after 46 others and `family`).
    assert 300 - 64 < snapshot.metrics["over_bounds"]["pairs_with_features_left_out"] <= 300


def test_a_stream_that_names_something_new_in_each_pair_does_not_let_the_state_grow_without_end() -> None:
    learner = OnlineLearner(open_tasks=20, remembered=50)
    sizes = []
    for start in range(0, 3000, 1000):
        learner.on_messages([crowd(n) for n in range(start, start + 1000)])
        state = learner.state()
        sizes.append(len(state["trusted"]["features"]))
        assert (len(state["open"]["tasks"]), len(state["past"]["tasks"])) == (20, 50)
        assert len(state["known"]["known"]) == 50
    assert sizes[0] == sizes[-1]


def test_a_critic_whose_name_looks_like_a_context_is_a_critic() -> None:
    vocabulary = Vocabulary()
    RowMaker(vocabulary).rows_of([pair({"a@b=c": 1.0, "d.e": 1.0}, {"a@b=c": 0.0, "d.e": 0.0})])
    assert list(vocabulary.columns) == ["a%40b=c", "d.e"]
