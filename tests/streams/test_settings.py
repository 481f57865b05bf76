from __future__ import annotations

import pytest

from streams.errors import BadInput
from streams.kafka.settings import Settings


def test_topics_are_named_after_the_prefix() -> None:
    settings = Settings(bootstrap_servers="localhost:9092")
    assert (settings.trace_topic, settings.pairs_topic) == ("tribrain.trace", "tribrain.pairs")
    assert settings.snapshots_topic == "tribrain.snapshots"
    assert settings.dead_letters_topic == "tribrain.dead-letters"
    assert settings.finetune_topic == "tribrain.finetune"


def test_a_given_broker_wins_over_the_environment() -> None:
    environment = {"TRIBRAIN_BOOTSTRAP_SERVERS": "far:1, away:2", "TRIBRAIN_TOPIC_PREFIX": "lab"}
    assert Settings.from_environment("near:3", environment).bootstrap_servers == "near:3"
    assert Settings.from_environment(None, environment).bootstrap_servers == "far:1,away:2"
    assert Settings.from_environment(None, environment).trace_topic == "lab.trace"


def test_no_broker_at_all_is_bad_input_that_says_what_to_do() -> None:
    with pytest.raises(BadInput, match=r"give --bootstrap-servers .* or set TRIBRAIN_BOOTSTRAP_SERVERS"):
        Settings.from_environment(None, {})


@pytest.mark.parametrize(
    "server", ["localhost", ":9092", "localhost:", "a:b", "a:0", "a:65536", "http://a:1"]
)
def test_a_malformed_broker_is_bad_input_that_quotes_it(server: str) -> None:
    with pytest.raises(BadInput, match=f"{server!r} is not a broker's address"):
        Settings.from_environment(f"good:1,{server}")


def test_an_ipv6_broker_is_accepted() -> None:
    assert Settings(bootstrap_servers="[::1]:9092").bootstrap_servers == "[::1]:9092"


def test_a_prefix_that_no_topic_can_have_is_bad_input() -> None:
    with pytest.raises(BadInput, match="'my topics' cannot be a topic prefix"):
        Settings(bootstrap_servers="a:1", topic_prefix="my topics")
