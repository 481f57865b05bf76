"""Labels that judge one thing have a reward of their own, which begins as the overall one."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from streams.errors import BadInput
from streams.messages.checkpoints import rollback_to
from streams.messages.codec import ContractError, decode_snapshot, encode, sealed
from streams.messages.contracts import PairMessage, PairsEnd, PreferencePair, RewardSnapshot
from streams.messages.limits import MAX_DIMENSIONS
from tests.factories import pair
from tests.states import checkpoint_of, read_back
from tests.trainers.processing.test_verify import formed, learnt, verified
from trainers.bradley_terry.estimators import LEARNERS, LearnerName, Recipe
from trainers.bradley_terry.features import of_pair
from trainers.bradley_terry.normalise import CriticRanges
from trainers.bradley_terry.reward import prob_prefer, reward_on, statements
from trainers.online.learner import OnlineLearner
from trainers.online.train import train_on_pairs
from trainers.text.learner import TextLearner

every_learner = pytest.mark.parametrize("learner", LEARNERS)


def votes(
    n: int, dimension: str = "", *, by: str = "a.x", seed: int = 0, runs: int = 1
) -> list[PreferencePair]:
    """Of people who go by one critic; ``runs`` pairs of each run."""
    rng = np.random.default_rng([seed, len(dimension)])
    made = []
    for nth in range(n):
        sides = [dict(zip(("a.x", "b.y"), side, strict=True)) for side in rng.random((2, 2)).tolist()]
        sides.sort(key=lambda scores: -scores[by])
        run = f"run-{nth // runs}"
        one = pair(*sides, pair_id=f"{seed}-{nth}", task_id=run, run_id=run)
        made.append(replace(one, dimension=dimension))
    return made


def learnt_from(messages: Sequence[PairMessage], learner: LearnerName = "laplace") -> RewardSnapshot:
    model = OnlineLearner(recipe=Recipe(learner=learner))
    model.on_messages(messages)
    return model.snapshot()


def end_of(run: str) -> PairsEnd:
    return PairsEnd(run_id=run, task_id=run, n_pairs=1, n_candidates=2)


def mixed() -> list[PairMessage]:
    """Votes on the whole and on two dimensions, in turn, of runs that end."""
    streams = votes(60, runs=3), votes(60, "physics", by="b.y", runs=3), votes(40, "quality", runs=2)
    messages: list[PairMessage] = []
    for nth in range(60):
        messages += [stream[nth] for stream in streams if nth < len(stream)]
        if nth % 3 == 2:
            messages.append(end_of(f"run-{nth // 3}"))
    return messages


@every_learner
def test_a_dimension_is_learnt_from_its_own_labels_and_changes_nothing_of_the_whole(
    learner: LearnerName,
) -> None:
    whole = votes(200)
    both = learnt_from([*whole[:100], *votes(300, "physics", by="b.y"), *whole[100:]], learner)
    alone = learnt_from(whole, learner)
    assert (both.weights, both.covariance, both.metrics) == (alone.weights, alone.covariance, alone.metrics)
    assert both.weights["a.x"] > both.weights["b.y"]
    physics = reward_on(both, "physics")
    assert physics.weights["b.y"] > physics.weights["a.x"]
    assert (both.labels, physics.labels) == ({"human": 200}, {"human": 300})


@every_learner
def test_a_dimension_begins_as_the_overall_reward_is(learner: LearnerName) -> None:
    whole = votes(200)
    first = replace(votes(1, "physics")[0], weight=0.0)
    snapshot = learnt_from([*whole, first], learner)
    assert reward_on(snapshot, "physics").weights == pytest.approx(snapshot.weights)


def test_what_a_dimension_began_with_can_be_unlearnt() -> None:
    physics = reward_on(learnt_from([*votes(300), *votes(300, "physics", by="b.y")]), "physics")
    assert physics.weights["b.y"] > 2 * physics.weights["a.x"]


def of_the_mean(n: int, dimension: str = "", seed: int = 0) -> list[PreferencePair]:
    """Labels that follow the critics' mean, beside which nothing can be known, each of a task of its own."""
    rng = np.random.default_rng([seed, len(dimension)])
    made = []
    for nth in range(n):
        sides = rng.random((2, 4))
        if rng.random() > 1 / (1 + np.exp(-6 * (sides[0].mean() - sides[1].mean()))):
            sides = sides[::-1]
        names = ("a.w", "b.x", "c.y", "d.z")
        scores = [dict(zip(names, side, strict=True)) for side in sides.tolist()]
        run = f"{dimension}{seed}-{nth}"
        made.append(replace(pair(*scores, task_id=run, run_id=run, pair_id=run), dimension=dimension))
    return made


def gates(pairs: Sequence[PreferencePair]) -> RewardSnapshot:
    return learnt_from([message for one in pairs for message in (one, end_of(one.run_id))])


def test_no_more_gates_of_a_dimension_open_in_error_than_one_in_twenty() -> None:
    opened = 0
    for seed in range(30):
        snapshot = gates([*of_the_mean(600, seed=seed), *of_the_mean(80, "physics", seed=seed)])
        opened += snapshot.dimensions["physics"].gate == "active"
    assert opened <= 3


def test_labels_on_tasks_whose_own_labels_the_model_began_with_are_no_evidence() -> None:
    whole = votes(50)
    ended, running = whole[:30], whole[30:]
    first: list[PairMessage] = [*ended, *(end_of(one.run_id) for one in ended), *running]
    again = [replace(one, dimension="physics", pair_id=f"p{one.pair_id}") for one in whole]
    others = [
        replace(one, task_id=f"o{n}", run_id=f"o{n}") for n, one in enumerate(votes(10, "physics", seed=3))
    ]
    metrics = learnt_from([*first, *again, *others]).dimensions["physics"].metrics
    assert (metrics["trusted"]["n"], metrics["no_evidence"]) == (10, {"human": 50})


@every_learner
def test_the_bits_do_not_depend_on_where_a_stream_is_cut_or_the_learner_restarted(
    learner: LearnerName,
) -> None:
    messages = mixed()
    cut = OnlineLearner(recipe=Recipe(learner=learner))
    for start in range(0, len(messages), 7):
        cut.on_messages(messages[start : start + 7])
        if start == 70:
            cut = read_back(cut)
    assert encode(cut.snapshot()) == encode(learnt_from(messages, learner))
    assert set(cut.snapshot().dimensions) == {"physics", "quality"}


def test_nothing_is_learnt_twice_that_comes_twice() -> None:
    messages = mixed()
    assert encode(learnt_from([*messages, *messages])) == encode(learnt_from(messages))


def test_one_pair_may_be_judged_as_a_whole_and_on_each_dimension() -> None:
    one = votes(1)[0]
    snapshot = learnt_from([one, replace(one, dimension="physics"), replace(one, dimension="quality")])
    of_dimensions = [snapshot.dimensions[name].labels for name in ("physics", "quality")]
    assert [snapshot.labels, *of_dimensions] == [{"human": 1}] * 3


def test_overall_is_the_name_of_the_whole() -> None:
    assert encode(learnt_from(votes(5, "overall", seed=1))) == encode(
        learnt_from([replace(one, dimension="") for one in votes(5, "overall", seed=1)])
    )


def test_each_dimension_has_evidence_and_a_gate_of_its_own() -> None:
    whole = votes(400)
    physics = [replace(one, dimension="physics") for one in votes(400, by="b.y", seed=1)]
    ends = [end_of(f"run-{nth}") for nth in range(400)]
    in_turn = [message for three in zip(whole, physics, ends, strict=True) for message in three]
    snapshot = learnt_from(in_turn)
    assert (snapshot.gate, snapshot.dimensions["physics"].gate) == ("active", "active")
    shadow = learnt_from([*whole, *physics[:5]])
    assert shadow.dimensions["physics"].gate == "shadow"


def test_votes_on_a_dimension_that_come_after_the_runs_are_evidence() -> None:
    ends = [end_of(f"run-{nth}") for nth in range(100)]
    late = votes(100, "physics", by="b.y")
    known_by_then = votes(1, "physics", seed=9)
    of_critics = [replace(one, label_source="critic") for one in votes(100)]
    snapshot = learnt_from([*of_critics, *ends, *late, *known_by_then])
    metrics = snapshot.dimensions["physics"].metrics
    assert (metrics["trusted"]["n"], metrics["no_evidence"]) == (100, {"human": 1})
    assert metrics["gate"]["tasks"] > 80


def test_more_dimensions_than_are_learnt_are_counted() -> None:
    pairs = [votes(1, f"dimension-{nth:02d}")[0] for nth in range(MAX_DIMENSIONS + 3)]
    snapshot = learnt_from([*pairs, *pairs[:1]])
    assert len(snapshot.dimensions) == MAX_DIMENSIONS
    assert snapshot.metrics["over_bounds"] == {"pairs_of_further_dimensions": 3}


def test_after_a_rollback_each_dimension_is_the_earlier_one_and_learns_nothing_again() -> None:
    model = OnlineLearner()
    before, since = mixed()[:100], mixed()[100:]
    model.on_messages(before)
    earlier = model.snapshot()
    back = rollback_to(checkpoint_of(model), "a test")
    began_since = votes(3, "smoothness")
    model.on_messages([*since, *began_since, back, *since, *began_since])
    after = model.snapshot()
    assert {name: after.dimensions[name] for name in earlier.dimensions} == earlier.dimensions
    assert after.dimensions["smoothness"].labels == {}
    model.on_messages(votes(2, "smoothness", seed=5))
    assert model.snapshot().dimensions["smoothness"].labels == {"human": 2}


def test_a_file_is_learnt_with_the_weights_of_each_dimensions_tasks() -> None:
    pairs = [*votes(40, runs=4), *votes(40, "physics", by="b.y", runs=4)]
    alone = train_on_pairs([replace(one, dimension="") for one in pairs[40:]])
    physics = reward_on(train_on_pairs([*pairs[40:]]), "physics")
    assert physics.weights == alone.weights
    assert train_on_pairs(pairs, epochs=2).dimensions["physics"].labels == {"human": 40}


def test_further_epochs_over_a_dimension_change_nothing_of_the_whole() -> None:
    whole = votes(30)
    both = train_on_pairs([*whole, *votes(30, "physics", by="b.y")], epochs=3)
    assert both.weights == train_on_pairs(whole, epochs=3).weights


def test_a_snapshot_with_dimensions_is_written_and_read() -> None:
    snapshot = learnt_from(mixed())
    assert decode_snapshot(encode(snapshot), "test") == snapshot


def test_a_dimension_whose_weights_are_of_other_features_is_refused() -> None:
    snapshot = learnt_from(mixed())
    physics = replace(snapshot.dimensions["physics"], weights=(1.0,))
    damaged = sealed(replace(snapshot, dimensions={"physics": physics}))
    with pytest.raises(ContractError, match=r"dimensions\.physics: expected a weight"):
        decode_snapshot(encode(damaged), "test")


def test_the_reward_of_one_dimension_scores_as_a_snapshot_does() -> None:
    snapshot = learnt_from([*votes(200), *votes(200, "physics", by="b.y")])
    moves_better = {"a.x": 0.0, "b.y": 0.5}
    on_physics, overall = (
        prob_prefer(reward_on(snapshot, of), moves_better) for of in ("physics", "overall")
    )
    assert overall == prob_prefer(snapshot, moves_better) < on_physics


def test_a_dimension_of_which_nothing_was_learnt_is_bad_input_and_those_known_are_named() -> None:
    with pytest.raises(
        BadInput, match="nothing on the dimension 'beauty'; it knows overall, physics, quality"
    ):
        reward_on(learnt_from(mixed()), "beauty")


def test_every_reward_says_what_it_was_made_of() -> None:
    said = statements(learnt_from(mixed()), ["physics", "beauty"])
    assert [line.split(":")[0].split(".")[0] for line in said[1:]] == [
        "On physics",
        "On quality",
        "On beauty",
    ]


def test_a_text_model_passes_them_over_and_counts_them() -> None:
    model = TextLearner()
    assert not model.on_message(replace(votes(1, "physics")[0], chosen_prompt="one", rejected_prompt="other"))
    assert model.snapshot().metrics["of_dimensions"] == 1


def test_a_check_of_the_log_counts_a_pair_for_every_dimension() -> None:
    one = votes(1)[0]
    values = [
        encode(one),
        *(encode(replace(one, dimension=name)) for name in ("physics", "quality")),
        *formed(),
    ]
    report = verified(values, learnt(values))
    assert report.settled
    assert (report.recorded, report.learnt) == (9, 9)


def _rated(folder: Path, name: str) -> Iterable[PreferencePair]:
    """Pairs of real candidates on the whole, and on what raters judged apart, by the mean of each."""
    tasks: dict[str, list[dict[str, object]]] = defaultdict(list)
    for line in (folder / f"{name}.dev.candidates.jsonl").read_text().splitlines():
        one = json.loads(line)
        raw = one["human_raw"]
        ratings = dict(enumerate(zip(*raw, strict=True))) if isinstance(raw, list) else raw
        means = {str(key): float(np.mean(of)) for key, of in ratings.items()}
        tasks[one["task_id"]].append({**one, "rated": {"": one["human_score"], **means}})
    for task, candidates in tasks.items():
        for a, b in combinations(candidates, 2):
            for dimension in a["rated"]:  # type: ignore[attr-defined]
                scores = [one["rated"][dimension] for one in (a, b)]  # type: ignore[index]
                if None in scores or scores[0] == scores[1]:
                    continue
                best, other = (a, b) if scores[0] > scores[1] else (b, a)
                sides = best["critic_scores"], other["critic_scores"]
                yield replace(pair(*sides, task_id=task, run_id=task), dimension=dimension)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "dimension", "at_least"),
    [("viescore_image", "1", 0.74), ("summeval_text", "consistency", 0.80)],
)
def test_what_raters_judge_apart_is_predicted_better_by_its_own_reward(
    name: str, dimension: str, at_least: float
) -> None:
    data = os.environ.get("TRIBRAIN_DATA")
    if data is None:
        pytest.skip("set TRIBRAIN_DATA to the folder of human preferences")
    pairs = [one for one in _rated(Path(data) / "preferences", name) if one.dimension in ("", dimension)]
    of_splits = np.array([_accuracies(pairs, dimension, seed) for seed in range(4)])
    own, overall = of_splits.mean(axis=0)
    assert own >= at_least
    assert own > overall + 0.03


def _accuracies(pairs: Sequence[PreferencePair], dimension: str, seed: int) -> tuple[float, float]:
    """Of the dimension's own reward and of the overall one, on a quarter of the tasks."""
    tasks = np.random.default_rng(seed).permutation(sorted({one.task_id for one in pairs})).tolist()
    rank = {task: at - len(tasks) // 4 for at, task in enumerate(tasks)}
    known = sorted((one for one in pairs if rank[one.task_id] >= 0), key=lambda one: rank[one.task_id])
    ranges = CriticRanges.of_pairs(known)
    snapshot = train_on_pairs([ranges.apply_to_pair(one) for one in known])
    unseen = [ranges.apply_to_pair(one) for one in pairs if rank[one.task_id] < 0 and one.dimension]
    own, overall = (
        np.mean([prob_prefer(reward_on(snapshot, which), of_pair(one)) > 0.5 for one in unseen])
        for which in (dimension, "overall")
    )
    return float(own), float(overall)
