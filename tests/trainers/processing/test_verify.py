"""Whether pairs, snapshot and replay agree: what is lost, doubled, forged or only late is told apart."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from streams.messages.checkpoints import rollback_to
from streams.messages.codec import decode_snapshot, encode, sealed
from streams.messages.contracts import Checkpoint, Message, RewardSnapshot, RunEnd
from streams.messages.limits import MAX_DIMENSIONS
from streams.messages.stored import StoredMessage
from tests.factories import event, pair, run
from tests.states import held
from trainers.pairs.pairing import PairingRules
from trainers.processing.pair_processor import PairProcessor
from trainers.processing.trace_processor import TraceProcessor
from trainers.processing.verify import StateReport, verify_state

RULES = PairingRules()
TRACE: list[Message] = [*run([0.1, 0.9, 0.5]), *run([0.2, 0.4, 0.8, 0.3], run_id="run-b")]


def stored(values: Sequence[bytes], topic: str) -> list[StoredMessage]:
    return [
        StoredMessage(topic=topic, partition=0, offset=n, timestamp_ms=0, key=None, value=value)
        for n, value in enumerate(values)
    ]


def on_trace(messages: Sequence[Message]) -> list[StoredMessage]:
    return stored([encode(message) for message in messages], "trace")


def formed(messages: Sequence[Message] = TRACE) -> list[bytes]:
    """The values that a pair former puts on the pairs topic."""
    former = TraceProcessor(RULES, trace_topic="trace", pairs_topic="pairs", dead_letters_topic="dead")
    made = [outgoing for message in on_trace(messages) for outgoing in former.on_message(message).outgoing]
    return [outgoing.value for outgoing in made if outgoing.topic == "pairs"]


def learner_of(values: Sequence[bytes]) -> PairProcessor:
    learner = PairProcessor("default", snapshots_topic="snapshots", dead_letters_topic="dead")
    for message in stored(values, "pairs"):
        learner.on_message(message)
    return learner


def learnt(values: Sequence[bytes]) -> RewardSnapshot:
    return decode_snapshot(learner_of(values).snapshot(), "test")


def verified(
    pairs: Sequence[bytes], *snapshots: RewardSnapshot | Checkpoint, trace: Sequence[Message] = TRACE
) -> StateReport:
    topic = {"default": held(*snapshots)} if snapshots else {}
    (report,) = verify_state(on_trace(trace), stored(pairs, "pairs"), topic, RULES, pairs_topic="pairs")
    return report


def test_an_undisturbed_state_is_settled() -> None:
    report = verified(formed(), learnt(formed()))
    assert report.settled
    assert (report.pairs, report.learnt, report.recorded, report.repeated) == (6, 6, 6, 0)
    assert report.identical
    assert report.open_runs == 0


def test_a_repeated_pair_is_counted_and_harms_nothing() -> None:
    values = [*formed(), *formed()[:2]]
    report = verified(values, learnt(values))
    assert report.settled
    assert report.repeated == 2


def test_what_several_people_say_of_one_pair_is_a_pair_each() -> None:
    vote = pair({"a.x": 1.0}, {"a.x": 0.0}, pair_id="one", task_id="t")
    votes = [
        replace(vote, meta={"annotator": "ann"}),
        replace(vote, meta={"annotator": "bob"}),
        replace(vote, meta={"annotator": "bob"}, tie=True),
        replace(vote, task_id="another"),
    ]
    values = [*map(encode, [*votes, *votes]), *formed()]
    report = verified(values, learnt(values))
    assert report.settled
    assert (report.pairs, report.learnt, report.recorded, report.repeated) == (10, 10, 10, 4)


def test_pairs_on_further_dimensions_than_are_learnt_are_none_that_are_missing() -> None:
    one = pair({"a.x": 1.0}, {"a.x": 0.0}, pair_id="one", task_id="t")
    votes = [encode(replace(one, dimension=f"dimension-{n}")) for n in range(MAX_DIMENSIONS + 1)]
    report = verified([*votes, *formed()], learnt([*votes, *formed()]))
    assert report.settled
    assert report.recorded == report.learnt == MAX_DIMENSIONS + 6


def test_a_lost_pair_is_missing() -> None:
    values = formed()[1:]
    report = verified(values, learnt(values))
    assert len(report.missing) == 1
    assert not report.consistent


def test_a_pair_that_no_trace_gives_is_unexplained() -> None:
    forged = pair({"a.x": 1.0}, {"a.x": 0.0}, label_source="critic", pair_id="forged", run_id="run-a")
    values = [encode(forged), *formed()]
    report = verified(values, learnt(values))
    assert report.unexplained == ("forged",)
    assert not report.consistent


def test_a_pair_learnt_twice_is_found_by_the_count_and_by_the_bytes() -> None:
    values = formed()
    once = learnt(values)
    twice = sealed(replace(once, labels={"critic": once.labels["critic"] + 1}))
    report = verified(values, twice)
    assert (report.recorded, report.learnt, report.identical) == (6, 7, False)
    assert not report.consistent


def test_a_snapshot_with_another_weight_is_not_identical() -> None:
    last = learnt(formed())
    report = verified(formed(), sealed(replace(last, weights=dict.fromkeys(last.weights, 9.0))))
    assert report.identical is False
    assert not report.consistent


def test_a_learner_that_is_behind_is_consistent_and_not_settled() -> None:
    report = verified(formed(), learnt(formed()[:2]))
    assert report.consistent
    assert not report.settled
    assert report.not_learnt == 4


def test_a_pair_former_that_is_behind_is_consistent_and_not_settled() -> None:
    values = formed(TRACE[:4])
    report = verified(values, learnt(values))
    assert report.consistent
    assert not report.settled
    assert report.not_closed == ("run-b",)


def test_pairs_of_an_open_run_are_settled_as_far_as_they_go() -> None:
    trace = [*TRACE, event(0, 0.2, run_id="run-c"), event(1, 0.6, run_id="run-c")]
    values = formed(trace)
    report = verified(values, learnt(values), trace=trace)
    assert report.settled
    assert report.open_runs == 1


@pytest.mark.parametrize("source", ["human", "proxy"])
def test_pairs_of_people_and_judges_are_from_elsewhere(source: str) -> None:
    judged = pair({"a.x": 1.0}, {"a.x": 0.0}, label_source=source)  # type: ignore[arg-type]
    values = [*formed(), encode(judged), encode(judged)]
    report = verified(values, learnt(values))
    assert report.settled
    assert report.from_elsewhere == 2


def test_runs_whose_beginning_is_gone_from_the_trace_topic_are_from_elsewhere() -> None:
    report = verified(formed(), learnt(formed()), trace=TRACE[2:])
    assert report.settled
    assert report.from_elsewhere == len(formed(TRACE[:4])) - 1


def test_a_run_whose_first_iteration_could_not_be_published_is_compared() -> None:
    _, second, third, _ = run([0.1, 0.9, 0.5])
    trace = [second, third, RunEnd(run_id="run-a", iterations=(1, 2))]
    values = formed(trace)
    report = verified(values[1:], learnt(values[1:]), trace=trace)
    assert len(report.missing) == 1


def test_what_cannot_be_read_is_no_difference() -> None:
    values = [*formed(), b"{]"]
    report = verified(values, learnt(values))
    assert report.settled
    (again,) = verify_state(
        [*stored([b"\xff"], "trace"), *on_trace(TRACE)],
        stored(values, "pairs"),
        {"default": held(learnt(values))},
        RULES,
        pairs_topic="pairs",
    )
    assert again == report


def test_after_a_rollback_the_bytes_are_compared_and_the_counts_are_not() -> None:
    earlier = learner_of(formed()[:2]).checkpoint()
    values = [*formed(), encode(rollback_to(earlier, "a test"))]
    report = verified(values, learnt(values))
    assert report.settled
    assert (report.recorded, report.identical) == (None, True)


@pytest.mark.parametrize("change", [{}, {"labels": {"critic": 7}}], ids=["true", "forged"])
def test_the_newest_checkpoint_is_compared_with_the_log_too(change: dict[str, object]) -> None:
    state = learner_of(formed()[:4]).checkpoint()
    checkpoint = replace(state, state=state.state | change)
    assert verified(formed(), checkpoint, learnt(formed())).identical is (not change)


def test_each_model_has_a_report() -> None:
    rules = PairingRules(model_by="family")
    trace = [*run([0.1, 0.9]), event(0, 0.2, run_id="c", context={"family": "push"})]
    trace += [event(1, 0.6, run_id="c", context={"family": "push"})]
    reports = verify_state(on_trace(trace), [], {}, rules, pairs_topic="pairs")
    assert [report.model for report in reports] == ["default", "default.push"]


def test_without_anything_there_is_one_report_and_it_is_settled() -> None:
    report = verified([], trace=[])
    assert report.settled
    assert (report.pairs, report.version, report.identical) == (0, None, None)
