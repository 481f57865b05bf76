"""A stream of pairs gives the same bits however it is cut into batches, and restarted between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.messages.checkpoints import rollback_to
from streams.messages.codec import encode
from streams.messages.contracts import CONTEXT_MARK, PairMessage, PairsEnd, PreferencePair
from streams.messages.feature_names import is_interaction
from tests.factories import pair
from tests.states import checkpoint_of
from trainers.bradley_terry import vocabulary
from trainers.bradley_terry.estimators import LEARNERS, LearnerName, Recipe
from trainers.bradley_terry.features import of_pair
from trainers.bradley_terry.rows import RowMaker
from trainers.bradley_terry.vocabulary import Vocabulary
from trainers.online.learner import OnlineLearner

PARAMETERS: dict[str, dict[str, float]] = {
    "laplace": {"drift_delta": 0.9},  # so that a few pairs can be a drift
    "river-logistic": {},
}
OPEN_TASKS, REMEMBERED = 3, 6

tasks = st.sampled_from(["r1", "r2", "r3", "r4", "r5"])
values = st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0, 7.0]) | st.floats(0, 1)
critics = st.dictionaries(
    st.sampled_from(["a.x", "b.y", "text_rm.text", "ocr.text", "e.v"]), values, max_size=4
)
contexts = st.dictionaries(
    st.sampled_from(["arm", "cost", "on"]),
    st.sampled_from(["x", "y", "z"]) | st.booleans() | st.integers(0, 1) | st.just([1]) | st.just(1.0),
    max_size=2,
)
pairs = st.builds(
    PreferencePair,
    task_id=tasks,
    run_id=st.just("") | tasks,
    pair_id=st.sampled_from(["", "", "1", "2", "3", "4"]),
    label_source=st.sampled_from(["critic", "proxy", "outcome", "human"]),
    weight=st.sampled_from([0.0, 0.3, 1.0, 16.0]),  # more than 8 is an observation of the drift detector
    chosen_critics=critics,
    rejected_critics=critics,
    context=st.just({}) | contexts,
    chosen_context=st.just({}) | contexts,
    rejected_context=st.just({}) | contexts,
    chosen_artifact=st.sampled_from(["", "u", "v"]),
    rejected_artifact=st.sampled_from(["", "u", "v"]),
    meta=st.sampled_from([{}, {"judge": "j"}, {"judge": "k"}, {"annotator": "ann"}, {"annotator": "bob"}]),
)
ends = st.builds(PairsEnd, run_id=tasks, task_id=tasks, n_pairs=st.just(1), n_candidates=st.just(2))
strangers = st.builds(pair, st.just({"a.x": 1.0}), st.just({"a.x": 0.0}), model=st.just("another"))


def new(learner: LearnerName) -> OnlineLearner:
    recipe = Recipe(learner=learner, parameters=PARAMETERS[learner])
    return OnlineLearner(recipe=recipe, open_tasks=OPEN_TASKS, remembered=REMEMBERED)


def restarted(learner: OnlineLearner) -> OnlineLearner:
    state = orjson.loads(orjson.dumps(learner.state(), option=orjson.OPT_SERIALIZE_NUMPY))
    return OnlineLearner.from_state("default", state, open_tasks=OPEN_TASKS, remembered=REMEMBERED)


def with_rollbacks(stream: Sequence[PairMessage], at: set[int], learner: LearnerName) -> list[PairMessage]:
    """The stream, and at these places a way back to the model of half of what came so far."""
    messages: list[PairMessage] = []
    for number, message in enumerate(stream):
        if number in at:
            then = new(learner)
            then.on_messages(messages[: len(messages) // 2])
            messages.append(rollback_to(checkpoint_of(then), "a test"))
        messages.append(message)
    return messages


def parts(n: int, cuts: set[int]) -> Iterator[slice]:
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < n), n]
    return (slice(*edge) for edge in pairwise(edges))


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, room in (("CRITICS", 3), ("INTERACTIONS", 3), ("INDICATORS", 3), ("REFERENCES", 2)):
        monkeypatch.setattr(vocabulary, kind, room)


@pytest.mark.usefixtures("little_room")
@pytest.mark.parametrize("learner", LEARNERS)
@settings(
    deadline=None,  # the first example compiles
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    stream=st.lists(st.one_of(pairs, pairs, pairs, ends, strangers), min_size=1, max_size=60),
    back=st.sets(st.integers(1, 40), max_size=2),
    cuts=st.sets(st.integers(1, 60), max_size=6),
    restarts=st.sets(st.integers(0, 5), max_size=2),
    known=st.sets(st.integers(0, 60), max_size=10),
)
def test_the_bits_do_not_depend_on_how_a_stream_is_cut_or_where_it_is_restarted(
    learner: LearnerName,
    stream: list[PairMessage],
    back: set[int],
    cuts: set[int],
    restarts: set[int],
    known: set[int],
) -> None:
    messages = with_rollbacks(stream, back, learner)
    known_new = [number in known for number in range(len(messages))]
    whole, one_by_one, cut = new(learner), new(learner), new(learner)
    changes = whole.on_messages(messages, known_new)
    assert changes == sum(map(one_by_one.on_message, messages, known_new))
    for number, part in enumerate(parts(len(messages), cuts)):
        cut.on_messages(messages[part], known_new[part])
        if number in restarts:
            cut = restarted(cut)
    assert encode(whole.snapshot()) == encode(one_by_one.snapshot()) == encode(cut.snapshot())


@settings(deadline=None)  # the first example compiles
@given(stream=st.lists(pairs, max_size=20))
def test_rows_say_to_the_bit_what_differences_by_name_say(stream: list[PreferencePair]) -> None:
    """But for what critics say in a context that is the reference."""
    maker = RowMaker(Vocabulary())
    X = maker.rows_of(stream)
    of_references = {f"{key}={value}" for key, value in maker.vocabulary.references.items()}
    for row, made in zip(X.tolist(), stream, strict=True):
        found = {name: x for name, x in zip(maker.vocabulary.columns, row, strict=True) if not math.isnan(x)}
        assert found == {
            name: d
            for name, d in of_pair(made).items()
            if not (is_interaction(name) and name.partition(CONTEXT_MARK)[2] in of_references)
        }


def turning(n: int) -> list[PairMessage]:
    """Votes of people, each on a run of its own, who like motion at first, and calm from the middle on."""
    rng = np.random.default_rng(1)
    messages: list[PairMessage] = []
    for number in range(n):
        sign = 5.0 if number < n / 2 else -5.0
        a, b = rng.uniform(0, 1, (2, 2))
        first = rng.random() < 1 / (1 + np.exp(-sign * (a[0] - b[0])))
        sides = [{"motion.amount": float(m), "flicker.quality": float(f)} for m, f in (a, b)]
        chosen, rejected = sides if first else sides[::-1]
        run = f"run-{number}"
        messages.append(pair(chosen, rejected, run_id=run, task_id=run, pair_id="1"))
        messages.append(PairsEnd(run_id=run, task_id=run, n_pairs=1, n_candidates=2))
    return messages


def gate_of(learner: OnlineLearner) -> dict[str, Any]:
    gate: dict[str, Any] = learner.snapshot().metrics["gate"]
    return gate


def test_a_drift_alarm_in_the_middle_of_a_batch_closes_the_gate_at_its_own_pair() -> None:
    # Those in front count nothing, and keep the alarm from the end of the rows that are learnt at a time.
    in_front = [pair({}, {}, task_id="other", pair_id=str(n), weight=0.0) for n in range(40)]
    messages = [*in_front, *turning(6000)]
    one_by_one, at_once = OnlineLearner(), OnlineLearner()
    opened = []
    for message in messages:
        one_by_one.on_message(message)
        opened.append(one_by_one.is_active)
    at_once.on_messages(messages)
    assert True in opened
    assert False in opened[opened.index(True) :]
    assert at_once.state()["trusted"]["alarms"] > 0
    assert gate_of(at_once) == gate_of(one_by_one)
    assert encode(at_once.snapshot()) == encode(one_by_one.snapshot())


def test_a_call_that_raises_has_changed_nothing() -> None:
    learner = OnlineLearner()
    good = pair({"a.x": 1.0}, {"a.x": 0.0}, pair_id="1")
    learner.on_message(good)
    before = encode(learner.snapshot())
    bad = replace(good, pair_id="2", chosen_critics={"a.x": "high"})
    with pytest.raises(ValueError, match="could not convert string to float"):
        learner.on_messages([replace(good, pair_id="3"), bad])
    assert encode(learner.snapshot()) == before
    assert learner.on_message(replace(good, pair_id="3"))


def test_of_pairs_that_are_known_to_be_new_no_id_is_kept() -> None:
    numbered = [pair({"a.x": 1.0}, {"a.x": 0.0}, pair_id=str(n)) for n in range(3)]
    learner = OnlineLearner()
    assert learner.on_messages(numbered, [True, False, True]) == 3
    assert len(learner.state()["known"]["known"]) == 1


def votes(task: str, numbers: range) -> list[PairMessage]:
    """People who say the same of one task again and again."""
    return [pair({"a.x": 1.0}, {"a.x": 0.0}, run_id=task, task_id=task, pair_id=str(n)) for n in numbers]


@pytest.mark.parametrize("ending", ["settled early", "closed"])
def test_the_pairs_of_a_task_count_no_more_for_coming_after_it_was_settled(ending: str) -> None:
    straight, behind = (OnlineLearner(open_tasks=1) for _ in range(2))
    other: list[PairMessage] = votes("another", range(1))
    over: list[PairMessage] = [PairsEnd(run_id="r", task_id="r", n_pairs=5, n_candidates=5)]
    straight.on_messages([*votes("r", range(10)), *other])
    behind.on_messages([*votes("r", range(5)), *(over if ending == "closed" else other)])
    behind.on_messages([*votes("r", range(5, 10)), *([] if ending != "closed" else other)])
    weighed = [learner.state()["audit"]["trusted_weight"] for learner in (straight, behind)]
    assert weighed[0] == pytest.approx(weighed[1])
    assert (
        behind.snapshot().metrics["by_label_source"]["human"]["n"] == 6
    )  # of the others, there is no evidence


def test_a_pair_of_a_settled_task_that_comes_again_is_not_learnt_again() -> None:
    learner = OnlineLearner(open_tasks=1)
    learner.on_messages([*votes("r", range(5)), *votes("another", range(1))])
    before = encode(learner.snapshot())
    assert learner.on_messages(votes("r", range(5))) == 0
    assert encode(learner.snapshot()) == before


def test_behind_a_rollback_a_task_is_predicted_by_a_model_that_has_learnt_nothing_of_it() -> None:
    """One that the earlier model was in the middle of by what that was before it, as if nothing had been."""
    earlier = OnlineLearner()
    earlier.on_messages([*votes("first", range(20)), *votes("open", range(20))])
    back = rollback_to(checkpoint_of(earlier), "a test")
    learner = OnlineLearner()
    learner.on_messages(
        [*votes("first", range(20)), *votes("open", range(40)), *votes("later", range(1)), back]
    )
    learner.on_messages(votes("open", range(40, 41)))
    earlier.on_messages(votes("open", range(40, 41)))
    figures = [one.snapshot().metrics["by_label_source"]["human"]["log_loss"] for one in (earlier, learner)]
    assert figures[0] == figures[1]
