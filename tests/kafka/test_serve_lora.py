"""The periodic training of text rewards on a real broker: what it trains on, publishes, and survives."""

from __future__ import annotations

import fcntl
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from streams.errors import BadInput, Fenced
from streams.kafka.incarnations import TopicMadeAgain
from streams.kafka.settings import Settings
from streams.kafka.topics import connect_admin, create_topics
from streams.messages.contracts import AdapterSnapshot, RewardSnapshot
from streams.snapshots.artifacts import content_hash, fetch
from streams.snapshots.feed import read_latest_of
from streams.snapshots.held_writer import HeldWriter

if find_spec("peft") is None:
    pytest.skip("the lora extra is not installed", allow_module_level=True)

import torch

from tests.trainers.lora.serving import (
    Warm,
    files_at,
    job_at,
    newest,
    numbered,
    publish,
    the_newest,
    train_once,
)
from tests.trainers.lora.tiny import SETTINGS, tiny_base
from tests.waiting import wait_until
from trainers.lora.adapter import read_adapter
from trainers.lora.baselines import Array
from trainers.lora.periodic import serve
from trainers.lora.round import TrainingRecipe
from trainers.lora.texts import TextPair, is_held_out
from trainers.lora.training import TrainingStep

FAIL_POINTS = (
    "lora.planned:1",
    "lora.step:3",
    "lora.step:2",
    "lora.trained:1",
    "lora.stored:1",
    "lora.published:1",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base") / "bert", "bert")


def said(folder: Path) -> str:
    return (folder / "said.txt").read_text()


def test_trusted_pairs_of_the_model_are_learnt_and_all_others_counted(
    settings: Settings, base: Path, tmp_path: Path
) -> None:
    people = numbered(60)
    publish(settings, [*people, *people[:5], *numbered(7, source="critic"), *numbered(3, model="another")])
    publish(settings, [*numbered(20, source="outcome"), *numbered(4, source="proxy")])
    snapshot = train_once(job_at(settings, base, tmp_path))
    learnt = [one for one in [*people, *numbered(20, source="outcome")] if not is_held_out(one.task_id)]
    assert snapshot.labels == {
        source: sum(one.label_source == source for one in learnt) for source in ("human", "outcome")
    }
    assert snapshot.metrics["held_out_pairs"] == 80 - len(learnt)
    assert snapshot.metrics["passed_over"] == {"come twice": 5, "critic": 7, "proxy": 4}
    assert (snapshot.version, snapshot.consumed) == (1, {settings.pairs_topic: {"0": 99}})
    assert set(snapshot.topic_ids) == {settings.pairs_topic}
    assert read_latest_of(RewardSnapshot, settings, "default") is None


def test_the_snapshot_points_to_a_folder_with_exactly_its_files(
    settings: Settings, base: Path, tmp_path: Path
) -> None:
    publish(settings, numbered(40))
    snapshot = train_once(job_at(settings, base, tmp_path))
    folder = tmp_path / "store" / "default" / f"1-{content_hash(snapshot.files)[:12]}"
    assert snapshot.uri == str(folder)
    assert fetch(snapshot.uri, snapshot.files, tmp_path / "cache").is_dir()
    adapter = read_adapter(folder)
    assert adapter.reward.version == 1
    assert adapter.variances_H is not None
    assert snapshot.base_model["sha256"] == adapter.reward.base_model.sha256
    # Nothing is left of the training.
    assert [path.name for path in (tmp_path / "work").iterdir()] == []
    assert list((tmp_path / "store" / "default").iterdir()) == [folder]


def test_nothing_new_trains_nothing(settings: Settings, base: Path, tmp_path: Path) -> None:
    job = job_at(settings, base, tmp_path)
    assert serve(job, once=True) == "there is no pair to train on"
    assert newest(settings) is None
    publish(settings, numbered(40))
    assert train_once(job) == train_once(job)
    assert serve(job, once=True) == ""
    publish(settings, numbered(9, source="critic"))
    assert train_once(job).version == 1
    publish(settings, numbered(8, first=40))
    assert train_once(job).version == 2


def test_without_a_held_out_task_it_waits(settings: Settings, base: Path, tmp_path: Path) -> None:
    publish(settings, [one for one in numbered(40) if not is_held_out(one.task_id)])
    why = "not trained yet: pairs to learn from: 3"
    assert serve(job_at(settings, base, tmp_path), once=True).startswith(why)
    assert newest(settings) is None
    assert why in said(tmp_path)
    assert ", to measure on: 0" in said(tmp_path)


def test_it_trains_when_enough_are_new_or_some_have_waited(
    settings: Settings, base: Path, tmp_path: Path
) -> None:
    class Ended(Exception):
        pass

    looks: list[int] = []
    started = time.time()
    later = False

    def look(seconds: float) -> None:
        """In place of waiting: more pairs come, and then the clock moves on."""
        nonlocal later
        version = getattr(newest(settings), "version", 0)
        looks.append(version)
        if len(looks) == 1:
            publish(settings, numbered(12, first=20))
        elif len(looks) == 2:
            publish(settings, numbered(5, first=32))
        elif len(looks) == 3:
            later = True
        else:
            raise Ended

    publish(settings, numbered(20))
    job = job_at(settings, base, tmp_path, every_pairs=32, every_s=1_800.0)
    with pytest.raises(Ended):
        serve(replace(job, wait=look, now=lambda: started + 3_600 * later))
    assert looks == [0, 1, 1, 2]


def chance(known: Sequence[TextPair], held_out: Sequence[TextPair]) -> dict[str, Array]:
    """N-grams see "good" and "bad" at once; a random base model has to be given a chance."""
    return {"chance": np.full(len(held_out), 0.5)}


def test_a_better_adapter_takes_over_and_one_that_is_no_better_is_a_shadow_beside_it(
    settings: Settings, base: Path, tmp_path: Path
) -> None:
    learns = TrainingRecipe(str(base), replace(SETTINGS, rank=4, lr=0.02, epochs=6), start="afresh")
    hardly = replace(learns, settings=replace(learns.settings, lr=1e-6, epochs=1))
    publish(settings, numbered(200))
    job = job_at(settings, base, tmp_path, recipe=learns, baselines=chance)
    first = train_once(job)
    assert (first.gate, first.in_force) == ("active", {})
    assert first.statement.startswith("Version 1 may choose: on ")
    publish(settings, numbered(10, first=200))
    second = train_once(replace(job, recipe=hardly))
    assert (second.version, second.gate) == (2, "shadow")
    assert set(second.metrics["lora_minus"]) == {"chance", "adapter in force"}
    assert "its log loss is not shown to be below that of" in second.statement
    assert second.statement.endswith("Version 1 stays in force.")
    kept = ("version", "uri", "files", "consumed", "topic_ids")
    assert second.in_force == {name: getattr(first, name) for name in kept}
    publish(settings, numbered(10, first=210))
    third = train_once(replace(job, recipe=hardly))
    assert third.in_force == second.in_force


def test_an_adapter_that_is_worse_than_n_grams_is_a_shadow_that_says_so(
    settings: Settings, base: Path, tmp_path: Path
) -> None:
    publish(settings, numbered(160))
    snapshot = train_once(job_at(settings, base, tmp_path))
    assert snapshot.gate == "shadow"
    assert snapshot.statement.startswith("Version 1 is a shadow: on ")
    assert "character TF-IDF (+" in snapshot.statement
    assert set(snapshot.metrics["models"]) == {
        "LoRA",
        "character TF-IDF",
        "online n-grams",
        "text length",
        "chance",
    }


def test_a_warm_training_begins_with_the_adapter_before_and_replays_some_old_pairs(
    settings: Settings, base: Path, tmp_path: Path
) -> None:
    recipe = TrainingRecipe(str(base), SETTINGS, start="warm", replay=0.5)
    publish(settings, numbered(60))
    job = job_at(settings, base, tmp_path, recipe=recipe)
    first = train_once(job)
    assert first.metrics["start"] == "afresh"
    new = numbered(15, first=60)
    publish(settings, new)
    hardly = replace(recipe, settings=replace(SETTINGS, lr=1e-7))
    second = train_once(replace(job, recipe=hardly))
    n_new = sum(not is_held_out(one.task_id) for one in new)
    counted = [second.metrics[name] for name in ("start", "train_pairs", "new_train_pairs")]
    assert counted == ["warm", 2 * n_new, n_new]
    before, after = (read_adapter(Path(one.uri)).tensors for one in (first, second))
    assert all(torch.allclose(before[key], after[key], atol=1e-5) for key in before)
    other = replace(recipe, settings=replace(SETTINGS, rank=4))
    publish(settings, numbered(4, first=75))
    assert train_once(replace(job, recipe=other)).metrics["start"] == "afresh"
    assert "has another base model or shape: trained afresh" in said(tmp_path)


def test_an_adapter_in_force_that_is_gone_from_the_store_is_done_without(
    settings: Settings, base: Path, tmp_path: Path
) -> None:
    recipe = TrainingRecipe(str(base), SETTINGS, start="warm")
    publish(settings, numbered(40))
    job = job_at(settings, base, tmp_path, recipe=recipe)
    shutil.rmtree(train_once(job).uri)
    publish(settings, numbered(4, first=40))
    assert train_once(job).metrics["start"] == "afresh"
    assert "continuing without an earlier adapter" in said(tmp_path)


def test_a_uri_of_fsspec_is_a_store_too(
    settings: Settings, base: Path, tmp_path: Path, s3_bucket: str
) -> None:
    publish(settings, numbered(40))
    snapshot = train_once(job_at(settings, base, tmp_path, store=f"{s3_bucket}/lora"))
    assert snapshot.uri == f"{s3_bucket}/lora/default/1-{content_hash(snapshot.files)[:12]}"
    assert read_adapter(fetch(snapshot.uri, snapshot.files, tmp_path / "cache")).reward.version == 1


def test_a_snapshot_never_points_to_what_could_not_be_stored(
    settings: Settings, base: Path, tmp_path: Path
) -> None:
    publish(settings, numbered(40))
    (tmp_path / "store").write_bytes(b"a file")
    job = job_at(settings, base, tmp_path)
    with pytest.raises(BadInput, match=r"cannot be written: .*; choose another --store"):
        serve(job, once=True)
    assert newest(settings) is None
    (tmp_path / "store").unlink()
    assert train_once(job).version == 1
    assert "version 1 was begun before, and continues" in said(tmp_path)


def test_the_older_of_two_jobs_of_a_model_ends_and_publishes_nothing(
    settings: Settings, base: Path, tmp_path: Path
) -> None:
    publish(settings, numbered(40))

    @contextmanager
    def taken_over() -> Iterator[Callable[[TrainingStep], None]]:
        with HeldWriter(AdapterSnapshot, settings, "default") as newer:
            newer.open()
            yield lambda step: None

    with pytest.raises(Fenced, match="another trainer has taken over model 'default'"):
        serve(job_at(settings, base, tmp_path, steps=taken_over), once=True)
    assert newest(settings) is None


def test_a_topic_that_was_made_again_is_all_new_if_that_is_accepted(
    settings: Settings, base: Path, tmp_path: Path
) -> None:
    publish(settings, numbered(40))
    job = job_at(settings, base, tmp_path)
    before = train_once(job)
    with connect_admin(settings, 10.0) as admin:
        admin.delete_topics([settings.pairs_topic])
    wait_until(lambda: settings.pairs_topic in create_topics(settings).created)
    publish(settings, numbered(30))
    with pytest.raises(TopicMadeAgain, match="version 1 of the text reward of model 'default' knows it as"):
        serve(job, once=True)
    after = train_once(replace(job, accept_new_topics=True))
    assert (after.version, after.consumed) == (2, {settings.pairs_topic: {"0": 30}})
    assert after.topic_ids != before.topic_ids


def test_other_options_begin_a_training_anew(settings: Settings, base: Path, tmp_path: Path) -> None:
    publish(settings, numbered(40))

    @contextmanager
    def ended() -> Iterator[Callable[[TrainingStep], None]]:
        def end(step: TrainingStep) -> None:
            raise KeyboardInterrupt

        yield end

    job = job_at(settings, base, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        serve(replace(job, steps=ended), once=True)
    assert {path.name for path in (tmp_path / "work").iterdir()} == {"plan.json", "round.checkpoint"}
    other = replace(job.recipe, settings=replace(job.recipe.settings, seed=1))
    assert train_once(replace(job, recipe=other)).version == 1
    assert "version 1 was begun with other options, and starts over" in said(tmp_path)


@dataclass(frozen=True)
class Killed:
    """One training that was killed at each fail point in turn, and one that nothing disturbed."""

    codes: list[int]
    published_after: list[bool]
    last: AdapterSnapshot
    undisturbed: AdapterSnapshot
    work_is_empty: bool


@pytest.fixture(scope="module")
def warm(kafka: str, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(Settings(bootstrap_servers=kafka), base, tmp_path_factory.mktemp("warm") / "stderr")
    yield process
    process.close()


@pytest.fixture(scope="module")
def killed(kafka: str, warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Every start after a kill goes on with the same training, up to the next place."""
    folder, pairs = tmp_path_factory.mktemp("killed"), numbered(64)
    topics = [
        Settings(bootstrap_servers=kafka, topic_prefix=f"test-lora-{uuid.uuid4().hex[:12]}") for _ in "ab"
    ]
    for one in topics:
        create_topics(one)
        publish(one, pairs)
    disturbed, calm = topics
    codes, published = [], []
    for place in FAIL_POINTS:
        codes.append(warm.start(disturbed, str(folder / "a"), "--once", fail_at=place).wait())
        published.append(newest(disturbed) is not None)
        # What comes after the plan does not change it.
        publish(disturbed, numbered(1, first=len(codes), source="critic"))
    codes += [
        warm.start(topic, str(folder / store), "--once").wait()
        for topic, store in zip(topics, "ab", strict=True)
    ]
    left = [path.name for path in (folder / "a.work" / "default").iterdir()]
    return Killed(codes, published, the_newest(disturbed), the_newest(calm), left == ["lock"])


def test_it_was_killed_everywhere_and_ended_well(killed: Killed) -> None:
    assert killed.codes == [-signal.SIGKILL] * len(FAIL_POINTS) + [0, 0]
    assert killed.published_after == [False] * (len(FAIL_POINTS) - 1) + [True]
    assert killed.work_is_empty


def test_a_killed_training_ends_with_the_same_bytes_of_the_adapter(killed: Killed) -> None:
    assert files_at(killed.last) == files_at(killed.undisturbed)


def test_a_killed_training_ends_with_the_same_snapshot(killed: Killed) -> None:
    def told(snapshot: AdapterSnapshot) -> AdapterSnapshot:
        """Without what says where it was."""
        consumed = {"pairs": next(iter(snapshot.consumed.values()))}
        return structs.replace(snapshot, uri="", checksum="", topic_ids={}, consumed=consumed)

    assert told(killed.last) == told(killed.undisturbed)
    assert killed.last.version == 1


def test_a_stopped_training_ends_at_once_and_the_next_start_goes_on(
    settings: Settings, warm: Warm, tmp_path: Path
) -> None:
    publish(settings, numbered(64))
    words = ("--every-pairs", "1", "--epochs", "1000")
    process = warm.start(settings, str(tmp_path / "store"), *words)
    state = tmp_path / "store.work" / "default" / "round.checkpoint" / "state.safetensors"
    wait_until(state.exists, 60)
    process.terminate()
    assert process.wait() == 0
    assert process.said.endswith("tribrain serve lora: stopped; the next start goes on from here\n")
    assert "text pairs of people and validators: 64, new: 64\n" in process.said
    assert "Traceback" not in process.said
    assert state.exists()


def test_two_of_the_same_work_folder_are_one_too_many(settings: Settings, warm: Warm, tmp_path: Path) -> None:
    work = tmp_path / "store.work" / "default"
    work.mkdir(parents=True)
    with (work / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = warm.start(settings, str(tmp_path / "store"), "--once")
        assert process.wait() == 2
    assert process.said == (
        f"tribrain: {work}: another tribrain serve lora is at work there; "
        "stop it or give another --work-dir\n"
    )


def test_a_job_that_was_taken_over_ends_with_code_3(settings: Settings, warm: Warm, tmp_path: Path) -> None:
    publish(settings, numbered(64))
    process = warm.start(settings, str(tmp_path / "store"), "--once", "--epochs", "100")
    wait_until((tmp_path / "store.work" / "default" / "plan.json").exists, 60)
    with HeldWriter(AdapterSnapshot, settings, "default") as newer:
        newer.open()
        assert process.wait() == 3
    assert process.said.endswith(
        "tribrain: another trainer has taken over model 'default'; this one publishes nothing more\n"
    )
    assert newest(settings) is None
