"""A backup of a Kafka that asks who you are, and its restore there, each as a user with the least rights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import CoordinatorNotAvailableError, NoError

from streams.backup.collect import back_up, effects_first
from streams.errors import BadInput
from streams.kafka.incarnations import topic_ids
from streams.kafka.rights import Right
from streams.kafka.settings import Settings, trainer_group
from tests.faults.recovery import check, recovery
from tests.kafka.test_trainer import interleaved, publish, random_runs, wait_until_learnt
from tests.secured.broker import SecuredBroker
from tests.services import trainer
from tests.waiting import wait_until
from tribrain.shell.exit_codes import BAD_INPUT

Tribrain = Callable[[Settings], Any]


@pytest.mark.long
def test_a_log_is_backed_up_and_restored_and_its_trainer_goes_on(
    secured: SecuredBroker, prefix: str, tribrain_on: Tribrain, tmp_path: Path
) -> None:
    seen, file = replace(secured.open, topic_prefix=prefix), str(tmp_path / "tribrain.backup")
    runs = random_runs(12, seed=41)
    learner, runner = secured.allowed("serve trainer", prefix), secured.allowed("log publish", prefix)
    with trainer(learner):
        publish(runner, interleaved(runs[:6], seed=42))
        wait_until_learnt(seen, 6)
    ids = topic_ids(seen, effects_first(seen))

    code, backed_up = tribrain_on(secured.allowed("log backup", prefix))("backup", file)
    assert code == 0
    assert trainer_group(seen, "default") in backed_up["groups"]
    _delete_topics(secured, seen)
    code, restored = tribrain_on(secured.allowed("log restore", prefix))("restore", file)
    assert (code, restored["restored"]) == (0, backed_up["records"])

    assert topic_ids(learner, [seen.trace_topic]) == {seen.trace_topic: ids[seen.trace_topic]}
    with trainer(learner):
        publish(runner, interleaved(runs[6:], seed=43))
        check(recovery(seen, runs))


def test_whoever_may_not_see_whether_a_backup_was_restored_is_not_told_a_topic_s_id(
    secured: SecuredBroker, prefix: str
) -> None:
    of_prefix = replace(secured.open, topic_prefix=prefix)
    restores = Right("Read", "topic", of_prefix.restores_topic)
    settings = secured.allowed("serve trainer", prefix, without=restores)
    with pytest.raises(BadInput, match=f"may not Describe on topic '{restores.name}' at"):
        topic_ids(settings, [settings.trace_topic])


def test_a_trainer_of_another_model_is_not_left_out_of_a_backup_in_silence(
    secured: SecuredBroker, prefix: str, cli_error: Callable[..., Any], tmp_path: Path
) -> None:
    seen, file = replace(secured.open, topic_prefix=prefix), tmp_path / "tribrain.backup"
    other = trainer_group(seen, "other")
    _commit(secured, other, seen.trace_topic)
    code, said = cli_error(secured.allowed("log backup", prefix), "backup", str(file))
    assert (code, f"may not Describe on group '{other}' at" in said) == (BAD_INPUT, True), said
    assert not file.exists()


def test_a_group_of_others_that_kafka_hides_is_told(
    secured: SecuredBroker, prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen, others = replace(secured.open, topic_prefix=prefix), f"{prefix}-others"
    _commit(secured, others, seen.trace_topic)
    _, contents = back_up(secured.allowed("log backup", prefix), tmp_path / "tribrain.backup")
    assert others not in contents.groups
    (told,) = [each.getMessage() for each in caplog.records if "may not Describe these" in each.getMessage()]
    assert others in told


def test_the_offsets_of_every_group_may_be_set_before_anything_is_restored(
    secured: SecuredBroker, prefix: str, cli_error: Callable[..., Any], tmp_path: Path
) -> None:
    seen, file = replace(secured.open, topic_prefix=prefix), tmp_path / "tribrain.backup"
    others = f"{prefix}-others"
    _commit(secured, others, seen.trace_topic)
    back_up(seen, file)
    _delete_topics(secured, seen)
    code, said = cli_error(secured.allowed("log restore", prefix), "restore", str(file))
    assert (code, f"may not Read on group '{others}' at" in said) == (BAD_INPUT, True), said
    assert topic_ids(seen, [*effects_first(seen), seen.restores_topic]) == {}


def _commit(secured: SecuredBroker, group: str, topic: str) -> None:
    def is_committed() -> bool:
        try:
            answers = admin.alter_group_offsets(group, offsets)
        except CoordinatorNotAvailableError:
            return False  # a broker that has just begun
        return set(answers.values()) == {NoError}

    offsets = {TopicPartition(topic, 0): OffsetAndMetadata(0, "", -1)}
    with secured.admin() as admin:
        wait_until(is_committed)


def _delete_topics(secured: SecuredBroker, settings: Settings) -> None:
    names = set(effects_first(settings))
    with secured.admin() as admin:
        admin.delete_topics(sorted(names))
        wait_until(lambda: not names & set(admin.list_topics()))
