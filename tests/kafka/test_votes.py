"""Votes on a real broker: imported, looked up, learnt, waited for, taken back, exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import KafkaAdminClient
from msgspec.structs import replace

from streams.kafka.candidates import Candidates
from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.kafka.writer import produce
from streams.messages.codec import decode_pair, encode
from streams.messages.contracts import PreferencePair, RewardSnapshot, TraceEvent
from streams.messages.files import read_pairs, read_snapshot
from streams.messages.stored import Outgoing
from streams.messages.votes import Vote
from streams.snapshots.feed import read_latest_snapshot
from streams.spool.publish_now import publish_messages, publish_votes
from tests.factories import event, run
from tests.services import trainer
from tests.trainers.pairs.test_votes import vote
from tests.waiting import wait_until

_WAIT_S = 60.0


def publish(settings: Settings, *run_ids: str) -> None:
    for run_id in run_ids:
        assert publish_messages(settings, run([0.2, 0.4, 0.6, 0.8], run_id), timeout_s=_WAIT_S) == {}


def give(settings: Settings, *votes: Vote) -> None:
    assert publish_votes(settings, votes, timeout_s=_WAIT_S) == {}


def pairs_of_votes(settings: Settings) -> list[PreferencePair]:
    decoded = [decode_pair(m.value, m) for m in read_topic(settings, settings.pairs_topic) if m.vote]
    return [pair for pair in decoded if isinstance(pair, PreferencePair)]


def wait_for_labels(settings: Settings, human: int, version_over: int = 0) -> RewardSnapshot:
    found: list[RewardSnapshot] = []

    def learnt() -> bool:
        latest = read_latest_snapshot(settings, "default")
        if latest is None or latest.labels.get("human", 0) != human or latest.version <= version_over:
            return False
        found.append(latest)
        return True

    wait_until(learnt, _WAIT_S)
    return found[-1]


def label_studio(path: Path, *choices: str) -> Path:
    """An export of one task of runs a and b, with an annotation for each choice."""
    data = {"goal": "g", "a": "x", "b": "y", "a_run_id": "run-a", "a_iter_idx": 0, "b_run_id": "run-b"}
    annotations = [
        {"id": n, "completed_by": n, "result": [{"value": {"choices": [choice]}}]}
        for n, choice in enumerate(choices, start=1)
    ]
    path.write_bytes(orjson.dumps([{"id": 1, "data": data | {"b_iter_idx": 3}, "annotations": annotations}]))
    return path


def test_what_people_said_in_label_studio_moves_the_published_model(
    settings: Settings, tribrain: Any, tmp_path: Path
) -> None:
    publish(settings, "run-a", "run-b")
    with trainer(settings, "--snapshot-every-s", "0.1"):
        wait_until(lambda: read_latest_snapshot(settings, "default"), _WAIT_S)
        file = label_studio(tmp_path / "export.json", "A", "A", "A")
        code, said = tribrain("vote", "--import", str(file))
        assert (code, said["published"], said["known"]) == (0, 3, 0)
        after = wait_for_labels(settings, 3)
        assert tribrain("vote", "--import", str(file))[1]["published"] == 0
    # The first candidate of run a, by .6 worse to its critic, was preferred three times.
    assert after.weights["overall.quality"] < 0.08
    assert len(pairs_of_votes(settings)) == 3


def test_a_vote_waits_for_its_run_across_a_crash_and_is_learnt_once(settings: Settings) -> None:
    give(settings, vote(), vote())
    with trainer(settings) as worker:
        publish(settings, "run-a")
        wait_until(lambda: read_latest_snapshot(settings, "default"), _WAIT_S)
        worker.kill()
        worker.wait()
    publish(settings, "run-b")
    with trainer(settings, "--snapshot-every-s", "0.1"):
        wait_for_labels(settings, 1)
        give(settings, vote(), vote(vote_id="v2"))
        assert wait_for_labels(settings, 2).labels["human"] == 2


@pytest.mark.parametrize("place", ["votes.found", "former.one-sent", "former.sent", "votes.released"])
def test_a_worker_killed_around_a_vote_leaves_it_learnt_once(settings: Settings, place: str) -> None:
    publish(settings, "run-a", "run-b")
    with trainer(settings, "--snapshot-every-s", "0.1"):
        wait_until(lambda: read_latest_snapshot(settings, "default"), _WAIT_S)
    give(settings, vote())
    with trainer(settings, TRIBRAIN_FAIL_POINT=place) as worker:
        wait_until(lambda: worker.poll() is not None, _WAIT_S)
    with trainer(settings, "--snapshot-every-s", "0.1"):
        before = wait_for_labels(settings, 1).version
        give(settings, vote(vote_id="v2"))
        wait_for_labels(settings, 2, version_over=before)


def test_a_vote_that_is_taken_back_is_undone_in_the_model(settings: Settings) -> None:
    publish(settings, "run-a", "run-b")
    give(settings, vote(vote_id="v0"))
    with trainer(settings, "--snapshot-every-s", "0.1"):
        before = wait_for_labels(settings, 1)
        give(settings, vote(annotator="ann"))
        learnt = wait_for_labels(settings, 2)
        give(settings, vote(vote_id="v2", takes_back="v1", answer=None, annotator="ann"))
        after = wait_for_labels(settings, 1, version_over=learnt.version)
    moved = abs(learnt.weights["overall.quality"] - before.weights["overall.quality"])
    assert abs(after.weights["overall.quality"] - before.weights["overall.quality"]) < 0.03 * moved


def test_a_replay_forms_the_pairs_of_votes_again_and_the_state_is_settled(
    settings: Settings, tribrain: Any, tmp_path: Path
) -> None:
    publish(settings, "run-a", "run-b")
    give(settings, vote(), vote(vote_id="v2", right_run_id="run-a"), vote(vote_id="v3", answer="cannot_tell"))
    with trainer(settings, "--snapshot-every-s", "0.1"):
        wait_for_labels(settings, 2)
        give(settings, vote(vote_id="v4", takes_back="v2", answer="tie"))
        wait_until(lambda: len(pairs_of_votes(settings)) == 4, _WAIT_S)
        wait_until(lambda: tribrain("verify-state")[1]["settled"], _WAIT_S)
    (report,) = tribrain("verify-state")[1]["models"]
    assert (report["from_elsewhere"], report["missing"], report["votes_to_come"]) == (0, [], 0)
    assert tribrain("replay", "--out", str(tmp_path / "recorded"))[1]["identical_to_published"]
    assert tribrain("replay", "--source", "trace", "--out", str(tmp_path / "formed"))[0] == 0
    formed = [p for p in read_pairs(tmp_path / "formed" / "pairs.jsonl") if isinstance(p, PreferencePair)]
    ids = [pair.meta["vote_id"] for pair in formed if pair.label_source == "human"]
    assert ids == ["v1", "v4"]


def test_traces_in_files_are_replayed_with_a_file_of_votes(tmp_path: Path, tribrain: Any) -> None:
    traces = []
    for name in ("run-a", "run-b"):
        traces += ["--trace", str(tmp_path / f"{name}.jsonl")]
        lines = [encode(message) + b"\n" for message in run([0.2, 0.4, 0.6, 0.8], name)]
        (tmp_path / f"{name}.jsonl").write_bytes(b"".join(lines))
    (tmp_path / "votes.jsonl").write_bytes(encode(vote()) + b"\n" + encode(vote(vote_id="v2")) + b"\n")
    out = tmp_path / "out"
    words = ("replay", *traces, "--votes", str(tmp_path / "votes.jsonl"), "--out", str(out))
    assert tribrain(*words)[0] == 0
    assert read_snapshot(out / "bt_reward.json").labels["human"] == 2
    (tmp_path / "votes.jsonl").write_bytes(b"{}")
    assert tribrain(*words) == (2, None)
    assert tribrain("replay", "--votes", "votes.jsonl", "--out", str(out)) == (2, None)


def test_a_vote_whose_run_never_comes_is_a_dead_letter_and_is_used_once_replayed(
    settings: Settings, tribrain: Any
) -> None:
    publish(settings, "run-a")
    give(settings, vote())
    with trainer(settings, "--vote-timeout-s", "1", "--snapshot-every-s", "0.1"):
        wait_until(lambda: tribrain("dlq", "list")[1]["letters"], _WAIT_S)
        (letter,) = tribrain("dlq", "list")[1]["letters"]
        assert letter["name"] == f"{settings.votes_topic}[0]@0"
        assert "iteration 3 of run 'run-b' did not arrive within 1 s" in letter["reason"]
        publish(settings, "run-b")
        assert tribrain("dlq", "replay")[1] == {"replayed": 1}
        wait_for_labels(settings, 1)


def test_what_cannot_be_matched_is_told_and_kept_and_the_rest_is_published(
    settings: Settings, tribrain: Any, tmp_path: Path
) -> None:
    file = label_studio(tmp_path / "export.json", "A", "C", "B")
    code, said = tribrain("vote", "--import", str(file))
    assert (code, said["votes"], said["published"]) == (1, 2, 2)
    assert said["unmatched"] == [
        {
            "place": f"{file}: task 1, annotation 2",
            "reason": "the choice is ['C']; expected one of A, B, no difference",
        }
    ]
    kept = orjson.loads((tmp_path / "export.unmatched.json").read_bytes())
    assert [task["annotations"][0]["id"] for task in kept] == [2]


def test_votes_on_candidates_that_nobody_published_are_imported_and_listed(
    settings: Settings, tribrain: Any, tmp_path: Path
) -> None:
    publish(settings, "run-a")
    file = tmp_path / "votes.jsonl"
    on_known = vote(vote_id="v3", right_run_id="run-a", right_iter_idx=3)
    file.write_bytes(b"".join(encode(each) + b"\n" for each in (vote(), vote(vote_id="v2"), on_known)))
    code, said = tribrain("vote", "--import", str(file))
    assert (code, said["published"], said["waiting"]) == (0, 3, 2)
    assert said["unknown_candidates"] == [{"run_id": "run-b", "iter_idx": 3, "votes": 2}]
    publish(settings, "run-b")
    code, said = tribrain("vote", "--import", str(file))
    assert (code, said["waiting"], said["unknown_candidates"]) == (0, 0, [])


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_exported_votes_are_those_of_the_topic_and_are_taken_in_elsewhere(
    suffix: str, settings: Settings, tribrain: Any, tmp_path: Path
) -> None:
    given = [vote(annotator="ann", meta={"mood": "calm"}), vote(vote_id="v2", takes_back="v1", answer="tie")]
    give(settings, *given, given[0])
    list(produce(settings, [Outgoing(settings.votes_topic, b"x", b"{]")]))
    out = tmp_path / f"votes{suffix}"
    code, said = tribrain("vote", "--export", str(out))
    assert (code, said) == (0, {"out": str(out), "votes": 2, "repeated": 1, "unreadable": 1})
    code, said = tribrain("vote", "--import", str(out))
    assert (code, said["votes"], said["published"]) == (0, 2, 0)
    if suffix == ".jsonl":
        assert out.read_bytes() == b"".join(encode(each) + b"\n" for each in given)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--import", "votes.csv", "--export", "votes.csv"),
        ("--import", "no-such-file.csv"),
        ("--import", "votes.txt"),
        ("--export", "votes.txt"),
        ("--export", "votes.csv", "--format", "csv"),
    ],
)
def test_what_cannot_be_meant_is_bad_input(
    arguments: tuple[str, ...],
    settings: Settings,
    tribrain: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tribrain("vote", *arguments) == (2, None)
    assert list(read_topic(settings, settings.votes_topic)) == []


def test_candidates_are_found_wherever_their_events_stand_and_those_of_later_lookups_too(
    settings: Settings,
) -> None:
    def events(run_id: str, partition: int | None = None) -> list[Outgoing]:
        messages = [m for m in run([0.1, 0.2, 0.3], run_id) if isinstance(m, TraceEvent)]
        return [
            Outgoing(settings.trace_topic, run_id.encode(), encode(m), partition=partition) for m in messages
        ]

    list(produce(settings, [*events("a"), *events("b", partition=1), *events("c", partition=2)]))
    candidates = Candidates(settings)
    wanted = {("a", 0), ("a", 2), ("b", 1), ("c", 7), ("d", 0)}
    assert candidates.look_up(wanted, []).candidates.keys() == {("a", 0), ("a", 2), ("b", 1)}
    with KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers) as admin:
        admin.create_partitions({settings.trace_topic: 6})
    revised = event(2, 0.9, run_id="a")
    revised = replace(revised, meta=revised.meta | {"revision": 1})
    list(produce(settings, [*events("d"), Outgoing(settings.trace_topic, b"a", encode(revised))]))
    found = candidates.look_up(wanted, []).candidates
    assert found.keys() == {("a", 0), ("a", 2), ("b", 1), ("d", 0)}
    assert found["a", 2].overall_score == 0.9
