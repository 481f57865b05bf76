"""Usual marks for missing scores, as −1 or −999, are told from scores, said, and missing everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.errors import BadInput
from streams.messages.checkpoints import rollback_to
from streams.messages.codec import ContractError, decode_snapshot, encode, sealed
from streams.messages.contracts import PreferencePair, RewardSnapshot
from streams.messages.fields import ScoreRange
from streams.messages.limits import MAX_NUMBER, MAX_SCORES
from tests.factories import pair
from tests.states import checkpoint_of, read_back
from tests.trainers.bradley_terry.test_dirty_numbers import HOLDOUT, N, accuracy, every_learner, judged
from trainers.bradley_terry.estimators import LearnerName, Recipe
from trainers.bradley_terry.marks import MARKS, MARKS_AMONG_FRACTIONS, UNKNOWN, is_mark, without_marks
from trainers.bradley_terry.normalise import CriticRanges
from trainers.bradley_terry.rows import RowMaker
from trainers.bradley_terry.vocabulary import Vocabulary
from trainers.evidence.evaluate import measure_snapshot, tables
from trainers.online.learner import OnlineLearner
from trainers.online.train import train_on_pairs

UNIT: ScoreRange = (0.02, 0.97, True)
ALL = (*MARKS, *MARKS_AMONG_FRACTIONS)
every_mark = pytest.mark.parametrize("mark", ALL)


def with_marks(
    pairs: Sequence[PreferencePair],
    mark: float | None,
    *,
    share: float = 0.2,
    seed: int = 0,
    sides: Sequence[str] = ("chosen_critics", "rejected_critics"),
) -> list[PreferencePair]:
    """The pairs with a mark for this share of the first critic's scores on these sides."""
    rng = np.random.default_rng(seed)
    marked = []
    for one in pairs:
        hit = {side: {**getattr(one, side), "a.x": mark} for side in sides if rng.random() < share}
        marked.append(replace(one, **hit))
    return marked


def with_marks_later(
    pairs: Sequence[PreferencePair], mark: float | None, share: float = 0.2
) -> list[PreferencePair]:
    """The same behind the first three pairs, which show what the critics are."""
    return [*pairs[:3], *with_marks(pairs[3:], mark, share=share)]


def of_critic(sides: Iterable[tuple[float | None, float | None]]) -> list[PreferencePair]:
    """Pairs of one critic, each a task of its own; chosen first."""
    return [pair({"a.x": a}, {"a.x": b}, task_id=str(n)) for n, (a, b) in enumerate(sides)]


def taken(pairs: Sequence[PreferencePair]) -> int:
    """How many scores of the pairs were taken for marks."""
    maker = RowMaker(Vocabulary())
    maker.rows_of(pairs)
    return sum(maker.shown.taken.values())


def learnt(pairs: Sequence[PreferencePair]) -> OnlineLearner:
    learner = OnlineLearner()
    learner.on_messages(pairs)
    return learner


def unsaid(snapshot: RewardSnapshot) -> RewardSnapshot:
    """Without what is said of marks."""
    metrics = {name: what for name, what in snapshot.metrics.items() if name != "marks"}
    return replace(snapshot, metrics=metrics, statement="", checksum="")


def test_0_and_1_are_no_marks() -> None:
    assert not {0.0, 1.0} & set(ALL)


@every_mark
def test_every_listed_number_is_a_mark_of_a_critic_in_0_to_1(mark: float) -> None:
    assert is_mark(mark, *UNIT)


@every_mark
def test_of_a_critic_that_has_shown_nothing_no_number_is_a_mark(mark: float) -> None:
    assert not is_mark(mark, *UNKNOWN)


@pytest.mark.parametrize(
    ("shows", "marks"),
    [
        ((0.2, 0.35, True), MARKS),  # similarities by CLIP
        ((0.0, 1.0, False), [mark for mark in MARKS if mark != -1.0]),  # −1, 0 and 1 are a scale
        ((1.0, 5.0, False), MARKS),
        ((0.0, 100.0, False), MARKS),
        ((20.5, 80.5, True), MARKS),
        ((-1e-9, 1.0, True), MARKS),  # 0 but for rounding
        ((-0.05, 0.35, True), MARKS),  # cosines
        ((-0.5, 0.5, True), [mark for mark in MARKS if mark != -1.0]),
        ((-4.9, 4.8, True), [mark for mark in MARKS if mark not in (-1.0, -9.0)]),  # logits
        ((-95.0, 98.0, False), [mark for mark in MARKS if abs(mark) > 400]),
        ((3.0, 990.0, False), [mark for mark in MARKS if mark < 0 or mark > 4000]),
        ((-MAX_NUMBER, MAX_NUMBER, True), []),
    ],
)
def test_a_mark_is_four_times_as_far_from_0_as_what_its_critic_shows_on_that_side(
    shows: ScoreRange, marks: Sequence[float]
) -> None:
    assert [mark for mark in MARKS if is_mark(mark, *shows)] == list(marks)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_what_is_not_listed_is_no_mark(score: float) -> None:
    if score not in ALL:
        assert not is_mark(score, *UNIT)


def test_whole_numbers_that_are_a_scale_are_no_marks() -> None:
    assert not [mark for mark in MARKS_AMONG_FRACTIONS if is_mark(mark, 0.0, 5.0, False)]


def test_fractions_that_go_below_0_keep_what_lies_near_them() -> None:
    assert [mark for mark in MARKS_AMONG_FRACTIONS if -20 < mark < 0 and is_mark(mark, -1.5, 1.5, True)] == [
        -7.0, -8.0, -10.0,
    ]  # fmt: skip


def scales() -> Iterator[tuple[str, Callable[[np.random.Generator], Any], int]]:
    """A critic's scale, and how many of its first scores may be taken for marks."""
    yield "-1, 0 and 1", lambda rng: rng.integers(-1, 2, 2), 0
    yield "-1 and 1", lambda rng: rng.choice([-1, 1], 2), 0
    yield "-100 to 100", lambda rng: rng.integers(-100, 101, 2), 1
    yield "-3 to 3", lambda rng: rng.integers(-3, 4, 2), 2
    yield "0 to 1000", lambda rng: rng.integers(0, 1001, 2), 0
    yield "logits", lambda rng: rng.uniform(-5, 5, 2), 0
    yield "clip", lambda rng: rng.uniform(0.2, 0.35, 2), 0
    yield "ranks", lambda rng: rng.integers(1, 6, 2), 0
    yield "halves", lambda rng: rng.integers(-10, 11, 2) / 2, 3
    yield "steps of a third", lambda rng: rng.integers(-3, 4, 2) / 3, 2
    yield "at the limits", lambda rng: rng.uniform(-MAX_NUMBER, MAX_NUMBER, 2), 0


@pytest.mark.parametrize(("draw", "most"), [pytest.param(*rest, id=name) for name, *rest in scales()])
@pytest.mark.parametrize("seed", range(5))
def test_a_scale_keeps_its_scores(draw: Callable[[np.random.Generator], Any], most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert taken(of_critic(tuple(map(float, draw(rng))) for _ in range(400))) <= most  # type: ignore[misc]


def test_what_comes_first_is_a_mark_by_the_other_side_of_its_pair() -> None:
    assert taken(of_critic([(-1.0, 0.5)])) == taken(of_critic([(0.5, -1.0)])) == 1


@pytest.mark.parametrize("mark", MARKS)
def test_a_critic_that_is_all_marks_teaches_nothing(mark: float) -> None:
    model = learnt(of_critic([(mark, mark)] * 30)).snapshot()
    assert model.weights == learnt(of_critic([(0.5, 0.5)] * 30)).snapshot().weights
    assert model.ranges == {}


def test_a_mark_that_turns_out_to_be_a_score_is_learnt_from_then_on() -> None:
    before = of_critic([(0.5, -1.0)] * 3)
    assert taken([*before, *of_critic([(0.4, -0.6), (-0.8, 0.2)]), *before]) == 3


def test_a_single_number_makes_no_mark_of_a_score_and_no_score_of_a_mark() -> None:
    unit = of_critic([(0.5, 0.7), (0.3, 0.1)])
    assert taken([*unit, *of_critic([(-50.0, 0.5), (-1.0, 0.5)])]) == 1
    whole = of_critic([(1.0, 0.0)] * 20)
    assert taken([*whole, *of_critic([(0.5, 1.0), (1.0, -1.0)])]) == 0


def test_a_null_is_no_score_that_a_critic_shows() -> None:
    assert learnt(of_critic([(0.5, 0.7), (None, 0.6), (None, None)])).snapshot().ranges == {
        "a.x": (0.6, 0.6, True)
    }


@every_learner
@every_mark
def test_marks_in_a_fifth_of_a_critics_scores_cost_two_hundredths_at_most(
    learner: LearnerName, mark: float
) -> None:
    clean = judged(N, seed=0)
    assert accuracy(with_marks(clean, mark), learner) >= accuracy(clean, learner) - 0.02


@every_learner
@pytest.mark.parametrize("side", ["chosen_critics", "rejected_critics"])
@pytest.mark.parametrize("mark", [-1.0, -999.0, 1e6])
def test_marks_on_one_side_alone_cost_two_hundredths_at_most(
    learner: LearnerName, side: str, mark: float
) -> None:
    clean = judged(N, seed=0)
    assert accuracy(with_marks(clean, mark, sides=[side]), learner) >= accuracy(clean, learner) - 0.02


def in_worlds(pairs: Sequence[PreferencePair]) -> list[PreferencePair]:
    """The pairs with a context, so that there are interactions."""
    return [replace(one, context={"world": f"w{n % 3}"}) for n, one in enumerate(pairs)]


@every_learner
@pytest.mark.parametrize("mark", [-1.0, -999.0, 1e6])
def test_a_mark_is_a_missing_score_to_the_bit_for_models_and_gate(learner: LearnerName, mark: float) -> None:
    pairs, recipe = in_worlds(judged(N, seed=0)), Recipe(learner=learner)
    marked, missing = (train_on_pairs(with_marks_later(pairs, of), recipe=recipe) for of in (mark, None))
    assert len(marked.feature_names) == 6
    assert unsaid(marked) == unsaid(missing)


def test_marks_make_no_unit_larger() -> None:
    assert train_on_pairs(with_marks(judged(N, seed=0), -9.0)).scales == {"a.x": 0.25, "b.y": 0.25}


def test_the_snapshot_says_how_many_there_were_of_which_critic() -> None:
    model = train_on_pairs(with_marks_later(judged(103, seed=0), -1.0, share=1.0))
    assert model.metrics["marks"] == {"a.x": 200}
    assert model.statement.endswith(" Taken as missing, as a usual mark for that: 200 scores of 'a.x'.")


def test_without_marks_nothing_is_said_of_them() -> None:
    assert "marks" not in train_on_pairs(judged(N, seed=0)).metrics


def test_of_many_critics_those_with_most_marks_are_named() -> None:
    pairs = [
        pair({f"c{c}.x": -1.0 if n < c else 0.7 for c in range(8)}, {f"c{c}.x": 0.5 for c in range(8)})
        for n in range(8)
    ]
    assert train_on_pairs(pairs).metrics["marks"] == {f"c{c}.x": c for c in (7, 6, 5, 4, 3)}


def test_further_epochs_count_no_mark_again_and_take_none_for_shown() -> None:
    pairs = with_marks_later(judged(50, seed=0), -1.0)
    once, thrice = (train_on_pairs(pairs, epochs=epochs) for epochs in (1, 3))
    assert once.metrics["marks"] == thrice.metrics["marks"]
    assert once.ranges == thrice.ranges
    assert once.weights != thrice.weights


def test_in_further_epochs_a_mark_is_known_by_all_that_came() -> None:
    early = of_critic([(-1.0, 1.0)])
    later = of_critic([(0.3, 0.6), (0.5, 0.5)] * 5)
    maker = RowMaker(Vocabulary())
    assert maker.rows_of([*early, *later])[0, 0] == -2.0
    read = maker.read(early)
    assert np.isnan(maker.rows(read, [0], [maker.plan(read, 0)], is_news=False)[0]).all()


scores = st.none() | st.sampled_from([*ALL, -0.5, 0.0, 0.5, 1.0, 2.0, 5.0, 30.0, -300.0]) | st.floats(0, 1)
sides = st.dictionaries(st.sampled_from(["a.x", "b.y", "text_rm.text"]), scores, max_size=3)
streams = st.lists(
    st.builds(
        pair,
        sides,
        sides,
        task_id=st.sampled_from(["t1", "t2", "t3"]),
        label_source=st.sampled_from(["critic", "human"]),
    ),
    max_size=40,
)


@settings(deadline=None)  # the first example compiles
@given(stream=streams, cuts=st.sets(st.integers(0, 40), max_size=5), back=st.integers(0, 40))
def test_what_is_a_mark_does_not_depend_on_how_a_stream_is_cut_restarted_or_taken_back(
    stream: list[PreferencePair], cuts: set[int], back: int
) -> None:
    messages: list[Any] = list(stream)
    messages.insert(back, rollback_to(checkpoint_of(learnt(stream[: back // 2])), "a test"))
    whole, cut = OnlineLearner(), OnlineLearner()
    whole.on_messages(messages)
    for number, message in enumerate(messages):
        cut.on_message(message)
        if number in cuts:
            cut = read_back(cut)
    assert encode(whole.snapshot()) == encode(cut.snapshot())
    decode_snapshot(encode(whole.snapshot()), "test")


@settings(deadline=None)  # the first example compiles
@given(stream=streams)
def test_what_a_learner_has_seen_of_a_critic_is_what_evaluation_sees(stream: list[PreferencePair]) -> None:
    maker = RowMaker(Vocabulary())
    maker.rows_of(stream)
    shown = CriticRanges.of_pairs(stream).shown
    assert maker.shown.ranges == {name: ends for name, ends in shown.items() if ends != UNKNOWN}


@pytest.mark.parametrize("mark", [-1.0, 999.0])
def test_evaluation_has_the_same_arrays_for_marks_as_for_missing_scores(mark: float) -> None:
    of_marked, of_missing = (
        tables(with_marks(judged(N, seed=0), of), with_marks(judged(50, seed=3), of)) for of in (mark, None)
    )
    for marked, missing in zip(of_marked, of_missing, strict=True):
        assert marked.features == missing.features
        assert np.array_equal(marked.X, missing.X, equal_nan=True)


@pytest.mark.parametrize("mark", [-1.0, 999.0])
def test_a_finished_model_predicts_marks_as_missing_scores(mark: float) -> None:
    model = decode_snapshot(encode(train_on_pairs(judged(N, seed=0))), "test")
    assert isinstance(model, RewardSnapshot)
    marked, missing = (
        measure_snapshot(model, with_marks(HOLDOUT[:200], of)).predictions for of in (mark, None)
    )
    assert np.array_equal(marked, missing)


def test_ranges_are_by_feature_and_scores_by_critic() -> None:
    name = "det.AP@IoU=0.50"
    model = train_on_pairs([pair({name: 0.5}, {name: 0.7})])
    assert without_marks({name: -1.0}, model.ranges) == {name: None}


def test_scores_without_marks_stay_as_they_are() -> None:
    scores = {"a.x": 0.5, "another": -1.0, "b.y": None}
    assert without_marks(scores, {"a.x": UNIT}) == scores


def test_critics_for_which_there_is_no_room_keep_their_scores() -> None:
    many: dict[str, float | None] = {f"c{n}.x": 0.5 for n in range(MAX_SCORES)}
    late = of_critic([(-1.0, 0.5)])
    assert taken([pair(many, many), *late]) == 0
    many.popitem()
    assert taken([pair(many, many), *late]) == 1


@pytest.mark.parametrize(
    ("ranges", "says"),
    [
        ({"a.x": (0.9, 0.1, True)}, r"ranges.a.x: found 0.9 to 0.1; expected the lowest score first"),
        ({"z": (0.1, 0.9, True)}, r"ranges: found 'z', which is not a feature name"),
        ({"a.x": (0.1, 2e6, True)}, r"ranges.*1000000"),
        ({"a.x": (0.1, 0.9)}, r"ranges.*3"),
    ],
)
def test_ranges_that_cannot_be_are_refused(ranges: Any, says: str) -> None:
    wrong = sealed(replace(train_on_pairs(judged(5, seed=0)), ranges=ranges))
    with pytest.raises(ContractError, match=says):
        decode_snapshot(encode(wrong), "test")


@pytest.mark.parametrize(
    ("at", "value"), list(product([0, 2, 6], [float("nan"), float("inf"), 1e300, -2e6])), ids=str
)
def test_a_state_with_what_no_critic_shows_is_bad_input(at: int, value: float) -> None:
    state = learnt(judged(5, seed=0)).state()
    state["shown"]["rows"][0, at] = value
    with pytest.raises(BadInput, match="another version of TriBrain"):
        OnlineLearner.from_state("default", state)


@pytest.mark.parametrize("critics", [["a.x", "a.x"], ["a.x"], [f"c{n}" for n in range(MAX_SCORES + 1)]])
def test_a_state_with_other_critics_than_rows_is_bad_input(critics: list[str]) -> None:
    state = orjson.loads(orjson.dumps(learnt(judged(5, seed=0)).state(), option=orjson.OPT_SERIALIZE_NUMPY))
    state["shown"]["critics"] = critics
    with pytest.raises(BadInput, match="another version of TriBrain"):
        OnlineLearner.from_state("default", state)
