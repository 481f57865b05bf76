"""The benchmark runs and says what it is meant to say; how fast anything is, is not asserted."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from click.testing import CliRunner

from streams.messages.contracts import RunEnd
from tests.bench import __main__ as program
from tests.bench.jobs import Measurement, in_memory
from tests.bench.measures import find
from tests.bench.peers import PEERS
from tests.bench.results import LIMIT, LIVE, as_json, as_markdown, as_text, disagreements
from tests.bench.workload import EVENTS_PER_RUN, Workload, make_workload


def test_the_workload_is_the_same_for_the_same_seed_and_as_large_as_stated() -> None:
    workload = make_workload(100, seed=3)
    assert workload == make_workload(100, seed=3)
    assert workload.events != make_workload(100, seed=4).events
    assert len(workload.events) == workload.runs * EVENTS_PER_RUN == 108
    assert sum(isinstance(event, RunEnd) for event in workload.events) == workload.runs
    assert 600 < workload.mean_bytes < 800


def test_the_in_memory_job_makes_the_same_pairs_each_time() -> None:
    workload = make_workload(45, seed=0)
    first, second = in_memory(workload), in_memory(workload)
    assert first.pair_ids
    assert first.pair_ids == second.pair_ids
    assert first.wall_s > 0


def test_ratios_are_to_the_limit_of_the_same_repetition() -> None:
    limits = [_measurement(1.0, 1.0), _measurement(2.0, 2.0), _measurement(4.0, 4.0)]
    others = [_measurement(2.0, 3.0), _measurement(4.0, 6.0), _measurement(8.0, None)]
    summary = as_json(_tiny(), {LIMIT: limits, LIVE: others}, "a broker")
    n_events = summary["events"]
    assert summary["jobs"] == {
        LIMIT: {
            "events_per_s": n_events / 2.0,
            "cpu_us_per_event": pytest.approx(2e6 / n_events, abs=0.1),
            "cpu_us_least_and_most": pytest.approx([1e6 / n_events, 4e6 / n_events], abs=0.1),
            "speed_ratio": 1.0,
            "cpu_ratio": 1.0,
            "live_ratio": 0.333,
        },
        LIVE: {
            "events_per_s": pytest.approx(n_events / 4.0, abs=0.1),
            "cpu_us_per_event": pytest.approx(4.5e6 / n_events, abs=0.1),
            "cpu_us_least_and_most": pytest.approx([3e6 / n_events, 6e6 / n_events], abs=0.1),
            "speed_ratio": 0.5,
            "cpu_ratio": 3.0,
            "live_ratio": 1.0,
        },
    }


def test_a_system_that_tells_no_processor_time_leaves_gaps() -> None:
    measured = {LIMIT: [_measurement(1.0, 1.0)], "other": [_measurement(2.0, None)]}
    summary = as_json(_tiny(), measured, "a broker")
    assert summary["jobs"]["other"]["cpu_ratio"] is None
    (row,) = [line for line in as_text(summary).splitlines() if line.startswith("other")]
    assert row.split() == ["other", "–", "–", "0.500", "–", "–", "4"]


def test_the_table_names_all_that_the_figures_depend_on() -> None:
    result = CliRunner().invoke(program.bench, ["--events", "27", "--repeat", "2", "--in-memory-only"])
    assert result.exit_code == 0, result.output
    heading, _, limit, *below = result.stdout.splitlines()
    for column in ("CPU ÷ limit", "CPU ÷ live", "speed ÷ limit", "µs CPU/event", "spread", "events/s"):
        assert column in heading
    assert limit.startswith(LIMIT)
    assert limit.removeprefix(LIMIT).split()[:3] == ["1.00", "–", "1.000"]
    for fact in (
        "27 events (3 runs",
        "seed 0",
        "medians of 2",
        "broker: none",
        "Python 3.",
        "cores",
        "river",
    ):
        assert fact in "\n".join(below)


def test_json_has_the_fields_of_the_table() -> None:
    arguments = ["--events", "9", "--seed", "5", "--repeat", "1", "--in-memory-only", "--json"]
    result = CliRunner().invoke(program.bench, arguments)
    assert result.exit_code == 0, result.output
    summary = orjson.loads(result.stdout)
    given = {"seed": 5, "events": 9, "runs": 1, "repetitions": 1, "broker": None}
    assert (summary["findings"], summary["left_out"]) == ([], [])
    assert {name: summary[name] for name in given} == given
    measured = {"date", "mean_event_bytes", "pairs", "cores", "system", "python", "packages", "jobs"}
    assert summary.keys() == given.keys() | measured | {"findings", "left_out"}
    assert set(summary["packages"]) >= {"tribrain", "faust-streaming", "kafka-python", "river"}
    row = {"events_per_s", "cpu_us_per_event", "cpu_us_least_and_most"}
    assert summary["jobs"][LIMIT].keys() == row | {"speed_ratio", "cpu_ratio", "live_ratio"}
    assert summary["jobs"][LIMIT]["speed_ratio"] == summary["jobs"][LIMIT]["cpu_ratio"] == 1.0


def test_other_pairs_than_the_limit_has_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    right = _measurement(1.0, 1.0)
    wrong = replace(right, pair_ids=frozenset({"b", "c", "d"}))
    measured = {LIMIT: [right], "live agent": [right, wrong]}
    assert disagreements(measured) == [
        "live agent, repetition 2: 1 pairs are missing and 2 are too many",
    ]
    repetitions = iter([right, right, wrong])
    monkeypatch.setattr(program, "in_memory", lambda _: next(repetitions))
    result = CliRunner().invoke(program.bench, ["--events", "9", "--repeat", "2", "--in-memory-only"])
    assert result.exit_code == 1
    assert "1 pairs are missing and 2 are too many" in result.stderr


def test_the_log_and_the_live_trainer_make_the_pairs_of_the_limit(kafka: str) -> None:
    only = ["--only", "replay", "--only", "replay-file", "--only", "live"]
    arguments = ["--events", "27", "--repeat", "1", "--bootstrap-servers", kafka, "--json", *only]
    result = CliRunner().invoke(program.bench, arguments)
    assert result.exit_code == 0, result.output
    jobs = orjson.loads(result.stdout)["jobs"]
    assert list(jobs) == [LIMIT, program.REPLAY_FILE, program.REPLAY, LIVE]
    assert all(job["events_per_s"] > 0 for job in jobs.values())


def test_without_a_broker_there_is_one_line_that_says_so() -> None:
    result = CliRunner().invoke(program.bench, ["--events", "9", "--bootstrap-servers", "127.0.0.1:9"])
    assert result.exit_code == 1
    assert "no Kafka broker answers" in result.stderr


def test_a_peer_with_the_same_core_makes_the_pairs_of_the_limit(kafka: str) -> None:
    arguments = ["--events", "27", "--repeat", "1", "--bootstrap-servers", kafka, "--json"]
    result = CliRunner().invoke(program.bench, [*arguments, "--only", "bare_confluent"])
    assert result.exit_code == 0, result.output
    assert list(orjson.loads(result.stdout)["jobs"]) == [LIMIT, "bare confluent-kafka"]


def test_a_peer_that_is_not_installed_is_left_out_and_named(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEERS, "bytewax", ("bytewax_flow", "no_such_package"))
    arguments = ["--events", "9", "--repeat", "1", "--bootstrap-servers", kafka, "--only", "bytewax_flow"]
    result = CliRunner().invoke(program.bench, arguments)
    assert result.exit_code == 0, result.output
    assert "bytewax: not installed" in result.stdout


def test_a_measure_s_findings_are_in_the_document_and_in_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIBRAIN_BENCH_EVENTS", "900")
    found = find("memory", None)
    measured = {LIMIT: [_measurement(1.0, 1.0)]}
    summary = as_json(_tiny(), measured, None, found)
    document = as_markdown(summary)
    assert "| memory of the last tenth ÷ the second | 1" in document
    assert "900 events" in document
    assert "\nmemory of the last tenth ÷ the second: 1" in as_text(summary)


def _measurement(wall_s: float, cpu_s: float | None) -> Measurement:
    return Measurement(wall_s=wall_s, cpu_s=cpu_s, pair_ids=frozenset({"a", "b"}))


def _tiny() -> Workload:
    return make_workload(9, seed=0)
