"""``dlq`` on letters of every topic."""

from __future__ import annotations

import os
from typing import Any

import pytest

from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.kafka.writer import produce
from streams.messages.dead_letters import dead_letter
from streams.messages.limits import MAX_DEAD_LETTER_BYTES
from streams.messages.stored import Outgoing, StoredMessage


def _with_letters(settings: Settings, topic: str, *values: bytes) -> list[str]:
    """Messages on ``topic`` and their letters, whose names are given."""
    list(produce(settings, [Outgoing(topic, b"key", value, (("nth", b"3"),)) for value in values]))
    written = list(read_topic(settings, topic))
    list(produce(settings, [dead_letter(m, "why", settings.dead_letters_topic) for m in written]))
    return [message.source for message in written]


@pytest.mark.parametrize("topic", ["trace_topic", "pairs_topic", "snapshots_topic", "finetune_topic"])
def test_a_letter_goes_back_to_its_topic_as_it_was(topic: str, settings: Settings, tribrain: Any) -> None:
    source = getattr(settings, topic)
    _with_letters(settings, source, b"{]")
    assert tribrain("dlq", "replay") == (0, {"replayed": 1})
    first, again = read_topic(settings, source)
    assert (again.key, again.value, again.headers) == (first.key, first.value, first.headers)
    assert tribrain("dlq", "list")[1] == {"letters": []}


def test_a_letter_is_replayed_once(settings: Settings, tribrain: Any) -> None:
    name, other = _with_letters(settings, settings.pairs_topic, b"{]", b"[}")
    assert tribrain("dlq", "replay", "--name", name) == (0, {"replayed": 1})
    assert tribrain("dlq", "replay", "--name", name) == (2, None)
    assert [letter["name"] for letter in tribrain("dlq", "list")[1]["letters"]] == [other]
    assert len(list(read_topic(settings, settings.pairs_topic))) == 3


def test_a_letter_that_is_kept_in_part_is_not_replayed_and_is_said_to_be_so(
    settings: Settings, tribrain: Any
) -> None:
    large = os.urandom(MAX_DEAD_LETTER_BYTES + 1)
    small_name, large_name = _with_letters(settings, settings.pairs_topic, b"{]", large)
    assert tribrain("dlq", "replay") == (0, {"replayed": 1, "kept_in_part": 1})
    assert tribrain("dlq", "replay", "--name", large_name)[0] == 2
    (listed,) = tribrain("dlq", "list")[1]["letters"]
    assert listed["cut"] != []
    assert [listed["name"], tribrain("dlq", "show", large_name)[1]["name"]] == [large_name] * 2
    assert len(list(read_topic(settings, settings.pairs_topic))) == 3
    assert small_name != large_name


def test_a_letter_whose_topic_is_gone_stays(settings: Settings, tribrain: Any) -> None:
    gone = StoredMessage(topic="gone", partition=0, offset=7, timestamp_ms=0, key=b"key", value=b"{]")
    list(produce(settings, [dead_letter(gone, "why", settings.dead_letters_topic)]))
    assert tribrain("dlq", "replay")[0] == 2
    assert [letter["name"] for letter in tribrain("dlq", "list")[1]["letters"]] == ["gone[0]@7"]


def test_a_letter_that_cannot_go_back_stops_no_other(settings: Settings, tribrain: Any) -> None:
    def of_topic(topic: str) -> Outgoing:
        odd = StoredMessage(topic=topic, partition=0, offset=7, timestamp_ms=0, key=b"key", value=b"{]")
        return dead_letter(odd, "why", settings.dead_letters_topic)

    _with_letters(settings, settings.pairs_topic, b"{]")
    list(produce(settings, [of_topic(topic) for topic in ("no topic/at all", "..", "t" * 250, "gone")]))
    _with_letters(settings, settings.finetune_topic, b"{]")
    assert tribrain("dlq", "replay")[0] == 2
    assert [letter["name"] for letter in tribrain("dlq", "list")[1]["letters"]] == [
        "no topic/at all[0]@7", "..[0]@7", "t" * 250 + "[0]@7", "gone[0]@7",
    ]  # fmt: skip
    assert len(list(read_topic(settings, settings.finetune_topic))) == 2


def test_odd_letters_are_listed_and_hide_no_other(settings: Settings, tribrain: Any) -> None:
    late = StoredMessage(
        topic=settings.pairs_topic,
        partition=0,
        offset=7,
        timestamp_ms=99999999999999999,
        key=None,
        value=b"{]",
    )
    letter = dead_letter(late, "why", settings.dead_letters_topic)
    damaged = [
        Outgoing(letter.topic, None, b"?", tuple({**dict(letter.headers), name: value}.items()))
        for name, value in (("source.offset", b"x" * 9), ("source.topic", b"\xff"), ("cut.value", b"\xff"))
    ]
    list(produce(settings, [letter, *damaged]))
    (name,) = _with_letters(settings, settings.pairs_topic, b"{]")
    names = [letter["name"] for letter in tribrain("dlq", "list")[1]["letters"]]
    assert (names[0], names[-1], len(set(names))) == (late.source, name, 5)
    assert all(tribrain("dlq", "show", each)[0] == 0 for each in names)
    assert tribrain("dlq", "replay") == (0, {"replayed": 2, "damaged": 3})
    assert [letter["damaged"] for letter in tribrain("dlq", "list")[1]["letters"]] == [True] * 3


def test_a_dismissed_letter_waits_no_more_and_stays_on_its_topic(settings: Settings, tribrain: Any) -> None:
    name, other = _with_letters(settings, settings.pairs_topic, b"{]", b"[}")
    assert tribrain("dlq", "dismiss", name) == (0, {"dismissed": 1})
    assert [letter["name"] for letter in tribrain("dlq", "list")[1]["letters"]] == [other]
    assert [m.value for m in read_topic(settings, settings.dead_letters_topic)] == [b"{]", b"[}", b""]
    assert len(list(read_topic(settings, settings.pairs_topic))) == 2


def test_letters_that_cannot_be_replayed_can_be_dismissed(settings: Settings, tribrain: Any) -> None:
    large = os.urandom(MAX_DEAD_LETTER_BYTES + 1)
    (in_part,) = _with_letters(settings, settings.pairs_topic, large)
    damaged = Outgoing(settings.dead_letters_topic, None, b"?", (("reason", b"why"),))
    list(produce(settings, [damaged]))
    names = [letter["name"] for letter in tribrain("dlq", "list")[1]["letters"]]
    assert names == [in_part, f"{settings.dead_letters_topic}[0]@1"]
    assert tribrain("status")[1]["dead_letters"] == {"unknown": 1, "not usable": 1}
    assert tribrain("dlq", "dismiss", *names) == (0, {"dismissed": 2})
    assert tribrain("dlq", "list")[1] == {"letters": []}
    assert tribrain("status")[1]["dead_letters"] == {}


def test_where_one_name_is_of_no_letter_that_waits_none_is_dismissed(
    settings: Settings, tribrain: Any
) -> None:
    replayed, dismissed, waiting = _with_letters(settings, settings.pairs_topic, b"{]", b"[}", b"{}")
    assert tribrain("dlq", "replay", "--name", replayed)[0] == 0
    assert tribrain("dlq", "dismiss", dismissed)[0] == 0
    for name in (replayed, dismissed, "nothing", ""):
        assert tribrain("dlq", "dismiss", waiting, name) == (2, None)
    assert [letter["name"] for letter in tribrain("dlq", "list")[1]["letters"]] == [waiting]


def test_a_letter_that_is_named_twice_is_dismissed_once(settings: Settings, tribrain: Any) -> None:
    (name,) = _with_letters(settings, settings.pairs_topic, b"{]")
    assert tribrain("dlq", "dismiss", name, name) == (0, {"dismissed": 1})
    assert len(list(read_topic(settings, settings.dead_letters_topic))) == 2


def test_a_dismissed_letter_is_not_replayed(settings: Settings, tribrain: Any) -> None:
    (name,) = _with_letters(settings, settings.pairs_topic, b"{]")
    assert tribrain("dlq", "dismiss", name)[0] == 0
    assert tribrain("dlq", "replay") == (0, {"replayed": 0})
    assert tribrain("dlq", "replay", "--name", name) == (2, None)


def test_which_letters_are_to_be_dismissed_has_to_be_said(settings: Settings, tribrain: Any) -> None:
    _with_letters(settings, settings.pairs_topic, b"{]")
    assert tribrain("dlq", "dismiss") == (2, None)
    assert len(tribrain("dlq", "list")[1]["letters"]) == 1
