from __future__ import annotations

import random

import pytest

from streams.messages.votes import Answer, Vote
from trainers.evidence.agreement import Ratings, agreement, category_of, fleiss_kappa, own_repeats
from trainers.evidence.shares import Share

# Fleiss (1971), table 1 as it is commonly printed: 10 subjects, 14 raters, 5 categories.
FLEISS = [
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
]


def vote(n: int, annotator: str, answer: Answer, *, pair: int = 0, swapped: bool = False) -> Vote:
    sides = [("a", pair), ("b", pair)]
    left, right = sides[::-1] if swapped else sides
    return Vote(
        vote_id=f"{annotator}{n}",
        left_run_id=left[0],
        left_iter_idx=left[1],
        right_run_id=right[0],
        right_iter_idx=right[1],
        answer=answer,
        annotator=annotator,
    )


def by(annotator: str, answers: str) -> list[Vote]:
    """One vote a pair: ``l``, ``r`` or ``t``."""
    said: dict[str, Answer] = {"l": "left", "r": "right", "t": "tie"}
    return [vote(i, annotator, said[letter], pair=i) for i, letter in enumerate(answers)]


def test_fleiss_kappa_is_that_of_the_published_table() -> None:
    rows: Ratings = []
    for counts in FLEISS:
        said = [str(k) for k, n in enumerate(counts) for _ in range(n)]
        rows.append({str(rater): category for rater, category in enumerate(said)})
    assert fleiss_kappa(rows) == pytest.approx(0.210, abs=5e-4)


def test_cohens_kappa_of_two_is_that_of_the_formula() -> None:
    # Agreement 7/10; by chance .6·.5 + .4·.5 = .5.
    found = agreement([*by("Ann", "llllllrrrr"), *by("Bob", "llllrrlrrr")])
    (_, _, figure), *others = found.between
    assert not others
    assert figure.value == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert figure.ci95 is not None
    assert figure.ci95[0] < 0.4 < figure.ci95[1]


def test_alpha_of_people_who_always_agree_is_1() -> None:
    assert agreement([*by("Ann", "lrtlr"), *by("Bob", "lrtlr")]).alpha.value == 1.0


def test_alpha_of_people_who_draw_lots_is_near_0() -> None:
    lots = random.Random(1)
    answers = ["".join(lots.choices("lr", k=400)) for _ in range(2)]
    alpha = agreement([*by("Ann", answers[0]), *by("Bob", answers[1])]).alpha
    assert alpha.value == pytest.approx(0.0, abs=0.12)
    assert alpha.ci95 is not None
    assert alpha.ci95[0] < 0.0 < alpha.ci95[1]


@pytest.mark.parametrize(
    ("votes", "reason"),
    [
        ([], "no pair was judged by two people yet"),
        (by("Ann", "lrl"), "no pair was judged by two people yet"),
        ([*by("Ann", "lll"), *by("Bob", "lll")], "all answers are the same, so chance explains them all"),
    ],
)
def test_what_is_undefined_has_a_reason(votes: list[Vote], reason: str) -> None:
    found = agreement(votes)
    for figure in (found.alpha, found.fleiss):
        assert (figure.value, figure.ci95, figure.reason) == (None, None, reason)


def test_fleiss_kappa_says_which_pairs_it_is_of_where_their_raters_differ() -> None:
    found = agreement([*by("Ann", "lrlr"), *by("Bob", "lrlr"), *by("Cy", "l")])
    assert found.fleiss.n == 3
    assert found.alpha.n == 4


def test_the_same_video_preferred_on_either_side_is_the_same_answer() -> None:
    assert category_of(vote(0, "Ann", "left")) == category_of(vote(1, "Ann", "right", swapped=True))


def test_equal_and_both_bad_are_one_answer_and_skipping_is_none() -> None:
    assert category_of(vote(0, "Ann", "tie")) == category_of(vote(0, "Ann", "both_bad")) == "neither"
    assert category_of(vote(0, "Ann", "cannot_tell")) is None


def test_own_repeats_are_the_first_two_answers_on_a_pair() -> None:
    votes = [vote(0, "Ann", "left"), vote(1, "Ann", "left", swapped=True), vote(2, "Ann", "left")]
    assert own_repeats(votes) == [("first", "second")]
    (rater,) = agreement(votes).raters
    assert (rater.same.k, rater.same.n) == (0, 1)


def test_the_share_of_left_has_wilsons_interval() -> None:
    low, high = Share(k=8, n=10).ci95 or (0.0, 0.0)
    assert low == pytest.approx(0.4902, abs=1e-4)
    assert high == pytest.approx(0.9433, abs=1e-4)
    assert Share(k=0, n=0).value is None
    assert Share(k=0, n=0).ci95 is None
