from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from streams.messages.codec import encode
from streams.messages.contracts import LabelSource, PreferencePair
from tests.factories import pair
from tests.states import read_back
from trainers.evidence.proxies import HEAD_START, LARGEST_WEIGHT, ProxyAudit
from trainers.online.learner import OnlineLearner
from trainers.online.train import train_on_pairs
from trainers.pairs.judgements import judgement_of


def label(source: LabelSource, n: int, first_is_better: bool, judge: str = "vlm") -> PreferencePair:
    """What ``source`` says of the two candidates of task n."""
    a, b = {"a.x": n / 1000}, {"a.x": 1 - n / 1000}
    sides = (a, b) if first_is_better else (b, a)
    made = pair(*sides, task_id=f"task-{n}", label_source=source, pair_id=f"{source}-{judge}-{n}")
    return replace(made, meta={"judge": judge}) if source == "proxy" else made


def hear(audit: ProxyAudit, made: PreferencePair) -> None:
    judgement = judgement_of(made)
    assert judgement is not None
    audit.hear(judgement)


def audited(agree: int, disagree: int) -> ProxyAudit:
    audit = ProxyAudit()
    for n in range(agree + disagree):
        hear(audit, label("proxy", n, True))
        hear(audit, label("human", n, n < agree))
    return audit


def test_a_judge_that_nobody_has_checked_counts_a_quarter() -> None:
    assert ProxyAudit().weight_of("vlm") == 0.25


def test_a_judge_that_agrees_with_people_counts_more_and_never_more_than_the_cap() -> None:
    assert ProxyAudit().weight_of("vlm") < audited(40, 10).weight_of("vlm") < LARGEST_WEIGHT
    assert audited(400, 0).weight_of("vlm") == LARGEST_WEIGHT


def test_the_weight_tends_to_what_a_label_with_so_many_errors_tells() -> None:
    assert audited(700, 300).weight_of("vlm") == pytest.approx((2 * 0.7 - 1) ** 2, abs=0.01)


@pytest.mark.parametrize(("agree", "disagree"), [(500, 500), (0, 50)])
def test_a_judge_that_is_no_better_than_chance_counts_nothing(agree: int, disagree: int) -> None:
    assert audited(agree, disagree).weight_of("vlm") == pytest.approx(0.0, abs=0.001)


def test_the_vote_may_come_first() -> None:
    audit = ProxyAudit()
    hear(audit, label("human", 1, True))
    hear(audit, label("proxy", 1, False))
    assert audit.figures()["judges"]["vlm"]["compared"] == 1
    assert audit.weight_of("vlm") < 0.25


def test_judges_are_told_apart() -> None:
    audit = audited(200, 0)
    hear(audit, label("proxy", 900, True, judge="coin"))
    hear(audit, label("human", 900, False))
    assert audit.weight_of("coin") < 0.25 < audit.weight_of("vlm")


def test_a_vote_on_other_candidates_says_nothing_of_the_judge() -> None:
    audit = ProxyAudit()
    hear(audit, label("proxy", 1, True))
    hear(audit, label("human", 2, True))
    assert audit.figures()["judges"] == {}


def test_all_judges_together_weigh_at_most_the_people_and_a_head_start() -> None:
    audit = ProxyAudit()
    audit.trusted_weight = 100.0
    total = sum(audit.weigh(label("proxy", n, True), 1.0) for n in range(20_000))
    assert 0.99 * (HEAD_START + 100) < total <= HEAD_START + 100


def test_thousands_of_wrong_labels_of_a_judge_do_not_keep_a_few_votes_from_being_heard() -> None:
    rng = np.random.default_rng(1)
    sides = [tuple({"a.x": float(x)} for x in sorted(rng.uniform(0, 1, 2))) for _ in range(3_150)]
    wrong = [
        pair(low, high, task_id=f"p{n}", label_source="proxy") for n, (low, high) in enumerate(sides[:3000])
    ]
    votes = [pair(high, low, task_id=f"h{n}") for n, (low, high) in enumerate(sides[3000:])]
    assert train_on_pairs(wrong).weights["a.x"] < 0.0
    assert train_on_pairs([*wrong, *votes]).weights["a.x"] > 0.0


def test_a_snapshot_says_how_far_judges_are_trusted_and_goes_on_with_it() -> None:
    messages = [m for n in range(30) for m in (label("proxy", n, True), label("human", n, n % 5 > 0))]
    learner = OnlineLearner()
    for message in messages[:40]:
        learner.on_message(message)
    again = read_back(learner)
    for message in messages[40:]:
        learner.on_message(message)
        again.on_message(message)
    assert encode(again.snapshot()) == encode(learner.snapshot())
    figures = learner.snapshot().metrics["proxies"]["judges"]["vlm"]
    assert (figures["compared"], figures["agreed"]) == (30, 24)
