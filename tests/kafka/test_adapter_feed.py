"""Adapters that running loops pick up: the newest whole one, with scores of one adapter each."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from streams.kafka.settings import Settings
from streams.kafka.writer import produce
from streams.messages.codec import encode, sealed
from streams.messages.contracts import AdapterSnapshot, snapshot_key
from streams.messages.stored import Outgoing
from streams.snapshots import artifacts
from streams.snapshots.artifacts import listed, open_store

if find_spec("peft") is None:
    pytest.skip("the lora extra is not installed", allow_module_level=True)

from runner.interfaces import TextRewardFeed
from runner.loop.refinement import judge_text
from runner.rewards import adapter_feed, feed_errors
from runner.rewards.adapter_feed import AdapterFeed, LocalAdapter
from tests.trainers.lora.tiny import SETTINGS, job_of, tiny_base
from tests.waiting import wait_until
from trainers.lora.adapter import REWARD, WEIGHTS
from trainers.lora.scorer import open_reward

GOAL, PROMPTS = "move the red cube", ("good cube", "bad cube now", "slowly to the bowl")
TEXTS = [(GOAL, GOAL), *((GOAL, prompt) for prompt in PROMPTS)]
SWAPS, THREADS = 200, 8
Folders = dict[str, Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Adapters of one base, by name; ``wide`` has another shape and ``foreign`` another base."""
    made = tmp_path_factory.mktemp("adapters")
    base, other = tiny_base(made / "base", "bert"), tiny_base(made / "other", "distilbert")
    recipes = {
        "one": (base, SETTINGS),
        "two": (base, replace(SETTINGS, seed=1)),
        "wide": (base, replace(SETTINGS, rank=4)),
        "foreign": (other, SETTINGS),
    }
    for name, (of, settings) in recipes.items():
        job_of(of, made / name, settings)
    return {name: made / name for name in recipes}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def snapshot(version: int, folder: Path, **changes: Any) -> AdapterSnapshot:
    whole = AdapterSnapshot(
        model="default",
        version=version,
        gate="active",
        statement="made by a test",
        base_model={},
        uri=str(folder),
        files=listed(files_of(folder)),
        labels={},
        metrics={},
    )
    return sealed(structs.replace(whole, **changes))


def message(kafka: Settings, one: AdapterSnapshot) -> Outgoing:
    return Outgoing(kafka.snapshots_topic, snapshot_key("default", "lora").encode(), encode(one))


def publish(kafka: Settings, one: AdapterSnapshot) -> None:
    list(produce(kafka, [message(kafka, one)]))


def version_of(feed: AdapterFeed) -> int | None:
    latest = feed.latest()
    return latest.version if latest else None


@pytest.fixture
def feed(settings: Settings, tmp_path: Path) -> Iterator[AdapterFeed]:
    with AdapterFeed(settings, cache=tmp_path / "cache", try_again_s=0.01) as following:
        yield following


def test_the_newest_adapter_is_served_with_its_version_and_gate(
    feed: AdapterFeed, settings: Settings, folders: Folders
) -> None:
    assert feed.latest() is None
    publish(settings, snapshot(1, folders["one"], gate="shadow"))
    wait_until(lambda: version_of(feed) == 1)
    as_promised: TextRewardFeed = feed
    first = as_promised.latest()
    assert first is not None
    assert (as_promised.name, first.version, first.gate) == ("lora_rm", 1, "shadow")
    means, covariance = first.rewards(GOAL, PROMPTS)
    assert np.array_equal(means, open_reward(folders["one"]).rewards(TEXTS)[1:])
    assert (np.diag(covariance) > 0).all()
    assert 0 < judge_text("lora_rm", first, GOAL, PROMPTS[0]).scores["text"] < 1  # type: ignore[operator]
    publish(settings, snapshot(2, folders["two"]))
    wait_until(lambda: version_of(feed) == 2)
    second = feed.latest()
    assert second is not None
    assert second.gate == "active"
    assert np.array_equal(second.rewards(GOAL, PROMPTS)[0], open_reward(folders["two"]).rewards(TEXTS)[1:])
    # Whoever still holds the first one gets its scores.
    assert np.array_equal(first.rewards(GOAL, PROMPTS)[0], means)


def test_beside_a_shadow_the_adapter_in_force_is_served(
    feed: AdapterFeed, settings: Settings, folders: Folders
) -> None:
    one = snapshot(1, folders["one"])
    stated = {"version": 1, "uri": one.uri, "files": one.files}
    publish(settings, snapshot(2, folders["two"], gate="shadow", in_force=stated))
    wait_until(lambda: version_of(feed) == 1)
    latest = feed.latest()
    assert latest is not None
    assert latest.gate == "active"
    assert np.array_equal(latest.rewards(GOAL, PROMPTS)[0], open_reward(folders["one"]).rewards(TEXTS)[1:])


def test_what_cannot_be_used_is_refused_and_the_old_one_stays(
    feed: AdapterFeed, settings: Settings, folders: Folders, tmp_path: Path
) -> None:
    publish(settings, snapshot(1, folders["one"]))
    wait_until(lambda: version_of(feed) == 1)
    before = feed.latest()
    good = snapshot(2, folders["two"])

    def stored(name: str, change: dict[str, bytes]) -> str:
        return open_store(str(tmp_path)).put(name, files_of(folders["two"]) | change, last=REWARD)

    def there(name: str) -> dict[str, Any]:
        return {"uri": str(folders[name]), "files": listed(files_of(folders[name]))}

    weights = (folders["two"] / WEIGHTS).read_bytes()
    flipped = bytes([*weights[:-1], weights[-1] ^ 1])
    edited = listed(files_of(folders["two"]) | {WEIGHTS: flipped})
    cases = {
        "flipped": ({"uri": stored("flipped", {WEIGHTS: flipped})}, "damaged"),
        "cut short": ({"uri": stored("short", {WEIGHTS: weights[:-1]})}, "damaged"),
        # As the snapshot says, but not as its own reward.json says.
        "exchanged": ({"uri": stored("exchanged", {WEIGHTS: flipped}), "files": edited}, "damaged"),
        "gone": ({"uri": str(tmp_path / "nowhere")}, "missing"),
        "escaping": ({"files": {"../x": {"size": 1, "sha256": hashlib.sha256(b"x").hexdigest()}}}, "damaged"),
        "of another shape": (
            {"uri": str(folders["wide"]), "files": listed(files_of(folders["wide"]))},
            "unfit",
        ),
        "foreign": ({"uri": str(folders["foreign"]), "files": listed(files_of(folders["foreign"]))}, "unfit"),
    }
    expected: dict[str, int] = {}
    for version, (changes, reason) in enumerate(cases.values(), start=2):
        expected[reason] = expected.get(reason, 0) + 1
        publish(settings, sealed(structs.replace(good, version=version, **changes)))  # type: ignore[arg-type]
        wait_until(lambda: feed.refused == expected)
        assert feed.latest() is before
    publish(settings, sealed(structs.replace(good, version=20)))
    wait_until(lambda: version_of(feed) == 20)


def test_a_store_that_is_away_is_asked_again(
    feed: AdapterFeed, settings: Settings, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    read = artifacts.read_object

    def away(where: str, size: int, *, if_gone: str) -> bytes:
        tried.append(where)
        if len(tried) < 3:
            raise artifacts.StoreAway("no answer")
        return read(where, size, if_gone=if_gone)

    monkeypatch.setattr(artifacts, "read_object", away)
    publish(settings, snapshot(1, folders["one"]))
    wait_until(lambda: version_of(feed) == 1)
    assert feed.refused == {"store away": 2}


def test_an_error_that_nobody_expects_is_counted_said_once_and_tried_again(
    feed: AdapterFeed,
    settings: Settings,
    folders: Folders,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    left, fetch = iter([1, 2, 3]), artifacts.fetch

    def fail_thrice(*arguments: Any) -> Path:
        if next(left, None):
            raise MemoryError
        return fetch(*arguments)

    monkeypatch.setattr(adapter_feed, "fetch", fail_thrice)
    publish(settings, snapshot(1, folders["one"]))
    wait_until(lambda: version_of(feed) == 1)
    assert feed.errors == {"MemoryError": 3}
    assert feed.refused == {}
    assert [record.levelname for record in caplog.records if record.name == feed_errors.__name__] == ["ERROR"]


def test_two_hundred_swaps_under_eight_threads_tear_no_score(
    feed: AdapterFeed, settings: Settings, folders: Folders
) -> None:
    whole = {
        n: open_reward(folders[name]).rewards(TEXTS)[1:].tobytes() for n, name in enumerate(("two", "one"))
    }
    publish(settings, snapshot(1, folders["one"]))
    wait_until(lambda: version_of(feed) == 1)
    torn, seen, done = [], set(), threading.Event()

    def score() -> None:
        while not done.is_set():
            latest = feed.latest()
            assert latest is not None
            for _ in range(2):
                if latest.rewards(GOAL, PROMPTS)[0].tobytes() != whole[latest.version % 2]:
                    torn.append(latest.version)
            seen.add(latest.version)

    threads = [threading.Thread(target=score) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        versions = range(2, SWAPS + 2)
        later = (snapshot(version, folders["one" if version % 2 else "two"]) for version in versions)
        for version, _ in zip(
            versions, produce(settings, map(partial(message, settings), later)), strict=True
        ):
            wait_until(lambda version=version: version_of(feed) == version)  # type: ignore[misc]
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert torn == []
    assert len(seen) > SWAPS // 10


def test_a_local_adapter_is_its_users_own_decision(folders: Folders) -> None:
    local: TextRewardFeed = LocalAdapter(folders["one"])
    latest = local.latest()
    assert latest is not None
    assert (local.name, latest.version, latest.gate) == ("lora_rm", 0, "active")
    assert local.latest() is latest


def test_the_feed_itself_needs_no_torch() -> None:
    script = "import sys, runner.rewards.adapter_feed; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"torch", "transformers", "peft", "fsspec"}.isdisjoint(done.stdout.split())
