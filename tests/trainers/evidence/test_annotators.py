"""Several people judge one pair: all that they say counts, by how far each of them agrees with the others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np
import pytest
from msgspec.structs import replace

from streams.messages.codec import encode
from streams.messages.contracts import PreferencePair
from tests.factories import pair
from tests.states import read_back
from tests.trainers.bradley_terry.test_dirty_numbers import judged
from trainers.evidence import annotators, opposed
from trainers.evidence.annotators import Annotators
from trainers.online import unsettled
from trainers.online.learner import OnlineLearner
from trainers.online.models import Models
from trainers.online.train import train_on_pairs
from trainers.pairs.judgements import PairJudgement
from trainers.pairs.seen import LABEL_SOURCES, hashed
from trainers.pairs.weights import task_of, weight_of_nth
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


@pytest.mark.parametrize("learner", [OnlineLearner, TextLearner])
def test_what_several_people_say_of_one_pair_counts_and_each_once(
    learner: type[OnlineLearner] | type[TextLearner],
) -> None:
    model = learner()
    for message in [*THREE, *THREE]:
        model.on_message(message)
    assert model.snapshot().labels == {"human": 3}


def test_who_changes_his_mind_has_said_both() -> None:
    model = OnlineLearner()
    model.on_messages([vote(1, "ann"), vote(1, "ann", first=False), vote(1, "ann")])
    assert model.snapshot().labels == {"human": 2}


def told(votes: Sequence[tuple[int, str, bool]]) -> Annotators:
    heard = Annotators()
    for candidates, annotator, first in votes:
        heard.hear(PairJudgement(str(candidates), first, None, annotator))
    return heard


def votes_of(accuracies: dict[str, float], n: int = 300) -> list[tuple[int, str, bool]]:
    rng = np.random.default_rng(0)
    return [(at, name, bool(rng.random() < right)) for at in range(n) for name, right in accuracies.items()]


def test_who_votes_by_chance_among_people_who_agree_counts_nothing() -> None:
    heard = told(votes_of({"ann": 0.9, "bob": 0.9, "cem": 0.9, "dora": 0.5}))
    assert heard.weight_of("dora") < 0.05
    assert all(heard.weight_of(name) > 0.9 for name in ("ann", "bob", "cem"))


@pytest.mark.parametrize("others", ["ab", "abc", "abcdef"])
@pytest.mark.parametrize("n", [60, 300])
def test_who_votes_against_all_others_counts_nothing_and_they_count_as_without(others: str, n: int) -> None:
    votes = votes_of({"contrary": 0.1} | dict.fromkeys(others, 0.9), n)
    heard, without = told(votes), told([vote for vote in votes if vote[1] != "contrary"])
    assert heard.weight_of("contrary") == 0.0
    assert heard.is_opposed("contrary")
    assert [heard.weight_of(name) for name in others] == [without.weight_of(name) for name in others]


def test_two_of_five_who_agree_with_each_other_against_the_rest_count_nothing() -> None:
    heard = told(votes_of(dict.fromkeys("abc", 0.9) | dict.fromkeys("xy", 0.1)))
    assert [heard.weight_of(name) for name in "xy"] == [0.0, 0.0]
    assert all(heard.weight_of(name) > 0.9 for name in "abc")


def test_of_two_equal_parties_none_is_called_the_wrong_one() -> None:
    for names in ("ax", "abxy", "abcdwxyz"):
        half = len(names) // 2
        heard = told(votes_of(dict.fromkeys(names[:half], 0.9) | dict.fromkeys(names[half:], 0.1)))
        assert {heard.weight_of(name) for name in names} == {1.0}
        assert not any(map(heard.is_opposed, names))


def test_who_stops_to_vote_against_the_others_is_opposed_no_more() -> None:
    votes = votes_of({"ann": 0.95, "bob": 0.95, "cem": 0.95}, 400)
    turned = [(at, name, first if name != "cem" or at >= 40 else not first) for at, name, first in votes]
    assert told(turned[:120]).is_opposed("cem")
    assert told(turned).weight_of("cem") > 0.8


def test_so_many_pairs_of_annotators_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opposed, "PAIRS_OF_ANNOTATORS", 3)
    heard = told(votes_of(dict.fromkeys("abcde", 0.9), 50))
    assert len(heard.state()["between"]) == 3
    assert {name: of["compared"] for name, of in heard.figures().items()} == dict.fromkeys("abcde", 200)


def test_names_that_are_long_and_begin_alike_are_two_people() -> None:
    model = OnlineLearner()
    model.on_messages([vote(1, "people/" * 20 + name) for name in ("ann", "bob")])
    assert model.snapshot().labels == {"human": 2}
    assert len(model.snapshot().metrics["annotators"]) == 2


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
    model = OnlineLearner()
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
    model = OnlineLearner()
    model.on_messages(votes)
    return model.snapshot().weights["a.x"]


def test_three_of_ten_who_vote_by_chance_cost_a_fifth_of_what_they_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs = judged(400, seed=2)
    good, weighed = _effect(_votes_on(pairs, 0)), _effect(_votes_on(pairs, 3))
    monkeypatch.setattr(Annotators, "weight_of", lambda *_: 1.0)
    assert abs(good - weighed) < 0.2 * abs(good - _effect(_votes_on(pairs, 3)))


_DORA = 0.135
"""What her votes count, by all that is said in the end."""


def _votes_of_one_by_chance_first() -> list[PreferencePair]:
    """Of two people who agree on every pair, after all votes of a third, who votes by chance."""
    pairs = [replace(one, pair_id=str(nth)) for nth, one in enumerate(judged(200, seed=4))]
    rng = np.random.default_rng(5)

    def of(annotator: str, right: float) -> list[PreferencePair]:
        votes = [replace(one, meta={"annotator": annotator}) for one in pairs]
        return [vote if rng.random() < right else swapped(vote) for vote in votes]

    of_both = zip(of("ann", 1.0), of("bob", 1.0), strict=True)
    return [*of("dora", 0.5), *chain.from_iterable(of_both)]


def _with_one_against_two(n: int = 100) -> list[PreferencePair]:
    """Two people who err in a tenth, and a third who answers the contrary of the truth in nine tenths."""
    rng, votes = np.random.default_rng(6), []
    for nth, one in enumerate(judged(n, seed=5)):
        for annotator, right in (("ann", 0.9), ("bob", 0.9), ("cem", 0.1)):
            vote = replace(one, pair_id=str(nth), meta={"annotator": annotator})
            votes.append(vote if rng.random() < right else swapped(vote))
    return votes


def _of_ann_and_bob(votes: Sequence[PreferencePair]) -> list[PreferencePair]:
    return [vote for vote in votes if vote.meta["annotator"] != "cem"]


@pytest.mark.parametrize("read_again", [False, True])
def test_one_against_two_teaches_next_to_nothing(
    monkeypatch: pytest.MonkeyPatch, *, read_again: bool
) -> None:
    def effect(votes: Sequence[PreferencePair]) -> float:
        return train_on_pairs(votes).weights["a.x"] if read_again else _effect(votes)

    votes = _with_one_against_two()
    weighed, without = effect(votes), effect(_of_ann_and_bob(votes))
    monkeypatch.setattr(Annotators, "weight_of", lambda *_: 1.0)
    assert abs(weighed - without) < 0.1 * abs(effect(votes) - without)


def test_votes_against_the_others_are_no_evidence_from_when_that_is_known_and_the_gate_opens() -> None:
    votes = _with_one_against_two()
    snapshot = train_on_pairs(votes)
    passed_over = snapshot.metrics["no_evidence"]["human"]
    assert 60 < passed_over < 100
    assert snapshot.metrics["trusted"]["n"] == len(votes) - passed_over
    assert (snapshot.gate, train_on_pairs(_of_ann_and_bob(votes)).gate) == ("active", "active")


def test_a_state_from_before_pairs_of_annotators_were_counted_finds_out_with_its_next_votes() -> None:
    votes = _with_one_against_two()
    model = OnlineLearner()
    model.on_messages(votes[:-3])
    state = model.state()
    for name in ("between", "opposed", "next_look"):
        del state["annotators"][name]
    old = OnlineLearner.from_state("default", state)
    assert old.snapshot().metrics["annotators"]["cem"]["weight"] == 1.0
    old.on_messages(votes[-3:])
    assert old.snapshot().metrics["annotators"]["cem"]["weight"] == 0.0


@pytest.mark.parametrize("size", [1, 7, 64])
def test_who_is_opposed_does_not_depend_on_batches_or_restarts(size: int) -> None:
    votes = _with_one_against_two()
    whole, parts = OnlineLearner(), OnlineLearner()
    whole.on_messages(votes)
    for start in range(0, len(votes), size):
        parts.on_messages(votes[start : start + size])
        if size > 1:
            parts = read_back(parts)
    assert encode(parts.snapshot()) == encode(whole.snapshot())
    assert parts.state()["annotators"] == whole.state()["annotators"]


@pytest.mark.parametrize(
    "between",
    [
        [[0, 0, 1, 1]],
        [[0, 1, 1, 1], [1, 0, 1, 1]],
        [[0, 1, 3, 1]],
        [[0, 1, 0, 1]],
        [[0, 9, 1, 1]],
        [[0, 1, 0, -2]],
        [[0, 1]],
    ],
)
def test_counts_of_two_annotators_that_cannot_be_are_refused(between: list[list[int]]) -> None:
    state = told([(1, "ann", True), (1, "bob", True)]).state()
    with pytest.raises((ValueError, LookupError)):
        Annotators.from_state(state | {"between": between})


def test_live_earlier_votes_are_weighed_again_once_more_is_known_of_their_annotator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    votes = _votes_of_one_by_chance_first()
    of_all = OnlineLearner()
    of_all.on_messages(votes)
    knowing = OnlineLearner(heard_before=of_all.annotators)
    knowing.on_messages(votes)
    good = knowing.snapshot().weights["a.x"]
    off_by = abs(_effect(votes) - good)
    monkeypatch.setattr(Models, "weigh_again", lambda *_, **__: None)
    assert off_by < 0.2 * abs(_effect(votes) - good)


def test_votes_that_count_nothing_take_no_share_from_the_others_of_their_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Annotators, "weight_of", lambda _, name: float(name != "dora"))
    of_one_task = [replace(vote(nth, "ann"), task_id="task") for nth in range(20)]
    of_dora = [replace(vote(nth, "dora", first=False), task_id="task") for nth in range(20)]
    assert _effect([*of_dora, *of_one_task]) == _effect(of_one_task)


def test_a_vote_that_counts_in_part_takes_that_part_of_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Annotators, "weight_of", lambda _, name: 0.5 if name == "dora" else 1.0)
    model = OnlineLearner()
    votes = [replace(vote(nth, name), task_id="task") for nth, name in enumerate(["dora", "ann", "dora"])]
    model.on_messages([as_vote(one, nth) for nth, one in enumerate(votes)])
    weights = np.array(model.state()["votes"]["weights"])
    assert weights[:, 0].tolist() == [weight_of_nth(n) for n in (1.0, 1.5, 2.5)]
    assert weights[:, 1].tolist() == [0.5 * weight_of_nth(1.0), weight_of_nth(1.5), 0.5 * weight_of_nth(2.5)]


def test_a_vote_that_is_weighed_again_gives_back_the_share_that_was_too_much() -> None:
    model = OnlineLearner()
    model.on_messages(_votes_of_one_by_chance_first())
    counts = np.array(model.state()["open"]["counts"])
    of_dora = counts[:, LABEL_SOURCES.index("human")] - 2.0  # ann and bob count fully
    weight = model.snapshot().metrics["annotators"]["dora"]["weight"]
    assert of_dora == pytest.approx(np.full(200, weight), abs=0.01)


def test_a_vote_that_is_taken_back_gives_back_the_share_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Annotators, "weight_of", lambda _, name: 0.5 if name == "dora" else 1.0)
    model, without = OnlineLearner(), OnlineLearner()
    one, other, last = (
        as_vote(replace(vote(nth, name), task_id="task"), nth)
        for nth, name in enumerate(["ann", "dora", "ann"])
    )
    model.on_messages([one, other, replace(other, withdrawn=True), last])
    without.on_messages([one, last])
    assert np.array_equal(model.state()["votes"]["weights"], without.state()["votes"]["weights"])


def test_a_vote_that_was_taken_back_is_not_weighed_again() -> None:
    model = OnlineLearner()
    one, other = as_vote(vote(1, "ann"), 1), as_vote(vote(2, "ann"), 2)
    model.on_messages([one, other, replace(one, withdrawn=True)])
    assert model.state()["unsettled"]["names"] == [hashed(other.pair_id)]


def test_no_more_votes_are_kept_to_be_weighed_again_than_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsettled, "MOST_VOTES", 3)
    model = OnlineLearner()
    model.on_messages([vote(nth, "ann") for nth in range(9)])
    assert len(model.state()["unsettled"]["names"]) == 3


def test_votes_of_who_is_known_well_are_kept_no_more() -> None:
    model = OnlineLearner()
    model.on_messages([vote(nth, name) for nth in range(annotators.WELL_KNOWN) for name in ("ann", "bob")])
    assert "unsettled" not in model.state()


def as_vote(vote: PreferencePair, nth: int) -> PreferencePair:
    """As the pair of a vote, which may be taken back."""
    return replace(vote, pair_id=f"vote-{nth}", meta=vote.meta | {"mode": "vote", "vote_id": str(nth)})


def test_in_a_file_a_vote_counts_what_later_votes_say_of_its_annotator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    votes = _votes_of_one_by_chance_first()
    assert _of_file(votes) == pytest.approx(_of_file(votes, monkeypatch, dora=_DORA), abs=0.01)
    assert _of_file(votes) != pytest.approx(_of_file(votes, monkeypatch, dora=1.0), abs=0.1)


def test_on_a_dimension_later_votes_count_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    votes = [replace(vote, dimension="physics") for vote in _votes_of_one_by_chance_first()]
    on_whole = replace(votes[0], pair_id="whole", dimension="", meta={})
    known = _of_file([on_whole, *votes], monkeypatch, dora=_DORA, dimension="physics")
    assert _of_file([on_whole, *votes], dimension="physics") == pytest.approx(known, abs=0.01)


def _of_file(
    votes: Sequence[PreferencePair],
    monkeypatch: pytest.MonkeyPatch | None = None,
    *,
    dora: float = math.nan,
    dimension: str = "",
) -> float:
    """The weight that a file gives; with ``monkeypatch`` where dora's votes count ``dora``, and others 1."""
    if monkeypatch is None:
        snapshot = train_on_pairs(votes)
    else:
        with monkeypatch.context() as known:
            known.setattr(Annotators, "weight_of", lambda _, name: dora if name == "dora" else 1.0)
            snapshot = train_on_pairs(votes)
    if not dimension:
        return snapshot.weights["a.x"]
    reward = snapshot.dimensions[dimension]
    return reward.weights[reward.feature_names.index("a.x")]


def test_the_figures_of_a_file_are_those_of_the_pass_that_knew_no_later_vote() -> None:
    votes = _votes_of_one_by_chance_first()
    of_each = Counter(("", task_of(vote), "human") for vote in votes)
    honest = OnlineLearner(open_tasks=len(votes), pairs_of_task=of_each)
    honest.on_messages(votes)
    honest.finish()
    trained = train_on_pairs(votes)
    assert (trained.metrics, trained.statement) == (honest.snapshot().metrics, honest.snapshot().statement)


def swapped(vote: PreferencePair) -> PreferencePair:
    """The same with the other side preferred."""
    return replace(vote, chosen_critics=vote.rejected_critics, rejected_critics=vote.chosen_critics)


def test_what_is_known_of_annotators_survives_a_restart() -> None:
    votes = [
        vote(nth, name, first=first)
        for nth, name, first in votes_of({"ann": 0.9, "bob": 0.9, "cem": 0.5}, 40)
    ]
    whole, begun = OnlineLearner(), OnlineLearner()
    whole.on_messages(votes)
    begun.on_messages(votes[:50])
    restarted = read_back(begun)
    restarted.on_messages(votes[50:])
    assert encode(restarted.snapshot()) == encode(whole.snapshot())
    assert whole.snapshot().metrics["annotators"]["cem"]["weight"] < 0.5
