"""The text learner: honest figures, the same bytes after every restart, and what labels count."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from msgspec.structs import replace

from streams.errors import BadInput
from streams.messages.codec import decode_snapshot_of, encode
from streams.messages.contracts import PairMessage, PairsEnd, TextSnapshot
from tests.trainers.text.factories import polite_pairs, text_pair
from trainers.text import learner as module
from trainers.text.learner import TextLearner
from trainers.text.reward import NgramReward
from trainers.text.train import train_on_texts


def learnt(messages: Sequence[PairMessage]) -> TextLearner:
    learner = TextLearner()
    for message in messages:
        learner.on_message(message)
    return learner


def end(run_id: str) -> PairsEnd:
    return PairsEnd(run_id=run_id, task_id=run_id, n_pairs=0, n_candidates=0)


def p_polite(learner: TextLearner) -> float:
    reward = NgramReward(learner.snapshot())
    return float(reward.prob_prefer(["g"], ["please move the cube"], ["move the cube now"])[0])


def mixed_stream() -> list[PairMessage]:
    """Runs with ends, pairs without runs, all label sources, repetitions, and equal texts."""
    rng = random.Random(3)
    messages: list[PairMessage] = []
    for seed in range(6):
        messages += polite_pairs(20, seed=seed, sources=("critic", "outcome", "proxy", "human"), run_of=5)
        messages += polite_pairs(10, seed=100 + seed, sources=("human", "proxy"))
    rng.shuffle(messages)
    messages += rng.sample(messages, 30)
    messages += [text_pair("same", "same", pair_id="equal")]
    ends = [end(f"run-{seed}-{number}") for seed in range(6) for number in range(3)]
    for one in ends:
        messages.insert(rng.randrange(100, len(messages)), one)
    return messages


def test_it_learns_what_people_prefer() -> None:
    assert p_polite(learnt([])) == 0.5
    assert p_polite(learnt(polite_pairs(60))) > 0.8


def test_restarted_after_every_message_it_ends_with_the_same_bytes() -> None:
    messages = mixed_stream()
    interrupted = TextLearner()
    for message in messages:
        interrupted.on_message(message)
        raw = encode(interrupted.snapshot({"pairs": {"0": 7}}, {"pairs": "id"}))
        snapshot = decode_snapshot_of(TextSnapshot, raw, "a snapshot")
        interrupted = TextLearner.from_snapshot(snapshot)
        assert encode(interrupted.snapshot(snapshot.consumed, snapshot.topic_ids)) == raw
    assert encode(interrupted.snapshot()) == encode(learnt(messages).snapshot())
    assert interrupted.waiting > 0
    assert set(interrupted.labels) == {"critic", "outcome", "proxy", "human"}


def test_every_pair_of_a_run_is_predicted_before_any_of_it_is_learnt() -> None:
    learner = learnt([replace(pair, label_source="outcome") for pair in polite_pairs(10, run_of=10)])
    figures = learner.snapshot().metrics["by_label_source"]["outcome"]
    assert (figures["n"], figures["log_loss"]) == (10, pytest.approx(math.log(2)))
    assert (learner.version, learner.waiting) == (0, 10)
    learner.on_message(end("run-0-0"))
    assert (learner.version, learner.waiting) == (10, 0)
    assert p_polite(learner) > 0.5


def test_a_pair_without_a_run_is_learnt_at_once() -> None:
    learner = learnt(polite_pairs(1))
    assert learner.version == 1
    assert p_polite(learner) > 0.5


def test_a_second_pair_of_a_learnt_task_is_learnt_and_is_no_evidence() -> None:
    pairs = [text_pair(f"please {n}", f"now {n}", pair_id=str(n)) for n in range(3)]
    learner = learnt(pairs)
    assert learner.version == 3
    assert learner.snapshot().metrics["trusted"]["n"] == 1
    assert learner.snapshot().metrics["gate"]["tasks"] == 1


def test_from_a_file_all_pairs_of_a_task_are_evidence_wherever_they_stand() -> None:
    pairs = [text_pair(f"please {n}", f"now {n}", task_id=f"t{n % 4}") for n in range(12)]
    snapshot = train_on_texts(pairs)
    assert snapshot.version == snapshot.metrics["trusted"]["n"] == 12
    assert snapshot.metrics["gate"]["tasks"] == 4


def test_of_judgements_after_the_end_of_a_run_the_first_is_evidence_and_all_are_learnt_once() -> None:
    run = [replace(pair, label_source="critic") for pair in polite_pairs(2, run_of=2)]
    late, later = (replace(run[0], label_source="human", pair_id=name) for name in ("late", "later"))
    learner = learnt([*run, end("run-0-0"), late, late, later, replace(run[0], pair_id="critic, late")])
    assert dict(learner.labels) == {"critic": 2, "human": 2}
    metrics = learner.snapshot().metrics
    assert (metrics["trusted"]["n"], metrics["gate"]["tasks"], metrics["no_evidence"]) == (1, 1, {"human": 1})


def test_after_a_judgement_while_the_run_went_on_a_late_one_is_no_evidence() -> None:
    run = polite_pairs(2, run_of=2)
    learner = learnt([*run, end("run-0-0"), replace(run[0], pair_id="late")])
    assert learner.snapshot().metrics["trusted"]["n"] == 2


def test_a_task_that_was_settled_since_too_many_were_open_is_no_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "OPEN_TASKS", 1)
    first, other, again = polite_pairs(3, run_of=1)
    again = replace(again, run_id=first.run_id)
    metrics = learnt([first, other, again, end(other.run_id)]).snapshot().metrics
    assert (metrics["trusted"]["n"], metrics["no_evidence"]) == (2, {"human": 1})


def test_what_comes_again_of_a_settled_task_is_learnt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN_TASKS", 1)
    first, other = polite_pairs(2, run_of=1, sources=("outcome",))
    learner = learnt([first, other, first, first, end(other.run_id)])
    assert dict(learner.labels) == {"outcome": 2}


def test_a_tie_while_the_run_went_on_leaves_the_first_late_vote_evidence() -> None:
    run = polite_pairs(1, run_of=1)
    tie = replace(run[0], tie=True, pair_id="tie")
    metrics = learnt([tie, end(tie.run_id), run[0]]).snapshot().metrics
    assert (metrics["trusted"]["n"], metrics["gate"]["tasks"], metrics["ties_passed_over"]) == (1, 1, 1)


def test_pairs_that_judge_dimensions_alone_are_nothing_to_learn_texts_from() -> None:
    with pytest.raises(BadInput, match="found 2 pairs, each on one dimension"):
        train_on_texts([replace(pair, dimension="physics") for pair in polite_pairs(2)])


def test_votes_that_come_after_their_runs_open_the_gate() -> None:
    runs = [replace(pair, label_source="critic") for pair in polite_pairs(150, run_of=1)]
    ends = [end(pair.run_id) for pair in runs]
    assert learnt([*runs, *ends, *polite_pairs(150, run_of=1)]).snapshot().gate == "active"


def test_the_tenth_late_pair_of_a_task_weighs_less_than_the_first() -> None:
    run = polite_pairs(1, run_of=1)
    late = [replace(run[0], pair_id=f"late-{n}") for n in range(9)]
    of_one_task = learnt([*run, end("run-0-0"), *late])
    apart = [replace(pair, run_id=f"run-{n}") for n, pair in enumerate([*run, *late])]
    of_their_own = learnt([*apart, *(end(pair.run_id) for pair in apart)])
    weights = [one.snapshot().learner["audit"]["trusted_weight"] for one in (of_one_task, of_their_own)]
    assert weights[0] < 0.6 * weights[1]


def test_equal_texts_teach_nothing_and_are_counted() -> None:
    learner = learnt([text_pair("same", "same", task_id=f"t{n}") for n in range(3)])
    assert learner.version == 0
    assert learner.snapshot().metrics["equal_texts"] == 3
    assert encode(learner.snapshot()) != encode(TextLearner().snapshot())


def test_a_pair_without_one_of_its_texts_teaches_nothing_and_is_counted() -> None:
    pairs = polite_pairs(8)
    lacking = [text_pair("carefully", " ", task_id="a"), text_pair("", "quickly", task_id="b")]
    learner = learnt([*lacking, *pairs])
    assert learner.snapshot().metrics["empty_texts"] == 2
    assert learner.version == learnt(pairs).version
    assert TextLearner.from_snapshot(learner.snapshot()).empty_texts == 2


def test_a_pair_that_comes_again_is_learnt_once() -> None:
    pairs = polite_pairs(8, sources=("human", "outcome"))
    assert encode(learnt([*pairs, *pairs]).snapshot()) == encode(learnt(pairs).snapshot())


def test_another_models_pairs_are_not_learnt() -> None:
    assert not TextLearner("a").on_message(text_pair("x", "y", model="b"))


def test_critics_count_fully_alone_and_little_beside_others() -> None:
    critics = [replace(pair, label_source="critic") for pair in polite_pairs(60)]
    alone = learnt(critics)
    assert p_polite(alone) > 0.8
    one_person = text_pair("slowly", "quickly", task_id="p")
    before, after = learnt([one_person, *critics]), learnt([*critics, one_person])
    assert p_polite(before) == pytest.approx(p_polite(after), abs=0.03)
    assert 0.5 < p_polite(after) < p_polite(alone) - 0.1


def test_a_judge_counts_as_far_as_it_agrees_with_people() -> None:
    people = polite_pairs(40, seed=1)

    def judged(right: bool) -> TextLearner:
        of_judge = []
        for pair in people:
            chosen, rejected = pair.chosen_prompt, pair.rejected_prompt
            if not right:
                chosen, rejected = rejected, chosen
            of_judge.append(
                text_pair(
                    chosen,
                    rejected,
                    task_id=pair.task_id,
                    label_source="proxy",
                    judge="x",
                    pair_id=f"{chosen}j",
                )
            )
        return learnt([*people, *of_judge])

    right, wrong = (judged(right).snapshot().metrics["proxies"]["judges"]["x"] for right in (True, False))
    assert (right["agreed"], wrong["agreed"]) == (40, 0)
    assert (right["weight"], wrong["weight"]) == (pytest.approx(0.5), 0.0)


def test_a_judge_that_disagrees_with_people_teaches_nothing_in_a_run_either() -> None:
    people = polite_pairs(40, seed=1)
    messages: list[PairMessage] = [*people]
    for pair in people:
        turned = replace(pair, chosen_prompt=pair.rejected_prompt, rejected_prompt=pair.chosen_prompt)
        messages.append(
            replace(turned, label_source="proxy", pair_id=f"{pair.pair_id} by x", meta={"judge": "x"})
        )
    in_a_run = text_pair("quickly", "slowly", run_id="r", label_source="proxy", judge="x")
    before, after = learnt(messages), learnt([*messages, in_a_run, end("r")])
    assert after.version == before.version + 1
    weights = [learner.snapshot().learner["weights"] for learner in (before, after)]
    assert weights[0] == weights[1]


def test_the_gate_opens_where_texts_tell_what_people_prefer() -> None:
    snapshot = learnt(polite_pairs(120)).snapshot()
    assert snapshot.gate == "active"
    assert "shown to beat chance" in snapshot.statement


def test_the_gate_stays_shut_where_preferences_are_drawn_at_random() -> None:
    opened = 0
    for seed in range(20):
        rng = random.Random(seed)
        pairs = [
            pair
            if rng.random() < 0.5
            else replace(pair, chosen_prompt=pair.rejected_prompt, rejected_prompt=pair.chosen_prompt)
            for pair in polite_pairs(150, seed=seed)
        ]
        opened += learnt(pairs).snapshot().gate == "active"
    assert opened <= 1


def test_runs_that_never_end_are_learnt_when_their_texts_become_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WAITING_CHARACTERS", 2_000)
    learner = learnt(polite_pairs(60, run_of=4))
    assert 0 < learner.waiting < 60
    assert learner.version == 60 - learner.waiting
    assert learner.snapshot().metrics["by_label_source"]["human"]["n"] == 60


def test_no_more_tasks_than_allowed_are_kept_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN_TASKS", 5)
    learner = learnt(polite_pairs(40, run_of=2))
    assert len(learner.snapshot().learner["open"]) == 5
    assert learner.version == 40 - learner.waiting == 30


def test_a_snapshot_of_two_thousand_pairs_is_below_two_megabytes() -> None:
    rng = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(rng.choices(letters, k=rng.randrange(2, 9))) for _ in range(3000)]

    def text() -> str:
        return " ".join(rng.choices(words, weights=[1 / (n + 1) for n in range(3000)], k=30))

    pairs = [text_pair(text(), text(), task_id=str(n), pair_id=str(n)) for n in range(2000)]
    assert len(encode(learnt(pairs).snapshot())) < 2_000_000


def test_a_reward_is_what_the_probabilities_are_made_of() -> None:
    reward = NgramReward(learnt(polite_pairs(60)).snapshot())
    texts = [("g", "please move it"), ("g", "move it now"), ("another goal", "please move it"), ("g", "")]
    mean_N, covariance_NN = reward.rewards(texts)
    assert mean_N[0] > mean_N[1]
    assert mean_N[0] == mean_N[2]
    assert (mean_N[3], covariance_NN[3, 3]) == (0.0, 0.0)
    assert np.linalg.eigvalsh(covariance_NN).min() > -1e-12
    # The same candidate twice: whatever is not known of one is not known of the other.
    assert covariance_NN[0, 2] == pytest.approx(covariance_NN[0, 0])
    assert reward.prob_prefer(["g"], ["please move it"], ["move it now"])[0] > 0.5
    assert [len(part) for part in reward.rewards([])] == [0, 0]


def test_the_rewards_spread_falls_with_what_was_learnt() -> None:
    text = [("g", "please move the red cube")]
    few, many = (NgramReward(learnt(polite_pairs(n)).snapshot()).rewards(text)[1][0, 0] for n in (3, 300))
    assert 0 < many < few


def test_sides_exchanged_give_the_other_probability() -> None:
    reward = NgramReward(learnt(polite_pairs(60)).snapshot())
    a, b = ["please move it"], ["now"]
    assert reward.prob_prefer(["g"], a, b) + reward.prob_prefer(["g"], b, a) == pytest.approx(np.ones(1))


def test_a_state_of_another_version_is_bad_input() -> None:
    snapshot = learnt(polite_pairs(3)).snapshot()
    for damaged in ("weights", "terms", "audit", "gate"):
        changed = replace(snapshot, learner={**snapshot.learner, damaged: {}})
        with pytest.raises(BadInput, match="was written by another version of TriBrain"):
            TextLearner.from_snapshot(changed)


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (
            [text_pair("a", "a")],
            "nothing to learn from: found 1 pair, none with two different texts",
        ),
        ([text_pair("a", "")], "none with two different texts, neither of them empty, a weight above 0"),
        ([text_pair("a", "b", weight=0)], "nothing to learn from: found 1 pair, none"),
        (
            [text_pair("a", "b", model="m")],
            "found 1 pair, none for the model 'default'; give --model: 'm'",
        ),
    ],
)
def test_a_file_with_nothing_to_learn_is_bad_input(pairs: list[PairMessage], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        train_on_texts(pairs)


def test_a_vote_that_is_taken_back_is_not_learnt_as_one_and_is_counted() -> None:
    one = text_pair("please move", "move now", pair_id="v1")
    learner = learnt([*polite_pairs(20), one])
    version = learner.version
    assert not learner.on_message(replace(one, withdrawn=True))
    assert learner.version == version
    assert learner.snapshot().metrics["withdrawals_passed_over"] == 1


@pytest.mark.parametrize("run_id", ["", "run-x"])
def test_a_pair_that_was_asked_for_by_a_rule_is_learnt_and_is_no_evidence(run_id: str) -> None:
    asked = text_pair("please move", "move now", pair_id="v1")
    asked = replace(asked, run_id=run_id, meta={"mode": "vote", "rule": "variance"})
    learner = learnt([*polite_pairs(20), asked])
    plain = learnt(polite_pairs(20))
    for each in (learner, plain):
        each.finish()
    assert learner.labels["human"] == plain.labels["human"] + 1
    assert learner.snapshot().metrics["trusted"] == plain.snapshot().metrics["trusted"]
    assert learner.snapshot().metrics["no_evidence"] == {"human": 1}
