"""Several reward models beside each other, going back to an earlier one, and runs that do not end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields
from typing import Any

import pytest
from msgspec.structs import replace

from streams.kafka.reader import read_topic
from streams.kafka.settings import TOPIC_PREFIX_VARIABLE, Settings
from streams.messages.codec import decode_trace, encode
from streams.messages.contracts import PairsEnd, RewardSnapshot, RunEnd, TraceEvent
from streams.snapshots.feed import SnapshotFeed, read_held, read_latest_snapshot
from streams.spool.publish_now import publish_messages
from tests.factories import event, run
from tests.kafka.delivered import opened_transaction
from tests.kafka.test_trainer import (
    interleaved,
    pairs_on_kafka,
    publish,
    random_runs,
    wait_for_version,
    wait_until_learnt,
)
from tests.program import called_with
from tests.services import trainer, trainer_to_kill
from tests.waiting import wait_until
from tribrain.run.refinement import RefinementOptions, open_refinement

_WAIT_S = 60.0


def has_learnt(pairs: int) -> Callable[[RewardSnapshot], bool]:
    return lambda snapshot: sum(snapshot.labels.values()) == pairs


def newest(settings: Settings, model: str, when: Callable[[RewardSnapshot], bool]) -> RewardSnapshot:
    """The first snapshot of the model of which ``when`` is true."""
    with SnapshotFeed(settings, model) as feed:
        wait_until(lambda: (latest := feed.latest()) is not None and when(latest), _WAIT_S)
        latest = feed.latest()
    assert latest is not None
    return latest


def of_family(messages: list[TraceEvent | RunEnd], family: str) -> list[TraceEvent | RunEnd]:
    return [
        replace(m, meta=m.meta | {"context": {"task_family": family}}) if isinstance(m, TraceEvent) else m
        for m in messages
    ]


def test_each_task_family_has_a_model_that_the_log_gives_bit_for_bit(
    settings: Settings, tribrain: Any
) -> None:
    runs = [
        of_family(of_run, "push" if n % 2 else "stack") for n, of_run in enumerate(random_runs(12, seed=41))
    ]
    with trainer(settings, "--model-by", "task_family", "--snapshot-every-pairs", "5"):
        for part in (runs[:6], runs[6:]):
            publish(settings, interleaved(part, seed=42))
            for model in ("default.push", "default.stack"):
                newest(settings, model, lambda _: True)
        expected = {
            name: sum(m.n_pairs for m in wait_for_ends(settings, 12) if m.model == name)
            for name in ("default.push", "default.stack")
        }
        for model, pairs in expected.items():
            newest(settings, model, has_learnt(pairs))
    assert all(pairs > 10 for pairs in expected.values())
    for model in expected:
        code, verified = tribrain("snapshots", "verify", "--model", model)
        assert (code, verified["differing"]) == (0, [])
        assert verified["verified"] > 1
    assert read_latest_snapshot(settings, "default") is None


def wait_for_ends(settings: Settings, runs: int) -> list[PairsEnd]:
    def ends() -> list[PairsEnd]:
        return [m for m in pairs_on_kafka(settings) if isinstance(m, PairsEnd)]

    wait_until(lambda: len(ends()) >= runs, _WAIT_S)
    return ends()


def test_trainers_of_two_models_each_learn_from_every_run(settings: Settings) -> None:
    runs = random_runs(10, seed=43)
    with trainer(settings, "--model", "wide"), trainer(settings, "--model", "strict", "--min-gap", "0.3"):
        publish(settings, interleaved(runs, seed=44))
        ends = wait_for_ends(settings, 20)
        for model in ("wide", "strict"):
            pairs = sum(end.n_pairs for end in ends if end.model == model)
            newest(settings, model, has_learnt(pairs))
    by_model = {m: {end.run_id for end in ends if end.model == m} for m in ("wide", "strict")}
    assert by_model["wide"] == by_model["strict"] == {of_run[0].run_id for of_run in runs}


@pytest.mark.parametrize("option", ["--reward", "--preference-rm", "--model"])
def test_a_run_follows_the_reward_model_that_it_names(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setenv(TOPIC_PREFIX_VARIABLE, settings.topic_prefix)
    with trainer(settings, "--model", "mine", "--every-pairs", "1"):
        publish(settings, interleaved(random_runs(4, seed=49), seed=50))
        newest(settings, "mine", lambda _: True)
    typed = ["--goal", "lift the cup", "--out", "run", option, "mine"]
    context = called_with(("run", "simulated"), [*typed, "--bootstrap-servers", settings.bootstrap_servers])
    given = RefinementOptions(
        **{field.name: context.params[field.name] for field in fields(RefinementOptions)}
    )
    with ExitStack() as stack:
        feed = open_refinement(stack, given).feed
        assert isinstance(feed, SnapshotFeed)
        wait_until(lambda: feed.latest() is not None, _WAIT_S)
        latest = feed.latest()
    assert latest is not None
    assert latest.model == "mine"


def test_a_rollback_is_an_event_that_live_and_replay_obey_alike(settings: Settings, tribrain: Any) -> None:
    first, more = random_runs(8, seed=45), random_runs(8, seed=46, prefix="more")
    with trainer(settings, "--snapshot-every-pairs", "5"):
        publish(settings, interleaved(first, seed=47))
        earlier = wait_until_learnt(settings, 8)
        publish(settings, interleaved(more, seed=48))
        later = wait_until_learnt(settings, 16)
        code, done = tribrain("snapshots", "rollback", "--version", str(earlier.version))
        assert (code, done["from_version"]) == (0, later.version)
        after = newest(settings, "default", lambda snapshot: snapshot.version > later.version)
    assert (after.version, after.weights) == (later.version + 1, earlier.weights)
    code, verified = tribrain("snapshots", "verify")
    assert (code, verified["differing"]) == (0, [])


def test_a_version_that_is_not_held_any_more_is_learnt_again_to_go_back_to_it(
    settings: Settings, tribrain: Any
) -> None:
    with trainer(settings, "--snapshot-every-pairs", "1000000"):
        publish(settings, interleaved(random_runs(8, seed=49), seed=50))
        latest = wait_until_learnt(settings, 8)
    held = {snapshot.version for _, snapshot in read_held(settings)["default"].snapshots}
    version = next(v for v in range(7, latest.version) if v not in held)
    assert tribrain("snapshots", "rollback", "--version", str(version))[0] == 0
    with trainer(settings):
        after = newest(settings, "default", lambda snapshot: snapshot.version > latest.version)
    assert 0 < sum(after.labels.values()) <= version
    assert tribrain("snapshots", "rollback", "--version", str(after.version))[0] == 2


def test_a_run_that_falls_silent_is_ended_by_an_event_with_what_has_come(settings: Settings) -> None:
    with trainer(settings, "--run-timeout-s", "2"):
        publish(settings, [event(0, 0.2), event(1, 0.9), event(3, 0.4)])
        (ended,) = wait_for_ends(settings, 1)
    assert (ended.run_id, ended.n_pairs, ended.n_candidates) == ("run-a", 2, 3)
    (end,) = [m for m in trace_messages(settings) if isinstance(m, RunEnd)]
    assert end.iterations == (0, 1, 3)
    assert end.stop_reason == "timed out: silent for 2 s"


def test_a_run_falls_silent_also_where_its_last_events_came_in_a_transaction(settings: Settings) -> None:
    """Whose mark is the last in the partition."""
    publish(settings, [event(0, 0.2)])
    opened_transaction(settings, encode(event(1, 0.9))).commit_transaction(_WAIT_S)
    with trainer(settings, "--run-timeout-s", "2"):
        (ended,) = wait_for_ends(settings, 1)
    assert ended.n_candidates == 2


def trace_messages(settings: Settings) -> list[Any]:
    return [decode_trace(m.value, m.source) for m in read_topic(settings, settings.trace_topic)]


def test_a_run_can_be_ended_by_hand_and_what_comes_later_is_kept_as_a_dead_letter(
    settings: Settings, tribrain: Any
) -> None:
    late = event(2, 0.5)
    with trainer(settings):
        publish(settings, [event(0, 0.2), event(1, 0.9), *run([0.3, 0.7], run_id="run-b")])
        wait_for_ends(settings, 1)
        assert tribrain("end-run", "run-a") == (0, {"ended": {"run-a": [0, 1]}})
        assert {end.run_id for end in wait_for_ends(settings, 2)} == {"run-a", "run-b"}
        assert publish_messages(settings, [late], timeout_s=_WAIT_S) == {}
        wait_until(lambda: list(read_topic(settings, settings.dead_letters_topic)), _WAIT_S)
    (letter,) = read_topic(settings, settings.dead_letters_topic)
    assert letter.value == encode(late)
    assert tribrain("end-run", "--silent-for-s", "0") == (0, {"ended": {}})
    assert tribrain("end-run", "no-such-run")[0] == 2


def test_a_restarted_trainer_forms_no_pair_of_a_run_that_is_closed(settings: Settings) -> None:
    open_run = [event(n, 0.1 * n, run_id="run-open") for n in range(3)]
    closed = random_runs(5, seed=51)
    with trainer_to_kill(settings) as worker:
        publish(settings, [*(m for of_run in closed for m in of_run[:4]), *open_run])
        publish(settings, [m for of_run in closed for m in of_run[4:]])
        wait_until_learnt(settings, 5)
        wait_for_version(settings, 5)
        worker.kill()
    publish(settings, [RunEnd(run_id="run-open", iterations=(0, 1, 2))])
    with trainer(settings):
        last = wait_until_learnt(settings, 6)
    distinct = {m.pair_id for m in pairs_on_kafka(settings) if not isinstance(m, PairsEnd)}
    assert sum(last.labels.values()) == len(distinct)
