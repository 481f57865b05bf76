"""The alerts that tell of models and of dead letters, as a real page on a real Kafka shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from streams.kafka.settings import TOPIC_PREFIX_VARIABLE, Settings
from streams.kafka.writer import produce
from streams.messages.codec import encode
from streams.messages.contracts import PairsEnd, RewardSnapshot, snapshot_key
from streams.messages.dead_letters import dead_letter
from streams.messages.stored import Outgoing, StoredMessage
from tests.alerts.engine import Fault, complaints
from tests.alerts.history import History, Look
from tests.alerts.targets import Target, new_settings, page_at
from tests.factories import pair
from tests.pages import write_runs
from tests.trainers.online.test_learner import noisy_votes, with_ends
from trainers.bradley_terry.estimators import Recipe
from trainers.online.learner import OnlineLearner
from tribrain.cli import main

MODEL = {"kind": "bt", "model": "default"}
FAULTS = {
    "a model that steers meets large tasks that it does not know": Fault(
        "TribrainModelWorse", {"job": "page", "instance": "page:9464"} | MODEL
    ),
    "a model that steers has lost its evidence": Fault("TribrainGateClosed", MODEL),
    "a dead letter waits": Fault("TribrainDeadLettersPending"),
}


def judge_against(learner: OnlineLearner, n: int) -> None:
    """One task of n pairs, in which people always prefer what the model thinks worse."""
    rng, task = np.random.default_rng(n), f"against-{n}"
    for number in range(n):
        less, more = sorted(rng.uniform(0, 1, 2))
        chosen, rejected = (
            {"motion.amount": float(motion), "flicker.quality": float(rng.uniform(0, 1))}
            for motion in (less, more)
        )
        learner.on_message(pair(chosen, rejected, task_id=task, run_id=task, pair_id=f"{task}-{number}"))
    learner.on_message(PairsEnd(run_id=task, task_id=task, n_pairs=n, n_candidates=n))


def snapshots() -> Iterator[RewardSnapshot]:
    """Of one learner: it steers rightly; it steers, worse than the critics' mean; its gate is shut."""
    learner = OnlineLearner(recipe=Recipe(learner="laplace"))
    for message in with_ends(noisy_votes(600, 1.0, seed=23)):
        learner.on_message(message)
    yield learner.snapshot()
    judge_against(learner, 100)
    judge_against(learner, 200)
    yield learner.snapshot()
    judge_against(learner, 300)
    yield learner.snapshot()


def show(target: Target, settings: Settings, snapshot: RewardSnapshot) -> Look:
    """The page once it uses the snapshot."""
    key = snapshot_key(snapshot.model).encode()
    list(produce(settings, [Outgoing(settings.snapshots_topic, key, encode(snapshot))]))
    return target.once(
        lambda found: found.get("tribrain_snapshot_version", "bt", "default") == snapshot.version
    )


def models(target: Target, settings: Settings) -> Iterator[tuple[str, History]]:
    better, worse, shut = (show(target, settings, snapshot) for snapshot in snapshots())
    yield (
        "a model that steers meets large tasks that it does not know",
        History(job="page", healthy=(better,), faulty=(worse,), recovered=(shut,)),
    )
    yield (
        "a model that steers has lost its evidence",
        History(job="page", healthy=(better,), faulty=(shut,), recovered=(shut,)),
    )


def letters(target: Target, settings: Settings) -> Iterator[tuple[str, History]]:
    """A letter comes, and is replayed."""
    well = target.once(lambda found: found["tribrain_feed_silent_seconds"] < 3)
    odd = StoredMessage(
        topic=settings.trace_topic, partition=0, offset=7, timestamp_ms=1, key=b"k", value=b"{]"
    )
    list(produce(settings, [dead_letter(odd, "why", settings.dead_letters_topic, kind="damaged")]))
    waits = target.once(lambda found: found["tribrain_dead_letters_pending", "damaged"])
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(TOPIC_PREFIX_VARIABLE, settings.topic_prefix)
        with pytest.raises(SystemExit):
            main(["dlq", "replay", "--bootstrap-servers", settings.bootstrap_servers])
    replayed = target.once(lambda found: found["tribrain_dead_letters_pending", "damaged"] == 0)
    yield "a dead letter waits", History(job="page", healthy=(well,), faulty=(waits,), recovered=(replayed,))


@pytest.fixture(scope="module")
def found(rules_folder: Path, kafka: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the rule engine finds wrong, by fault."""
    folder, settings = tmp_path_factory.mktemp("page"), new_settings(kafka)
    write_runs(folder)
    with page_at(folder, settings) as target:
        histories = dict(letters(target, settings)) | dict(models(target, settings))
    return complaints(FAULTS, histories, rules_folder)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_alert_fires_in_its_fault_and_neither_before_nor_after(fault: str, found: dict[str, str]) -> None:
    assert found[fault] == ""
