"""Several people judge one pair: all that they say counts, by how far each of them agrees with the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from msgspec.structs import replace

from streams.messages.codec import encode
from streams.messages.contracts import PreferencePair
from tests.factories import pair
from tests.states import read_back
from tests.trainers.bradley_terry.test_dirty_numbers import judged
from trainers.evidence import annotators
from trainers.evidence.annotators import Annotators
from trainers.online.learner import PreferenceLearner
from trainers.online.train import train_on_pairs
from trainers.pairs.judgements import Judgement
from trainers.pairs.weights import task_of
from trainers.text.learner import TextLearner


def vote(nth: int, annotator: str, *, first: bool = True) -> PreferencePair:
    """On the two candidates of one pair."""
    sides = ({"a.x": 0.9}, {"a.x": 0.1})
    made = pair(*(sides if first else sides[::-1]), pair_id=f"pair-{nth}", task_id=f"task-{nth}")
    return replace(
        made,
        chosen_prompt="one" if first else "other",
        rejected_prompt="other" if first else "one",
        meta={"annotator": annotator},
    )


THREE = [vote(1, "ann"), vote(1, "bob"), vote(1, "cem", first=False)]


@pytest.mark.parametrize("learner", [PreferenceLearner, TextLearner])
def test_what_several_people_say_of_one_pair_counts_and_each_once(
    learner: type[PreferenceLearner] | type[TextLearner],
) -> None:
    model = learner()
    for message in [*THREE, *THREE]:
        model.on_message(message)
    assert model.snapshot().labels == {"human": 3}


def test_who_changes_his_mind_has_said_both() -> None:
    model = PreferenceLearner()
    model.on_messages([vote(1, "ann"), vote(1, "ann", first=False), vote(1, "ann")])
    assert model.snapshot().labels == {"human": 2}


def told(votes: Sequence[tuple[int, str, bool]]) -> Annotators:
    heard = Annotators()
    for candidates, annotator, first in votes:
        heard.hear(Judgement(str(candidates), first, None, annotator))
    return heard


def votes_of(accuracies: dict[str, float], n: int = 300) -> list[tuple[int, str, bool]]:
    rng = np.random.default_rng(0)
    return [(at, name, bool(rng.random() < right)) for at in range(n) for name, right in accuracies.items()]


def test_who_votes_by_chance_among_people_who_agree_counts_nothing() -> None:
    heard = told(votes_of({"ann": 0.9, "bob": 0.9, "cem": 0.9, "dora": 0.5}))
    assert heard.weight_of("dora") < 0.05
    assert all(heard.weight_of(name) > 0.9 for name in ("ann", "bob", "cem"))


def test_who_votes_against_all_others_counts_nothing() -> None:
    assert told(votes_of(dict.fromkeys("abcdef", 0.9) | {"g": 0.1})).weight_of("g") == 0.0


def test_people_who_were_compared_with_nobody_count_fully() -> None:
    heard = told([(1, "ann", True), (2, "bob", False), (3, "", True), (3, "", False)])
    assert {heard.weight_of(name) for name in ("ann", "bob", "", "new")} == {1.0}
    assert heard.figures() == {}


def test_nobody_is_told_from_anybody_where_all_vote_by_chance() -> None:
    heard = told(votes_of(dict.fromkeys("abcd", 0.5)))
    assert {heard.weight_of(name) for name in "abcd"} == {1.0}


def test_so_many_annotators_are_told_apart_and_others_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotators, "ANNOTATORS", 2)
    heard = told([(1, "ann", True), (1, "bob", True), (1, "cem", True)])
    assert (sorted(heard.compared), heard.not_compared) == (["ann", "bob"], 1)


def test_no_more_votes_of_one_pair_are_kept_than_its_bound() -> None:
    heard = told(
        [(1, f"annotator-{n}", True) for n in range(40)] + [(2, f"annotator-{n}", True) for n in range(40)]
    )
    assert max(len(votes) for votes in heard.state()["votes"].values()) == 16
    assert heard.not_compared == 48


def test_an_annotator_may_be_a_number() -> None:
    votes = [replace(vote(nth, ""), meta={"annotator": number}) for nth in range(3) for number in (0, 1)]
    model = PreferenceLearner()
    model.on_messages(votes)
    assert set(model.snapshot().metrics["annotators"]) == {"0", "1"}


def _votes_on(pairs: Sequence[PreferencePair], by_chance: int) -> list[PreferencePair]:
    """Three on each, of ten people, of whom the first ``by_chance`` vote so and the others err in a tenth."""
    rng = np.random.default_rng(3)
    votes = []
    for nth, one in enumerate(pairs):
        for annotator in rng.choice(10, 3, replace=False).tolist():
            wrong = rng.random() < (0.5 if annotator < by_chance else 0.1)
            vote = replace(one, pair_id=str(nth), meta={"annotator": f"annotator-{annotator}"})
            votes.append(swapped(vote) if wrong else vote)
    return votes


def _effect(votes: Sequence[PreferencePair]) -> float:
    model = PreferenceLearner()
    model.on_messages(votes)
    return model.snapshot().weights["a.x"]


def test_three_of_ten_who_vote_by_chance_cost_a_fifth_of_what_they_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs = judged(400, seed=2)
    good, weighed = _effect(_votes_on(pairs, 0)), _effect(_votes_on(pairs, 3))
    monkeypatch.setattr(Annotators, "weight_of", lambda *_: 1.0)
    assert abs(good - weighed) < 0.2 * abs(good - _effect(_votes_on(pairs, 3)))


def _votes_of_one_by_chance_first() -> list[PreferencePair]:
    """Of two people who agree on every pair, after all votes of a third, who votes by chance."""
    pairs = [replace(one, pair_id=str(nth)) for nth, one in enumerate(judged(200, seed=4))]
    rng = np.random.default_rng(5)

    def of(annotator: str, right: float) -> list[PreferencePair]:
        votes = [replace(one, meta={"annotator": annotator}) for one in pairs]
        return [vote if rng.random() < right else swapped(vote) for vote in votes]

    return [*of("dora", 0.5), *of("ann", 1.0), *of("bob", 1.0)]


def test_in_a_file_a_vote_counts_what_later_votes_say_of_its_annotator() -> None:
    votes = _votes_of_one_by_chance_first()
    of_file = train_on_pairs(votes).weights["a.x"]
    without = train_on_pairs([vote for vote in votes if vote.meta["annotator"] != "dora"]).weights["a.x"]
    online = PreferenceLearner()
    online.on_messages(votes)
    assert abs(of_file - without) < 0.2 * abs(online.snapshot().weights["a.x"] - without)


def test_the_figures_of_a_file_are_those_of_the_pass_that_knew_no_later_vote() -> None:
    votes = _votes_of_one_by_chance_first()
    of_each = Counter(("", task_of(vote), "human") for vote in votes)
    honest = PreferenceLearner(open_tasks=len(votes), pairs_of_task=of_each)
    honest.on_messages(votes)
    honest.finish()
    trained = train_on_pairs(votes)
    assert (trained.metrics, trained.statement) == (honest.snapshot().metrics, honest.snapshot().statement)


def test_on_a_dimension_later_votes_count_alike() -> None:
    votes = _votes_of_one_by_chance_first()
    on_physics = [replace(vote, dimension="physics", pair_id=f"p{nth}") for nth, vote in enumerate(votes)]
    whole = replace(votes[0], pair_id="whole", meta={})
    reward = train_on_pairs([whole, *on_physics]).dimensions["physics"]
    good = [vote for vote in on_physics if vote.meta["annotator"] != "dora"]
    without = train_on_pairs([whole, *good]).dimensions["physics"]
    online = PreferenceLearner()
    online.on_messages([whole, *on_physics])
    at = reward.feature_names.index("a.x")
    of_online = online.snapshot().dimensions["physics"].weights[at]
    assert abs(reward.weights[at] - without.weights[at]) < 0.2 * abs(of_online - without.weights[at])


def swapped(vote: PreferencePair) -> PreferencePair:
    """The same with the other side preferred."""
    return replace(vote, chosen_critics=vote.rejected_critics, rejected_critics=vote.chosen_critics)


def test_what_is_known_of_annotators_survives_a_restart() -> None:
    votes = [
        vote(nth, name, first=first)
        for nth, name, first in votes_of({"ann": 0.9, "bob": 0.9, "cem": 0.5}, 40)
    ]
    whole, begun = PreferenceLearner(), PreferenceLearner()
    whole.on_messages(votes)
    begun.on_messages(votes[:50])
    restarted = read_back(begun)
    restarted.on_messages(votes[50:])
    assert encode(restarted.snapshot()) == encode(whole.snapshot())
    assert whole.snapshot().metrics["annotators"]["cem"]["weight"] < 0.5
