"""A run or a suite that goes on while Kafka knows more, or less, of it than its folder does."""

from __future__ import annotations

import shlex
import signal
import sys
from collections import Counter
from pathlib import Path

import orjson
import pytest

from streams.errors import BadInput
from streams.kafka import run_messages
from streams.kafka.reader import read_topic
from streams.kafka.run_messages import read_run
from streams.kafka.settings import TOPIC_PREFIX_VARIABLE, Settings
from streams.messages.codec import decode_trace
from streams.messages.contracts import RunEnd
from streams.spool.publish_now import publish_messages
from tests.factories import event, revision, run
from tests.tribrain.processes import command
from tribrain.cli import main

GOAL = "move the red cube to the bowl"
AWAY = "127.0.0.1:1"
JUDGE = """
import json, sys
from pathlib import Path
if (Path(__file__).parent / "dead").exists():
    sys.exit(7)
if (Path(__file__).parent / "down").exists() and "iter_00" not in sys.argv[1]:
    sys.exit(7)
print(json.dumps({"task": 0.5}))
"""


@pytest.fixture(autouse=True)
def prefix(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOPIC_PREFIX_VARIABLE, settings.topic_prefix)


def code_of(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code


def simulated(out: Path, servers: str, *options: str) -> list[str]:
    return [
        *("run", "simulated", "--goal", GOAL, "--iters", "4", "--seed", "1", "--out", str(out)),
        *("--bootstrap-servers", servers, *options),
    ]


def killed(arguments: list[str], settings: Settings, place: str, said: Path) -> None:
    environment = {TOPIC_PREFIX_VARIABLE: settings.topic_prefix, "TRIBRAIN_FAIL_POINT": place}
    with command(arguments, said, **environment) as running:
        assert running.wait(120) == -signal.SIGKILL, running.output


def sent(settings: Settings) -> Counter[bytes]:
    return Counter(message.value for message in read_topic(settings, settings.trace_topic))


def ids_on(settings: Settings) -> set[str]:
    return {
        decode_trace(message.value, message).run_id for message in read_topic(settings, settings.trace_topic)
    }


def lines(out: Path) -> list[bytes]:
    return (out / "trace.jsonl").read_bytes().splitlines()


def test_a_killed_run_that_somebody_else_ended_makes_no_further_video_and_says_so(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a"
    arguments = simulated(out, settings.bootstrap_servers)
    killed(arguments, settings, "publisher.deleted:2", tmp_path / "said")
    before = lines(out)
    (run_id,) = ids_on(settings)
    assert code_of("run", "end", run_id, "--bootstrap-servers", settings.bootstrap_servers) == 0
    on_kafka = sent(settings)
    capsys.readouterr()
    assert code_of(*arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "the run cannot continue, as its end is on Kafka, where it is final" in last
    assert "--fresh" in last
    assert lines(out) == before
    assert sent(settings) == on_kafka


def test_a_run_whose_broker_is_away_goes_on_and_says_that_it_could_not_look(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = simulated(tmp_path / "a", AWAY)
    killed(arguments, settings, "record.pushed:2", tmp_path / "said")
    assert code_of(*arguments) == 0
    assert "could not be seen whether Kafka has its end: no Kafka broker answers" in capsys.readouterr().err
    assert len(lines(tmp_path / "a")) == 5


def test_what_never_came_to_kafka_is_sent_when_the_run_goes_on_and_nothing_else_again(
    settings: Settings, tmp_path: Path
) -> None:
    out = tmp_path / "a"
    killed(simulated(out, AWAY), settings, "record.pushed:2", tmp_path / "said")
    for lost in out.glob("spool.sqlite*"):
        lost.unlink()
    publish_messages(settings, [decode_trace(lines(out)[1], "line 2")], timeout_s=30)
    assert code_of(*simulated(out, settings.bootstrap_servers)) == 0
    assert sent(settings) == Counter(lines(out))


def test_a_run_is_not_begun_under_the_name_of_another_one_on_kafka(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (simulated(tmp_path / name, settings.bootstrap_servers, "--run-id", "a") for name in "xy")
    assert code_of(*one) == 0
    on_kafka = sent(settings)
    capsys.readouterr()
    assert code_of(*other) == 2
    assert "tribrain: a: Kafka has another run of this name" in capsys.readouterr().err
    assert not (tmp_path / "y" / "iter_00").exists()
    assert sent(settings) == on_kafka
    other[other.index("a")] = "b"
    assert code_of(*other, "--fresh") == 0


def test_a_run_does_not_go_on_where_another_of_its_name_came_to_kafka_first(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a"
    killed(simulated(out, AWAY, "--run-id", "a"), settings, "record.pushed:2", tmp_path / "said")
    publish_messages(settings, [event(0, 0.5, run_id="a")], timeout_s=30)
    assert code_of(*simulated(out, settings.bootstrap_servers)) == 2
    assert "tribrain: a: Kafka has another run of this name" in capsys.readouterr().err
    assert len(lines(out)) == 2


def suite(folder: Path, settings: Settings) -> list[str]:
    (folder / "judge.py").write_text(JUDGE)
    (folder / "prompts.jsonl").write_bytes(
        b"".join(orjson.dumps({"index": n, "generated_description": GOAL}) + b"\n" for n in range(3))
    )
    judge = f"judge={shlex.join([sys.executable, '-S', str(folder / 'judge.py')])} {{video}}"
    return [
        *("suite", "run", "--prompts", str(folder / "prompts.jsonl"), "--world", "simulated", "--iters", "3"),
        *("--suite-id", "s", "--out", str(folder / "s"), "--max-failures", "2", "--critic", judge),
        *("--bootstrap-servers", settings.bootstrap_servers),
    ]


def test_a_suite_whose_judge_was_down_goes_on_and_kafka_has_what_its_traces_have(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = suite(tmp_path, settings)
    (tmp_path / "down").touch()
    assert code_of(*arguments) == 4
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].endswith("fix that and run the same command again: it continues")
    assert "s: 0 of 3 runs finished" in said.out
    assert not any(isinstance(decode_trace(line, "it"), RunEnd) for line in sent(settings))
    (tmp_path / "down").unlink()
    assert code_of(*arguments) == 0
    assert "s: 3 of 3 runs finished" in capsys.readouterr().out
    traces = [line for n in range(3) for line in lines(tmp_path / "s" / "runs" / f"s-{n:08d}")]
    assert set(sent(settings)) == set(traces)
    assert len(traces) == 12


def test_a_failed_run_of_a_suite_that_was_rescored_comes_to_kafka_whole_by_the_same_command(
    settings: Settings, tmp_path: Path
) -> None:
    arguments = [*suite(tmp_path, settings), "--shard", "1/3"]
    arguments[arguments.index("--max-failures") + 1] = "9"
    (tmp_path / "dead").touch()
    assert code_of(*arguments) == 4
    assert sent(settings) == Counter()
    (tmp_path / "dead").unlink()
    out = tmp_path / "s" / "runs" / "s-00000000"
    assert code_of("run", "rescore", str(out), *arguments[arguments.index("--critic") :][:2]) == 0
    for _ in range(2):
        assert code_of(*arguments) == 0
        assert sent(settings) == Counter(lines(out))
    assert len(lines(out)) == 8


def test_a_suite_names_the_run_that_somebody_else_ended_and_is_not_done(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = suite(tmp_path, settings)
    (tmp_path / "down").touch()
    assert code_of(*arguments) == 4
    assert code_of("run", "end", "s-00000000", "--bootstrap-servers", settings.bootstrap_servers) == 0
    (tmp_path / "down").unlink()
    for _ in range(2):
        capsys.readouterr()
        assert code_of(*arguments) == 4
        said = capsys.readouterr()
        assert "s: 2 of 3 runs finished" in said.out
        last = said.err.splitlines()[-1]
        assert "1 of 3 runs failed or were given up: s-00000000; at last critic judge" in last
        assert (
            "s-00000000 cannot continue, as its end is on Kafka, where it is final: tribrain run rescore"
            in last
        )
        assert not last.endswith("it continues")


def test_a_run_is_found_among_many_others_up_to_its_first_iteration(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_messages, "BLOCK", 3)
    wanted = run([0.1, 0.2, 0.3, 0.4], run_id="wanted")
    others = [run([0.1] * 5, run_id=f"other-{n}") for n in range(8)]
    before, after = (message for of in others[:4] for message in of), (m for of in others[4:] for m in of)
    messages = [*before, *wanted[:2], *after, *wanted[2:], *revision(wanted, {1: 0.9})]
    publish_messages(settings, messages, timeout_s=30)
    assert sorted(map(repr, read_run(settings, "wanted"))) == sorted(map(repr, wanted))
    assert read_run(settings, "absent") == []


def test_a_topic_that_takes_too_long_to_read_is_not_read_to_its_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_messages(settings, run([0.1, 0.2]), timeout_s=30)
    monkeypatch.setattr(run_messages, "monotonic", iter((0.0, 10.1)).__next__)
    with pytest.raises(BadInput, match="could not be read within 10 s"):
        read_run(settings, "absent")
