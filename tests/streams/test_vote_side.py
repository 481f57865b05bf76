"""How long a vote holds the commit, when it is looked up again, and when it is given up."""

from __future__ import annotations

from collections.abc import Sequence

from streams.messages.candidates import Found
from streams.messages.codec import decode_vote, encode
from streams.messages.stored import Outgoing, StoredMessage
from streams.messages.votes import Vote
from streams.worker.effects import Effect, Lookup, Send
from streams.worker.stages import VoteStep
from streams.worker.vote_side import VoteSide
from tests.streams.test_votes import vote

NOTHING = Found()


class Stage:
    """Forms each vote whose id is in ``there``."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.taking_back: set[str] = set()
        """Votes that take back an earlier one, even if they are given up."""

    def read(self, message: StoredMessage) -> Vote | Outgoing | None:
        found = decode_vote(message.value, message)
        return found if found.gives_a_pair else None

    def form(self, message: StoredMessage, vote: Vote, found: Found) -> VoteStep:
        if vote.vote_id in self.there:
            return VoteStep([Outgoing("pairs", None, message.value)])
        withdrawals = [Outgoing("pairs", None, b"withdrawal")] if vote.vote_id in self.taking_back else []
        return VoteStep(withdrawals, [f"run of {vote.vote_id}"])

    def give_up(self, message: StoredMessage, why: str) -> Outgoing:
        return Outgoing("dead", None, why.encode())

    def forget(self) -> None:
        pass


def messages(*names: str, start: int = 0) -> list[StoredMessage]:
    return [
        StoredMessage(
            topic="votes", partition=0, offset=start + n, timestamp_ms=0, key=None,
            value=encode(vote(vote_id=name)),
        )
        for n, name in enumerate(names)
    ]  # fmt: skip


def side_of(stage: Stage, timeout_s: float = 1_000.0, most_waiting_bytes: int = 1 << 20) -> VoteSide:
    side = VoteSide(stage, timeout_s, most_waiting_bytes)
    assert side.assigned(1) == []
    return side


def kinds(effects: Sequence[Effect]) -> list[type[Effect]]:
    return [type(effect) for effect in effects]


def sent(effects: Sequence[Effect]) -> list[str]:
    return [message.topic for effect in effects if isinstance(effect, Send) for message in effect.messages]


def acknowledge(side: VoteSide, effects: Sequence[Effect]) -> None:
    for effect in effects:
        if isinstance(effect, Send):
            side.delivered(effect.token)


def test_a_vote_is_committed_once_its_pair_is_on_kafka() -> None:
    stage = Stage()
    stage.there = {"v1"}
    side = side_of(stage)
    (asked,) = side.read(1, messages("v1"), 0.0)
    assert asked == Lookup(1, frozenset({("a", 0), ("b", 3)}), frozenset({"v1"}))
    effects = side.found(1, NOTHING, 0.1)
    assert sent(effects) == ["pairs"]
    assert side.positions.to_commit() == {0: 0}
    acknowledge(side, effects)
    assert side.positions.to_commit() == {0: 1}


def test_a_vote_that_misses_something_holds_the_commit_and_holds_up_no_other() -> None:
    stage = Stage()
    stage.there = {"v2"}
    side = side_of(stage)
    side.read(1, messages("v1", "v2"), 0.0)
    effects = side.found(1, NOTHING, 0.1)
    assert sent(effects) == ["pairs"]
    acknowledge(side, effects)
    assert side.positions.to_commit() == {0: 0}
    assert side.waiting_bytes == 0


def test_what_is_missing_is_looked_up_again_after_ever_longer_pauses() -> None:
    side = side_of(Stage(), timeout_s=1e9)
    side.read(1, messages("v1"), 0.0)
    side.found(1, NOTHING, 0.0)
    looked = []
    for second in range(1_000):
        if side.tick(float(second)):
            looked.append(second)
            side.found(1, NOTHING, float(second))
    assert looked[:4] == [1, 3, 7, 15]
    assert {b - a for a, b in zip(looked[-4:], looked[-3:], strict=False)} == {60}


def test_new_votes_do_not_put_off_the_lookup_of_those_that_wait() -> None:
    side = side_of(Stage(), timeout_s=1e9)
    side.read(1, messages("v1"), 0.0)
    side.found(1, NOTHING, 0.0)
    asked: list[Effect] = []
    for n in range(1, 20):
        asked = side.read(1, messages(f"n{n}", start=n), 0.1 * n)
        side.found(1, NOTHING, 0.1 * n)
        if isinstance(asked[0], Lookup) and "v1" in asked[0].votes:
            return
    raise AssertionError("v1 was not looked up again")


def test_a_lookup_is_of_so_many_votes_at_most_and_the_others_follow() -> None:
    side = side_of(Stage(), most_waiting_bytes=1 << 30)
    (first,) = side.read(1, messages(*[f"v{n}" for n in range(700)]), 0.0)
    (second,) = side.found(1, NOTHING, 0.1)
    assert isinstance(first, Lookup)
    assert isinstance(second, Lookup)
    assert (len(first.votes), len(second.votes)) == (500, 200)
    assert side.waiting_bytes > 0
    side.found(1, NOTHING, 0.2)
    assert side.waiting_bytes == 0


def test_one_lookup_is_under_way_at_a_time_and_the_next_takes_what_came_meanwhile() -> None:
    side = side_of(Stage())
    assert kinds(side.read(1, messages("v1"), 0.0)) == [Lookup]
    assert side.read(1, messages("v2", start=1), 0.0) == []
    (asked,) = side.found(1, NOTHING, 0.1)
    assert isinstance(asked, Lookup)
    assert asked.votes == {"v2"}


def test_after_the_time_out_a_vote_is_a_dead_letter_that_says_what_never_came() -> None:
    side = side_of(Stage(), timeout_s=100.0)
    side.read(1, messages("v1"), 0.0)
    effects = side.found(1, NOTHING, 0.0)
    second = 0.0
    while not sent(effects) and second < 1_000.0:
        second += 1.0
        effects = side.found(1, NOTHING, second) if side.tick(second) else []
    assert 100.0 <= second <= 120.0
    (letter,) = effects
    assert isinstance(letter, Send)
    assert letter.messages[0] == Outgoing("dead", None, b"run of v1 did not arrive within 100 s")
    acknowledge(side, effects)
    assert side.positions.to_commit() == {0: 1}


def test_time_in_which_no_lookup_was_answered_does_not_count() -> None:
    side = side_of(Stage(), timeout_s=1_000.0)
    side.read(1, messages("v1"), 0.0)
    side.found(1, NOTHING, 0.0)
    assert kinds(side.tick(10.0)) == [Lookup]
    assert sent(side.found(1, NOTHING, 5_000.0)) == []


def test_what_waits_is_bounded_and_the_vote_that_is_too_much_is_a_dead_letter_at_once() -> None:
    side = side_of(Stage(), most_waiting_bytes=6_000)
    side.read(1, messages("v1", "v2", "v3"), 0.0)
    effects = side.found(1, NOTHING, 0.0)
    assert sent(effects) == ["dead"]
    (letters,) = effects
    assert isinstance(letters, Send)
    assert letters.messages[0].value.startswith(b"run of v3 has not arrived, and the 6000 bytes")


def test_a_vote_takes_back_an_earlier_one_once_it_is_given_up_and_not_while_it_waits() -> None:
    stage = Stage()
    stage.taking_back = {"v1", "v2"}
    side = side_of(stage, most_waiting_bytes=3_000)
    side.read(1, messages("v1", "v2"), 0.0)
    assert sent(side.found(1, NOTHING, 0.0)) == ["pairs", "dead"]


def test_an_answer_of_before_a_rebalance_has_no_consequences() -> None:
    stage = Stage()
    stage.there = {"v1"}
    side = side_of(stage)
    side.read(1, messages("v1"), 0.0)
    side.revoked()
    side.assigned(2)
    assert side.found(1, NOTHING, 0.1) == []
    assert side.positions.to_commit() == {}
    assert kinds(side.read(2, messages("v1"), 0.2)) == [Lookup]


def test_a_vote_of_which_nothing_comes_holds_nothing() -> None:
    side = side_of(Stage())
    (message,) = messages("v1")
    none = StoredMessage(
        topic="votes", partition=0, offset=0, timestamp_ms=0, key=None,
        value=message.value.replace(b'"left"', b'"cannot_tell"', 1),
    )  # fmt: skip
    assert side.read(1, [none], 0.0) == []
    assert side.positions.to_commit() == {0: 1}


def test_a_vote_is_handled_once_it_was_looked_up_whether_its_videos_came_or_not() -> None:
    side = side_of(Stage())
    side.read(1, messages("a", start=3), 0.0)
    side.read(1, messages("b", start=4), 0.0)
    assert side.first_waiting[0].offset == 3
    side.found(1, NOTHING, 0.0)
    assert side.first_waiting[0].offset == 4
    side.found(1, NOTHING, 0.0)
    assert side.first_waiting == {}
    assert side.missing_bytes > 0
    assert side.votes_read == 2
