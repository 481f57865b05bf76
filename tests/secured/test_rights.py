"""The least rights of every command: with them it gets on, and each that is missing is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType

from streams.kafka.incarnations import topic_ids
from streams.kafka.partitions import partitions_of
from streams.kafka.probe import check_access
from streams.kafka.rights import Right
from streams.kafka.topics import TopicOptions, create_topics, make_topics
from streams.messages.codec import encode
from streams.spool.queue import Spool
from tests.factories import event
from tests.kafka.test_serve_text import n_learnt, send, stream, wait_for
from tests.secured.broker import PASSWORD, SecuredBroker
from tests.secured.commands import COMMANDS, arguments_of
from tests.services import serve_text
from tests.waiting import wait_until
from tribrain.shell.exit_codes import BAD_INPUT
from tribrain.shell.kafka_access import TOPICS, rights_of

_SHOWS = {"Read", "Write", "Delete", "Describe"}
"""Whoever may do one of these with a topic may describe it."""


@pytest.mark.parametrize("command", COMMANDS)
def test_each_right_that_is_missing_is_named_with_its_operation_and_resource(
    command: str, secured: SecuredBroker, prefix: str, tmp_path: Path, cli_error: Callable[..., Any]
) -> None:
    of_prefix = replace(secured.open, topic_prefix=prefix)
    rights = rights_of(command, of_prefix)
    assert rights
    with secured.admin() as admin:
        # What may be done with a topic is known once there is one.
        make_topics(of_prefix, admin, {of_prefix.restores_topic: TopicOptions(1, {})})
    given = arguments_of(command, tmp_path)
    for missing in rights:
        settings = secured.allowed(command, prefix, without=missing)
        code, said = cli_error(settings, *given)
        assert code == BAD_INPUT, said
        operation: str = missing.operation
        others = [r for r in rights if (r.resource, r.name) == (missing.resource, missing.name)]
        if missing.resource == "topic" and not _SHOWS & {r.operation for r in others if r != missing}:
            # Of a topic that may not be described Kafka does not tell what else may be done with it.
            operation = " and ".join(right.operation for right in others)
        resource = re.escape(f"{missing.resource} {missing.name!r}")
        line = rf"^tribrain: user '\S+' may not {operation} on {resource} at localhost:"
        assert re.search(line, said, re.MULTILINE), said
        assert PASSWORD not in said
    assert check_access(secured.allowed(command, prefix), rights)


def test_topics_are_made_by_whoever_may_and_others_are_told_what_is_missing(
    secured: SecuredBroker, cli_error: Callable[..., Any]
) -> None:
    settings = replace(secured.user("operator"), topic_prefix="operated")
    described = [Right("Describe", "topic", f"operated.{name}") for name in TOPICS]
    secured.allow("operator", described)
    code, said = cli_error(settings, "topics", "create")
    assert code == BAD_INPUT
    assert "user 'operator' may not Create on topic 'operated.trace', Create on topic" in said
    secured.allow("operator", rights_of("log topics create", settings))
    assert cli_error(settings, "topics", "create") == (0, "")
    assert cli_error(settings, "topics", "create") == (0, "")


def test_a_service_says_which_of_its_topics_do_not_exist_where_it_may_not_make_them(
    secured: SecuredBroker, cli_error: Callable[..., Any]
) -> None:
    settings = secured.allowed("serve text", "not-made")
    code, said = cli_error(settings, "serve-text")
    assert code == BAD_INPUT
    assert "may not Create on topic 'not-made.pairs', Create on topic 'not-made.snapshots' at" in said


def test_text_is_learnt_and_published_with_the_least_rights(secured: SecuredBroker, prefix: str) -> None:
    messages, of_prefix = stream(), replace(secured.open, topic_prefix=prefix)
    send(of_prefix, messages)
    with serve_text(secured.allowed("serve text", prefix), "--every-s", "0.05"):
        assert wait_for(of_prefix, n_learnt(messages)).version == n_learnt(messages)


def test_what_a_trainer_asks_every_few_seconds_is_refused_nothing(
    secured: SecuredBroker, prefix: str
) -> None:
    """Otherwise the broker's log is full of refusals, and none of them means anything."""
    settings = secured.allowed("serve trainer", prefix)
    topics = {settings.trace_topic, settings.pairs_topic}
    log_file = secured.broker.log_file
    assert log_file is not None

    logger = {"kafka.authorizer.logger": (AlterConfigOp.SET, "INFO")}
    with secured.admin() as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.BROKER_LOGGER, "1", logger)])

    def refusals() -> int:
        return log_file.read_text(errors="replace").count(f"User:{settings.security.username} is Denied")

    partitions_of(settings, settings.trace_topic)  # by an admin client, which is refused the cluster
    wait_until(lambda: refusals() > 0)
    earlier = refusals()
    for _ in range(20):
        assert set(topic_ids(settings, topics)) == topics
    assert refusals() == earlier


def test_a_service_that_may_make_topics_makes_its_own(secured: SecuredBroker) -> None:
    settings = secured.allowed("log publish", "made-here")
    secured.allow(settings.security.username, [Right("Create", "topic", "made-here.trace")])
    assert create_topics(settings).created == ("made-here.trace",)


def test_what_waits_in_a_spool_says_which_rights_it_needs(
    secured: SecuredBroker, prefix: str, tmp_path: Path, cli_error: Callable[..., Any]
) -> None:
    settings = replace(secured.user("flusher"), topic_prefix=prefix)
    trace = f"{prefix}.trace"
    with Spool(tmp_path / "spool.sqlite") as spool:
        spool.append(trace, b"run-a", encode(event(0, 0.5)), "run-a")
    code, said = cli_error(settings, "spool", "flush", str(tmp_path / "spool.sqlite"))
    assert (code, f"user 'flusher' may not Write on topic '{trace}' at" in said) == (BAD_INPUT, True)
    secured.allow("flusher", [Right("Write", "topic", trace)])
    assert cli_error(settings, "spool", "flush", str(tmp_path / "spool.sqlite"))[0] == 0
