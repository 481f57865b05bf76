"""Choosing samples: what each policy takes, and that nothing but the samples decides it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import BadInput
from trainers.datasets.selection import SelectionPolicy, select


@dataclass(frozen=True)
class Clip:
    id: str
    task: str
    reward: float

    @property
    def rank(self) -> tuple[float, int, str]:
        return -self.reward, 0, self.id


CLIPS = [
    Clip("a", "t", 0.9),
    Clip("b", "t", 0.8),
    Clip("c", "u", 0.5),
    Clip("d", "u", 0.5),
    Clip("e", "v", 0.1),
]


def chosen(policy: str, clips: list[Clip] = CLIPS) -> str:
    return "".join(clip.id for clip in select(clips, SelectionPolicy.parse(policy)))


@pytest.mark.parametrize(
    ("policy", "ids"),
    [
        ("all", "abcde"),
        ("top:0.2", "a"),
        ("top:0.25", "ab"),
        ("top:1", "abcde"),
        ("min:0.5", "abcd"),
        ("min:0.51", "ab"),
        ("min:2", ""),
        ("per-task:1", "ace"),
        ("per-task:2", "abcde"),
    ],
)
def test_each_policy_takes_the_best_by_its_rule(policy: str, ids: str) -> None:
    assert chosen(policy) == ids


def test_equal_rewards_are_ordered_by_id() -> None:
    assert chosen("top:0.6") == "abc"


def test_a_share_is_not_rounded_up_by_binary_fractions() -> None:
    clips = [Clip(f"{i:03d}", "t", i / 100) for i in range(100)]
    assert len(select(clips, SelectionPolicy("top", 0.07))) == 7


def test_chance_takes_as_many_as_the_best_of_the_same_share() -> None:
    for share in (0.2, 0.25, 0.5, 1.0):
        top, random = (len(select(CLIPS, SelectionPolicy(kind, share))) for kind in ("top", "random"))
        assert top == random


def test_chance_is_of_its_seed_and_knows_no_reward() -> None:
    worse = [Clip(clip.id, clip.task, -clip.reward) for clip in CLIPS]
    for seed in range(5):
        policy = f"random:0.4@{seed}"
        assert sorted(chosen(policy)) == sorted(chosen(policy, worse))
    assert len({"".join(sorted(chosen(f"random:0.4@{seed}"))) for seed in range(20)}) > 3


@given(st.permutations(CLIPS), st.sampled_from(["all", "top:0.4", "min:0.5", "per-task:1", "random:0.4@3"]))
def test_the_order_in_which_samples_are_given_does_not_matter(clips: list[Clip], policy: str) -> None:
    assert chosen(policy, clips) == chosen(policy)


@pytest.mark.parametrize(
    "text",
    ["all", "top:0.25", "min:0.6", "min:-2", "per-task:2", "random:0.25@0", "random:1@7", "top:0.123456789"],
)
def test_a_policys_text_reads_back_as_it(text: str) -> None:
    assert str(SelectionPolicy.parse(text)) == text
    assert SelectionPolicy.parse(str(SelectionPolicy.parse(text))) == SelectionPolicy.parse(text)


def test_chance_without_a_seed_has_seed_0() -> None:
    assert SelectionPolicy.parse("random:0.5") == SelectionPolicy("random", 0.5, 0)


NONE = """
best top top: top:0 top:1.5 top:nan top:0.5@3 min:nan min:inf per-task:0 per-task:1.5 per-task:inf
random:0.5@-1 random:0.5@x random:2 all:1 all:x
"""


@pytest.mark.parametrize("text", ["", *NONE.split()])
def test_what_is_no_policy_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(BadInput, match=r"expected all, top:0\.25, min:0\.6, per-task:2 or random:0\.25@0"):
        SelectionPolicy.parse(text)
