from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from msgspec.structs import replace

from streams.errors import BadInput
from streams.messages.checkpoints import rollback_to
from streams.messages.codec import encode
from streams.messages.contracts import (
    LabelSource,
    PairMessage,
    PairsEnd,
    PreferencePair,
    Rollback,
)
from tests.factories import pair
from tests.states import checkpoint_of, read_back
from trainers.bradley_terry.estimators import LEARNERS, LearnerName, Recipe
from trainers.bradley_terry.features import differences
from trainers.bradley_terry.reward import critics_mean, prob_prefer
from trainers.evidence.prequential import PrequentialScores
from trainers.online.learner import OnlineLearner
from trainers.online.train import train_on_pairs
from trainers.pairs.weights import weight_of_each, weight_of_nth


def tasks(
    n: int, seed: int, sources: tuple[LabelSource, ...] = ("outcome", "critic")
) -> list[PreferencePair | PairsEnd]:
    """Runs in which people care for task alone while the critics' mean goes by flicker."""
    rng = np.random.default_rng(seed)
    messages: list[PreferencePair | PairsEnd] = []
    for run in range(n):
        for i in range(6):
            a, b = rng.uniform(0, 1, (2, 3))
            source = sources[i % len(sources)]
            a_is_better = a[0] >= b[0] if source in ("outcome", "human") else a.mean() >= b.mean()
            chosen, rejected = (a, b) if a_is_better else (b, a)
            names = ("goal.task", "flicker.quality", "blur.quality")
            messages.append(
                pair(
                    dict(zip(names, map(float, chosen), strict=True)),
                    dict(zip(names, map(float, rejected), strict=True)),
                    task_id=f"run-{run}",
                    run_id=f"run-{run}",
                    pair_id=f"{run}.{i}",
                    label_source=source,
                )
            )
        messages.append(PairsEnd(run_id=f"run-{run}", task_id=f"run-{run}", n_pairs=6, n_candidates=7))
    return messages


def learnt(messages: Sequence[PairMessage]) -> OnlineLearner:
    learner = OnlineLearner()
    for message in messages:
        learner.on_message(message)
    return learner


def test_what_people_prefer_wins_over_the_critics() -> None:
    weights = learnt(tasks(80, seed=1)).snapshot().weights
    assert weights["goal.task"] > 3 * max(abs(weights["flicker.quality"]), abs(weights["blur.quality"]))


def test_a_state_goes_on_to_the_bit() -> None:
    messages = tasks(30, seed=2)
    whole = encode(learnt(messages).snapshot())
    for cut in (1, 7, 40, len(messages) - 1):
        restored = read_back(learnt(messages[:cut]))
        for message in messages[cut:]:
            restored.on_message(message)
        assert encode(restored.snapshot()) == whole


def test_a_pair_or_a_run_that_comes_twice_is_learnt_once() -> None:
    messages = tasks(10, seed=3)
    twice = [m for message in messages for m in (message, message)] + messages
    assert encode(learnt(twice).snapshot()) == encode(learnt(messages).snapshot())


@pytest.mark.parametrize("label_source", ["human", "proxy"])
def test_a_judgement_that_comes_after_the_end_of_its_run_is_learnt_once_and_is_no_evidence(
    label_source: LabelSource,
) -> None:
    messages = tasks(3, seed=3)
    vote = pair(
        {"goal.task": 0.9}, {"goal.task": 0.1}, run_id="run-0", pair_id="v", label_source=label_source
    )
    learner = learnt([*messages, vote])
    before = learnt(messages).snapshot()
    after = learner.snapshot()
    assert after.labels == before.labels | {label_source: 1}
    assert after.weights["goal.task"] > before.weights["goal.task"]
    assert {key: after.metrics[key] for key in before.metrics} == before.metrics
    again = read_back(learner)
    assert not again.on_message(vote)
    assert encode(again.snapshot()) == encode(after)


def test_a_judgement_that_came_before_the_end_of_its_run_is_not_learnt_again_after_it() -> None:
    *messages, end = tasks(1, seed=4)
    vote = pair({"goal.task": 0.9}, {"goal.task": 0.1}, run_id="run-0", pair_id="v")
    once, twice = learnt([*messages, vote, end]), learnt([*messages, vote, end, vote])
    assert encode(once.snapshot()) == encode(twice.snapshot())


def test_every_pair_of_a_run_is_predicted_before_any_is_learnt() -> None:
    same = [pair({"a.x": 1.0}, {"a.x": 0.0}, pair_id=str(i), run_id="r", task_id="r") for i in range(50)]
    figures = learnt(list(same)).snapshot().metrics["trusted"]
    assert figures["log_loss"] == pytest.approx(math.log(2))


def test_critic_labels_alone_learn_fully_and_say_so() -> None:
    snapshot = learnt(tasks(40, seed=4, sources=("critic",))).snapshot()
    assert min(snapshot.weights.values()) > 0.3
    assert "cannot correct them" in snapshot.statement
    assert snapshot.gate == "shadow"


def test_the_gate_opens_on_evidence_and_the_statement_says_it_steers() -> None:
    snapshot = learnt(tasks(120, seed=5)).snapshot()
    assert snapshot.gate == "active"
    assert 0 < snapshot.metrics["gate"]["opened_at_pair"] < 720
    assert "steers" in snapshot.statement


def test_the_gate_stays_shut_when_labels_are_noise() -> None:
    rng = np.random.default_rng(6)
    messages: list[PreferencePair | PairsEnd] = []
    for run in range(300):
        a, b = ({"a.x": float(x), "b.y": float(y)} for x, y in rng.uniform(0, 1, (2, 2)))
        messages.append(pair(a, b, run_id=f"{run}", task_id=f"{run}", pair_id=f"{run}"))
        messages.append(PairsEnd(run_id=f"{run}", task_id=f"{run}", n_pairs=1, n_candidates=2))
    assert learnt(messages).snapshot().gate == "shadow"


def test_a_snapshot_predicts_with_the_code_that_the_learner_uses() -> None:
    """Its log loss of a pair of a new task is that of the snapshot before."""
    learner = learnt(tasks(20, seed=7))
    before = learner.snapshot()
    critics = {"goal.task": 0.9, "blur.quality": 0.3, "another.quality": 0.2}
    learner.on_message(pair(critics, {"goal.task": 0.2, "blur.quality": 0.7, "another.quality": 0.1}))
    d = {"goal.task": 0.9 - 0.2, "blur.quality": 0.3 - 0.7, "another.quality": 0.2 - 0.1}
    log_loss = learner.snapshot().metrics["by_label_source"]["human"]["log_loss"]
    assert log_loss == -math.log(prob_prefer(before, d))


def test_pairs_for_another_model_are_passed_over() -> None:
    learner = OnlineLearner("robot")
    assert not learner.on_message(pair({"a.x": 1.0}, {"a.x": 0.0}))
    assert learner.version == 0


def test_more_epochs_learn_more_and_change_no_figure() -> None:
    messages, slow = tasks(20, seed=8), Recipe(learner="river-logistic", parameters={"lr": 0.02})
    once = train_on_pairs(messages, recipe=slow)
    often = train_on_pairs(messages, recipe=slow, epochs=5, seed=1)
    assert often.metrics == once.metrics
    assert often.weights["goal.task"] > once.weights["goal.task"]
    assert often == train_on_pairs(messages, recipe=slow, epochs=5, seed=1)


def test_a_file_of_another_models_pairs_cannot_be_learnt_from() -> None:
    with pytest.raises(BadInput, match="found 1 pair, none for the model 'mine'; give --model: 'default'"):
        train_on_pairs([pair({"a.x": 1.0}, {"a.x": 0.0})], model="mine")


def test_pairs_without_critics_cannot_be_learnt_from() -> None:
    with pytest.raises(BadInput, match="nothing to learn"):
        train_on_pairs([pair({}, {})])


def rollback(earlier: OnlineLearner) -> Rollback:
    return rollback_to(checkpoint_of(earlier), "a test")


def test_a_rollback_gives_the_earlier_model_under_a_higher_version() -> None:
    messages = tasks(30, seed=3)
    learner = learnt(messages[:70])
    earlier, back = learner.snapshot(), rollback(learner)
    for message in messages[70:]:
        learner.on_message(message)
    version = learner.version
    assert learner.on_message(back)
    again = learner.snapshot()
    assert (again.weights, again.labels, again.metrics) == (earlier.weights, earlier.labels, earlier.metrics)
    assert again.version == version + 1


def test_what_was_rolled_back_is_not_learnt_again_and_what_is_new_is() -> None:
    messages = tasks(30, seed=3)
    learner = learnt(messages[:70])
    back = rollback(learner)
    for message in messages[70:200]:
        learner.on_message(message)
    learner.on_message(back)
    assert {learner.on_message(message) for message in messages[:200]} == {False}
    assert {learner.on_message(message) for message in messages[200:]} == {True}


def test_a_learner_that_rolled_back_goes_on_from_its_state_to_the_bit() -> None:
    messages: list[PairMessage] = [*tasks(30, seed=4)]
    messages.insert(150, rollback(learnt(tasks(30, seed=4)[:80])))
    whole = encode(learnt(messages).snapshot())
    for cut in (149, 151, 170):
        restored = read_back(learnt(messages[:cut]))
        for message in messages[cut:]:
            restored.on_message(message)
        assert encode(restored.snapshot()) == whole


def test_a_rollback_carries_the_model_to_a_learner_that_has_nothing() -> None:
    earlier = learnt(tasks(10, seed=5))
    learner = OnlineLearner()
    learner.on_message(rollback(earlier))
    assert learner.snapshot().weights == earlier.snapshot().weights
    assert learner.version == earlier.version + 1


def test_a_state_knows_a_bounded_number_of_closed_tasks_and_pairs() -> None:
    learner = OnlineLearner(remembered=5)
    learner.on_messages(tasks(9, seed=6))
    state = learner.state()
    assert len(state["past"]["tasks"]) == len(state["known"]["known"]) == 5
    assert learner.snapshot().metrics["over_bounds"] == {"tasks_forgotten": 4, "pairs_forgotten": 49}
    *_, last = tasks(9, seed=6)
    assert not learner.on_message(last)


def test_one_open_task_too_many_settles_the_oldest_and_loses_no_pair() -> None:
    learner = OnlineLearner(open_tasks=2)
    messages = [pair({"a.b": 0.9}, {"a.b": 0.1}, task_id=f"task-{n % 3}", pair_id=str(n)) for n in range(6)]
    learner.on_messages(messages)
    snapshot = learner.snapshot()
    assert snapshot.labels == {"human": 6}
    assert len(learner.state()["open"]["tasks"]) == 2
    assert snapshot.metrics["gate"]["tasks"] == 1
    assert snapshot.metrics["over_bounds"] == {"tasks_settled_early": 1}
    assert learner.on_messages(messages) == 0


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_goes_on_from_its_state_to_the_bit(learner: LearnerName) -> None:
    messages = tasks(40, seed=21)
    whole, half = (OnlineLearner(recipe=Recipe(learner=learner)) for _ in range(2))
    for message in messages:
        whole.on_message(message)
    for message in messages[:131]:
        half.on_message(message)
    again = read_back(half)
    for message in messages[131:]:
        again.on_message(message)
    assert encode(again.snapshot()) == encode(whole.snapshot())


def test_a_snapshot_of_laplace_says_how_sure_it_is() -> None:
    few, many = (OnlineLearner(recipe=Recipe(learner="laplace")) for _ in range(2))
    for message in tasks(5, seed=22):
        few.on_message(message)
    for message in tasks(100, seed=22):
        many.on_message(message)
    variances = [np.diag(learner.snapshot().covariance) for learner in (few, many)]
    assert (variances[1] < variances[0]).all()


def noisy_votes(n: int, sign: float, seed: int) -> list[PreferencePair]:
    """Each on a task of its own: people like motion (or, with −1, calm) and often differ; critics do not."""
    rng = np.random.default_rng(seed)
    votes = []
    for number in range(n):
        a, b = rng.uniform(0, 1, (2, 2))
        prefers_a = rng.random() < 1 / (1 + np.exp(-5 * sign * (a[0] - b[0])))
        sides = [{"motion.amount": float(m), "flicker.quality": float(f)} for m, f in (a, b)]
        chosen, rejected = sides if prefers_a else sides[::-1]
        votes.append(pair(chosen, rejected, task_id=f"{seed}-{number}", run_id=f"{seed}-{number}"))
    return votes


def with_ends(pairs: Sequence[PreferencePair]) -> list[PairMessage]:
    return [
        m for p in pairs for m in (p, PairsEnd(run_id=p.run_id, task_id=p.task_id, n_pairs=1, n_candidates=2))
    ]


def test_the_gate_closes_when_people_turn_round_and_the_model_does_not_know_yet() -> None:
    learner = OnlineLearner(recipe=Recipe(learner="laplace"))
    for message in with_ends(noisy_votes(3000, 1.0, seed=23)):
        learner.on_message(message)
    assert learner.is_active
    assert learner.snapshot().metrics["gate"]["closed_times"] == 0
    for message in with_ends(noisy_votes(1000, -1.0, seed=24)):
        learner.on_message(message)
    assert learner.snapshot().metrics["gate"]["closed_times"] > 0


def test_the_pairs_of_a_task_count_less_the_more_there_are() -> None:
    weights = [weight_of_nth(n) for n in range(1, 200)]
    assert weights[0] == 1.0
    assert weights == sorted(weights, reverse=True)
    for n in (1, 3, 10, 120):
        assert sum(weights[:n]) == pytest.approx(n * weight_of_each(n))
    assert weight_of_each(10) == pytest.approx((2 / 5) ** 0.75)


def test_of_a_file_all_pairs_of_a_task_count_alike() -> None:
    pairs = [m for m in tasks(1, seed=25, sources=("human",)) if isinstance(m, PreferencePair)]
    forth, back = (train_on_pairs(order, recipe=Recipe(learner="laplace")) for order in (pairs, pairs[::-1]))
    for name, weight in forth.weights.items():
        assert back.weights[name] == pytest.approx(weight, abs=0.01)


FORMER_STATES = {
    "before 0.7": {"n": {}},
    "averaged AdaGrad": {
        "learner": "river-logistic",
        "parameters": {"lr": 0.06, "l2": 0.0, "prior_mean": 0.12},
        "scale": {}, "young": {}, "average": {}, "weights": {}, "squares": {}, "weight_learnt": 0.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("part", ["trusted", "smoothing", "reference"])
@pytest.mark.parametrize("state", FORMER_STATES.values(), ids=FORMER_STATES)
def test_a_state_of_another_version_is_bad_input_that_says_what_to_do(
    state: dict[str, object], part: str
) -> None:
    older = learnt(tasks(2, seed=26)).state() | {part: state}
    with pytest.raises(BadInput, match=r"written by another version of TriBrain.*give another --model"):
        OnlineLearner.from_state("default", older)


def test_the_calibration_error_is_the_gap_between_confidence_and_truth() -> None:
    scores = PrequentialScores()
    for right in (True,) * 7 + (False,) * 3:
        scores.add(0.9 if right else 0.1, 0.5)
    assert scores.figures()["ece"] == pytest.approx(0.2)
    assert PrequentialScores.of([scores, scores]).figures()["ece"] == pytest.approx(0.2)
    assert PrequentialScores.from_sums(scores.sums).figures() == scores.figures()


def test_what_an_arm_adds_is_learnt_beside_the_critics() -> None:
    rng = np.random.default_rng(31)
    messages = []
    for n in range(200):
        a, b = ({"goal.task": float(x)} for x in rng.uniform(0, 1, 2))
        made = pair(a, b, task_id=f"{n}")
        messages.append(replace(made, chosen_context={"arm": "task"}, rejected_context={"arm": "physics"}))
    snapshot = train_on_pairs(messages)
    assert prob_prefer(snapshot, {"@arm=task": 1.0, "@arm=physics": -1.0}) > 0.9
    assert abs(snapshot.weights["goal.task"]) < 0.3


def test_a_critic_that_misleads_in_one_world_model_alone_is_trusted_in_the_other() -> None:
    rng = np.random.default_rng(32)
    messages = []
    for n in range(1500):
        low, high = ({"goal.task": float(x)} for x in sorted(rng.uniform(0, 1, 2)))
        good = n % 2 == 0
        sides = (high, low) if good else (low, high)
        messages.append(
            replace(pair(*sides, task_id=f"{n}"), context={"world_model": "w1" if good else "w2"})
        )
    snapshot = train_on_pairs(messages)

    def p(world_model: str) -> float:
        d = differences({"goal.task": 0.9}, {"goal.task": 0.1}, context={"world_model": world_model})
        return prob_prefer(snapshot, d)

    assert p("w1") > 0.7
    assert p("w2") < 0.3


@pytest.mark.parametrize("read", ["text_rm.text", "lora_rm.text"])
def test_what_was_read_rather_than_seen_is_no_part_of_the_critics_mean(read: str) -> None:
    assert critics_mean({"flicker.quality": 0.5, read: 1.0}) == 0.5


@pytest.mark.parametrize("seen", ["ocr.text", "text.text", "a.text_rm.text", "text_rm.task", ".text"])
def test_a_name_that_is_like_one_of_a_text_reward_is_a_critics(seen: str) -> None:
    assert critics_mean({"flicker.quality": 0.5, seen: 1.0}) == 0.75


def test_contexts_survive_a_restart_to_the_bit() -> None:
    messages = [
        replace(message, context={"world_model": f"w{n % 3}"}, chosen_context={"arm": "task", "cost": n % 5})
        if isinstance(message, PreferencePair)
        else message
        for n, message in enumerate(tasks(20, seed=33))
    ]
    once = learnt(messages)
    first = learnt(messages[:70])
    again = read_back(first)
    for message in messages[70:]:
        again.on_message(message)
    assert encode(again.snapshot()) == encode(once.snapshot())
    assert "goal.task@world_model=w1" in once.snapshot().feature_names
