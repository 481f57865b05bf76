"""``tribrain status`` on a Kafka that asks who you are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from streams.errors import BadInput
from streams.kafka.groups import members_of
from streams.kafka.rights import CLUSTER, Right
from streams.kafka.settings import Settings, trainer_group
from tests.secured.broker import SecuredBroker

Tribrain = Callable[[Settings], Any]


def test_with_the_least_rights_all_is_told_but_the_disks(
    secured: SecuredBroker, prefix: str, tribrain_on: Tribrain
) -> None:
    settings = secured.allowed("status", prefix)
    code, said = tribrain_on(settings)("status")
    assert (code, said["attention"], said["kafka_disk"]) == (0, [], None)
    assert said["trainers"] == {"members": 0, "unread": _NOTHING}
    secured.allow(settings.security.username, [Right("Describe", "cluster", CLUSTER)])
    assert tribrain_on(settings)("status")[1]["kafka_disk"]["size_bytes"] > 0


def test_a_broker_that_is_away_is_told_and_no_error(secured: SecuredBroker, tribrain_on: Tribrain) -> None:
    away = replace(secured.user("away"), bootstrap_servers="localhost:1")
    code, said = tribrain_on(away)("status")
    assert code == 1
    assert said["problem"].startswith("no Kafka broker answers at localhost:1; ")
    assert said["attention"] == [said["problem"]]


def test_a_group_that_kafka_hides_is_no_group_that_nobody_reads_in(
    secured: SecuredBroker, prefix: str
) -> None:
    settings = replace(secured.user("stranger"), topic_prefix=prefix)
    with pytest.raises(BadInput, match="user 'stranger' may not do what it needs"):
        members_of(settings, trainer_group(settings, "default"))


_NOTHING = {name: {"messages": 0, "oldest_s": None} for name in ("trace", "votes", "pairs")}
