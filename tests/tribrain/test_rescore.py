"""``tribrain rescore``: a run whose judge was down is judged later, and readers take what it says then."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from runner.loop.rescored_so_far import NAME
from streams.fail_points import VARIABLE
from streams.messages.codec import encode
from streams.messages.contracts import PreferencePair, RunEnd, TraceEvent
from streams.messages.files import read_pairs, read_trace, read_trace_lines
from tests.tribrain.processes import command, needs_proc
from trainers.datasets.preferences import pairs_of_runs
from trainers.datasets.samples import read_runs, samples_of
from trainers.pairs.pairing import PairingRules
from tribrain.cli import main
from tribrain.shell.exclusive_lock import exclusive_lock

GOAL = "move the red cube to the bowl"
JUDGE = """
import json
import sys
from pathlib import Path

folder, iteration = Path(__file__).parent, Path(sys.argv[1]).parent.name
with (folder / "asked").open("a") as asked:
    print(iteration, file=asked)
down = (folder / "down").read_text().split() if (folder / "down").exists() else []
if iteration in down or "all" in down:
    sys.exit(3)
in_part = {"physics": None, "no_score": "failed"} if (folder / "in_part").exists() else {}
print(json.dumps({"task": round(0.9 - 0.2 * int(iteration[-2:]), 1), **in_part}))
"""
RUN = (
    "--goal",
    GOAL,
    "--iters",
    "3",
    "--seed",
    "1",
    "--run-id",
    "a",
    "--max-failures",
    "9",
    "--no-pixel-critics",
)


class Judged:
    """A run's folder, and the judge beside it."""

    def __init__(self, place: Path) -> None:
        self.place, self.out = place, place / "a"

    @property
    def critic(self) -> str:
        return f"judge={shlex.quote(sys.executable)} -S {shlex.quote(str(self.place / 'judge.py'))} {{video}}"

    @property
    def asked(self) -> list[str]:
        """Iterations that the judge has looked at."""
        path = self.place / "asked"
        return path.read_text().split() if path.exists() else []

    def down_on(self, *iterations: str) -> None:
        (self.place / "down").write_text(" ".join(iterations))
        (self.place / "asked").unlink(missing_ok=True)

    def rescore(self, *options: str, code: int = 0) -> None:
        tribrain("rescore", str(self.out), "--critic", self.critic, *options, code=code)

    def scores(self) -> list[float | None]:
        return [m.overall_score for m in read_trace(self.out / "trace.jsonl") if isinstance(m, TraceEvent)]

    def files(self) -> dict[str, bytes]:
        """All but the trace."""
        paths = [path for path in self.out.rglob("*") if path.is_file() and path.name != "trace.jsonl"]
        return {str(path.relative_to(self.out)): path.read_bytes() for path in paths}

    @property
    def trace(self) -> bytes:
        return (self.out / "trace.jsonl").read_bytes()


def tribrain(*words: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == code


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose judge was down all the time."""
    judged = Judged(tmp_path_factory.mktemp("made"))
    (judged.place / "judge.py").write_text(JUDGE)
    judged.down_on("all")
    tribrain("run-simulated", "--out", str(judged.out), "--critic", judged.critic, *RUN, code=4)
    return judged.place


@pytest.fixture
def judged(made: Path, tmp_path: Path) -> Judged:
    """A copy of it; the judge is back."""
    shutil.copytree(made, tmp_path / "made")
    found = Judged(tmp_path / "made")
    found.down_on()
    return found


def test_a_run_whose_judge_was_down_has_its_scores_once_it_is_back(judged: Judged) -> None:
    assert judged.scores() == [None, None, None]
    judged.rescore()
    assert judged.scores() == [0.9, 0.7, 0.5]
    *events, end = read_trace(judged.out / "trace.jsonl")
    assert isinstance(end, RunEnd)
    assert (end.run, end.iterations) == (("a", 1), (0, 1, 2))
    assert [m.meta["rescored"] for m in events if isinstance(m, TraceEvent)] == [["judge"]] * 3


def test_nothing_but_the_trace_changes_which_only_grows(judged: Judged) -> None:
    files, trace = judged.files(), judged.trace
    judged.rescore()
    assert judged.files() == files
    assert judged.trace.startswith(trace)


def test_only_videos_that_lack_a_score_are_judged_unless_all_are_asked_for(judged: Judged) -> None:
    judged.down_on("iter_01")
    judged.rescore()
    assert judged.scores() == [0.9, None, 0.5]
    judged.down_on()
    judged.rescore()
    assert (judged.asked, judged.scores()) == (["iter_01"], [0.9, 0.7, 0.5])
    judged.down_on()
    judged.rescore()
    assert judged.asked == []
    assert [message.revision for _, message in read_trace_lines(judged.out / "trace.jsonl")][-1] == 2
    judged.rescore("--all")
    assert Counter(judged.asked) == Counter(f"iter_{n:02d}" for n in range(3))
    revisions = Counter(m.revision for _, m in read_trace_lines(judged.out / "trace.jsonl"))
    assert revisions == {0: 4, 1: 4, 2: 4, 3: 4}


def test_a_critic_that_was_not_there_is_one_more(judged: Judged) -> None:
    judged.rescore()
    other = judged.critic.replace("judge=", "other=")
    tribrain("rescore", str(judged.out), "--critic", other)
    events = [m for m in read_trace(judged.out / "trace.jsonl") if isinstance(m, TraceEvent)]
    assert [r.critic_name for r in events[0].critic_results] == ["judge", "other"]


def test_where_every_judgement_fails_nothing_is_written(
    judged: Judged, capsys: pytest.CaptureFixture[str]
) -> None:
    judged.down_on("all")
    files, trace = judged.files(), judged.trace
    judged.rescore("--max-failures", "9", code=4)
    assert (judged.files(), judged.trace) == (files, trace)
    assert "no critic gave a score; critic judge: the critic ended with status 3" in capsys.readouterr().err


def test_it_is_given_up_after_so_many_failures_and_goes_on_with_what_was_said(
    judged: Judged, capsys: pytest.CaptureFixture[str]
) -> None:
    judged.down_on("iter_01", "iter_02")
    trace = judged.trace
    judged.rescore("--max-failures", "2", code=4)
    assert "given up, as critic judge failed on 2 videos in a row" in capsys.readouterr().err
    assert judged.trace == trace
    judged.down_on()
    judged.rescore("--max-failures", "2")
    assert (judged.asked, judged.scores()) == (["iter_01", "iter_02"], [0.9, 0.7, 0.5])


def test_one_failure_is_one_video(judged: Judged, capsys: pytest.CaptureFixture[str]) -> None:
    judged.down_on("all")
    judged.rescore("--max-failures", "1", code=4)
    assert "given up, as critic judge failed on 1 video in a row" in capsys.readouterr().err


def test_a_critic_that_failed_in_part_until_it_was_given_up_is_asked_again(judged: Judged) -> None:
    (judged.place / "in_part").touch()
    trace = judged.trace
    judged.rescore("--max-failures", "2", code=4)
    (judged.place / "in_part").unlink()
    assert (judged.asked, judged.trace) == (["iter_00", "iter_01"], trace)
    judged.down_on("iter_01")
    judged.rescore("--max-failures", "2")
    assert judged.asked == ["iter_00", "iter_01", "iter_02"]
    assert judged.scores() == [0.9, 0.7, 0.5]  # for iteration 1, as it said before it was down


def test_a_critic_that_the_run_required_is_required_still(made: Path, tmp_path: Path) -> None:
    found = Judged(tmp_path)
    shutil.copy(made / "judge.py", tmp_path)
    found.down_on("all")
    options = ("--require-critic", "judge", *RUN[:-1])
    tribrain("run-simulated", "--out", str(found.out), "--critic", found.critic, *options, code=4)
    found.down_on("iter_00")
    found.rescore()
    first, *others = found.scores()
    assert first is None
    assert None not in others


def test_a_critic_that_a_rescoring_required_is_required_from_then_on(
    judged: Judged, capsys: pytest.CaptureFixture[str]
) -> None:
    """Iteration 0 would be the best, as the other critic likes it most."""
    other = judged.critic.replace("judge=", "other=")
    tribrain("rescore", str(judged.out), "--critic", other)
    judged.down_on("iter_00")
    judged.rescore("--require-critic", "judge")
    assert "a video without a score of judge is no candidate" in capsys.readouterr().out
    for options in (("--critic", other.replace("other=", "third=")), ("--critic", other, "--all")):
        judged.down_on()
        tribrain("rescore", str(judged.out), *options, "--json")
        said = orjson.loads(capsys.readouterr().out)
        assert (said["required"], said["best_iter"]) == (["judge"], 1)
        assert [score is None for score in judged.scores()] == [True, False, False]


def test_a_critic_may_be_required_though_nothing_is_left_to_judge(
    judged: Judged, capsys: pytest.CaptureFixture[str]
) -> None:
    other = judged.critic.replace("judge=", "other=")
    tribrain("rescore", str(judged.out), "--critic", other)
    judged.down_on("iter_00")
    judged.rescore()
    for revision in (3, None):
        capsys.readouterr()
        tribrain("rescore", str(judged.out), "--critic", other, "--require-critic", "judge", "--json")
        said = orjson.loads(capsys.readouterr().out)
        assert (said["revision"], said["videos"], said["required"]) == (revision, 0, ["judge"])
        assert [score is None for score in judged.scores()] == [True, False, False]


def given_up(made: Path, place: Path) -> tuple[Judged, list[str]]:
    """A run of five iterations that its judge ended after two, and its command; the judge is back."""
    found = Judged(place)
    shutil.copy(made / "judge.py", place)
    found.down_on("all")
    given = ["--goal", GOAL, "--iters", "5", "--seed", "1", "--max-failures", "2"]
    command = ["run-simulated", "--out", str(found.out), "--critic", found.critic, *given]
    tribrain(*command, code=4)
    found.down_on()
    return found, command


def test_a_run_that_was_given_up_goes_on_after_it(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, command = given_up(made, tmp_path)
    found.rescore()
    capsys.readouterr()
    tribrain(*command)
    said = capsys.readouterr()
    assert "5 iterations, best is iteration" in said.out
    assert [line.partition(":")[0] for line in said.err.splitlines()] == [f"iteration {n}" for n in range(5)]
    *events, end = read_trace(found.out / "trace.jsonl")
    assert isinstance(end, RunEnd)
    assert (end.stop_reason, end.iterations, end.revision) == ("max_iters", (0, 1, 2, 3, 4), 0)
    judges = [
        r for e in events if isinstance(e, TraceEvent) for r in e.critic_results if r.critic_name == "judge"
    ]
    assert [result.scores for result in judges] == [{"task": round(0.9 - 0.2 * n, 1)} for n in range(5)]


def test_a_run_does_not_go_on_where_that_would_lose_a_score_that_came_later(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, command = given_up(made, tmp_path)
    found.rescore()
    tribrain("rescore", str(found.out), "--critic", found.critic.replace("judge=", "other="))
    before = found.trace
    tribrain(*command, code=2)
    assert "was given up and cannot continue" in capsys.readouterr().err
    assert found.trace == before


def test_a_failed_run_that_another_critic_judged_later_says_why_it_does_not_go_on(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, command = given_up(made, tmp_path)
    tribrain("rescore", str(found.out), "--critic", found.critic.replace("judge=", "other="))
    before = found.trace
    capsys.readouterr()
    tribrain(*command, code=4)
    assert capsys.readouterr().err.endswith(
        "; it cannot continue, as going on would lose scores that a rescoring gave later: those of critic "
        "other; begin anew with --fresh, or choose another --out\n"
    )
    assert found.trace == before


@needs_proc
@pytest.mark.parametrize("place", ["rescore.judged:2", "rescore.written"])
def test_killed_anywhere_it_leaves_the_trace_as_it_was_or_whole_and_goes_on(
    judged: Judged, place: str
) -> None:
    before = judged.trace
    arguments = ("rescore", str(judged.out), "--critic", judged.critic)
    with command(arguments, judged.place / "said", **{VARIABLE: place}) as killed:
        assert killed.wait(60) == -signal.SIGKILL
    written = place == "rescore.written"
    assert (judged.trace == before) != written
    judged.down_on()
    judged.rescore()
    assert judged.asked == ([] if written else ["iter_02"])
    assert judged.scores() == [0.9, 0.7, 0.5]
    assert judged.trace.count(b'"revision":1') == 4
    assert not (judged.out / NAME).exists()


def test_a_run_that_another_process_works_on_is_refused(
    judged: Judged, capsys: pytest.CaptureFixture[str]
) -> None:
    with exclusive_lock(judged.out, "--out", "", name="run.lock"):
        judged.rescore(code=2)
    assert "another process is at work on the run in it" in capsys.readouterr().err


def test_a_run_that_has_not_ended_is_refused(judged: Judged, capsys: pytest.CaptureFixture[str]) -> None:
    trace = judged.out / "trace.jsonl"
    trace.write_bytes(b"".join(judged.trace.splitlines(keepends=True)[:-1]))
    judged.rescore(code=2)
    assert "the run has not ended; go on with it" in capsys.readouterr().err


def test_a_trace_of_the_original_tribrain_gets_its_end_and_a_revision(judged: Judged) -> None:
    lines = []
    for line in judged.trace.splitlines()[:-1]:
        event = orjson.loads(line)
        del event["schema"]
        lines.append(orjson.dumps(event) + b"\n")
    (judged.out / "trace.jsonl").write_bytes(b"".join(lines).rstrip(b"\n"))
    judged.rescore()
    messages = [message for _, message in read_trace_lines(judged.out / "trace.jsonl")]
    assert [message.run for message in messages if isinstance(message, RunEnd)] == [("a", 0), ("a", 1)]
    assert judged.scores() == [0.9, 0.7, 0.5]


def test_several_runs_in_one_trace_are_refused(judged: Judged, capsys: pytest.CaptureFixture[str]) -> None:
    other = judged.trace.replace(b'"run_id":"a"', b'"run_id":"b"')
    (judged.out / "trace.jsonl").write_bytes(judged.trace + other)
    judged.rescore(code=2)
    assert "holds 2 runs" in capsys.readouterr().err


def test_a_folder_without_a_run_is_refused_and_nothing_is_put_there(
    judged: Judged, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tribrain("rescore", str(tmp_path / "none"), "--critic", judged.critic, code=2)
    assert "trace.jsonl: no such file" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "give --critic NAME='COMMAND' or --pixel-critics"),
        (("--critic", "judge=x {prompt}"), "{video}"),
        (
            ("--critic", "judge=true {video}", "--require-critic", "nobody"),
            "the run has no such critic",
        ),
    ],
)
def test_critics_that_cannot_be_used_are_bad_input(
    judged: Judged, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = judged.trace
    tribrain("rescore", str(judged.out), *options, code=2)
    assert said in capsys.readouterr().err
    assert judged.trace == trace


def test_a_video_that_is_gone_is_said_and_the_others_are_judged(
    judged: Judged, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(judged.out / "iter_01")
    judged.rescore()
    assert "iteration 1 cannot be judged: iter_01/video.mp4: is one of the videos that are missing" in (
        capsys.readouterr().err
    )
    assert judged.scores() == [0.9, None, 0.5]


def test_json_tells_what_was_judged_and_the_best(judged: Judged, capsys: pytest.CaptureFixture[str]) -> None:
    judged.down_on("iter_00")
    judged.rescore("--json")
    assert orjson.loads(capsys.readouterr().out) == {
        "run_id": "a",
        "revision": 1,
        "judged": {"judge": 2},
        "best_iter": 1,
        "best_score": 0.7,
        "published": False,
        "failed": {"judge": 1},
        "unreadable": 0,
        "required": [],
        "videos": 3,
    }


def test_the_built_in_critics_judge_where_they_are_asked_to(judged: Judged) -> None:
    tribrain("rescore", str(judged.out), "--pixel-critics")
    assert None not in judged.scores()


def exported(out: Path) -> list[float | None]:
    file = out.parent / "pairs.jsonl"
    tribrain("export-preference-pairs", "--run-dir", str(out), "--out", str(file))
    return [pair.chosen_score for pair in read_pairs(file) if isinstance(pair, PreferencePair)]


def of_datasets(out: Path) -> list[float | None]:
    samples, _ = samples_of(read_runs([out]))
    return [sample.event.overall_score for sample in samples]


def of_preferences(out: Path) -> list[float | None]:
    return [found.pair.rejected_score for found in pairs_of_runs(read_runs([out]), PairingRules())]


def replayed(out: Path) -> list[float | None]:
    file = out.parent / "replayed"
    tribrain("replay", "--trace", str(out / "trace.jsonl"), "--out", str(file))
    pairs = read_pairs(file / "pairs.jsonl")
    return [pair.rejected_score for pair in pairs if isinstance(pair, PreferencePair)]


def by_its_own_command(out: Path) -> list[float | None]:
    """The run goes on, where it would have tried again what failed."""
    (critic,) = orjson.loads((out / "run.json").read_bytes())["settings"]["critics"]
    before = (out / "trace.jsonl").read_bytes()
    tribrain("run-simulated", "--out", str(out), "--critic", critic, *RUN)
    assert (out / "trace.jsonl").read_bytes() == before
    return Judged(out.parent).scores()


READERS: dict[str, tuple[Callable[[Path], list[float | None]], list[float | None]]] = {
    "export-preference-pairs": (exported, [0.9, 0.9]),
    "build-dataset": (of_datasets, [0.9, 0.7, 0.5]),
    "export-preferences": (of_preferences, [0.7, 0.5]),
    "replay": (replayed, [0.7, 0.5]),
    "the run's own command": (by_its_own_command, [0.9, 0.7, 0.5]),
}


def test_a_rescored_run_says_what_its_newest_revision_lacks_and_makes_no_progress(
    judged: Judged, capsys: pytest.CaptureFixture[str]
) -> None:
    (critic,) = orjson.loads((judged.out / "run.json").read_bytes())["settings"]["critics"]
    (judged.place / "in_part").touch()
    judged.down_on("iter_02")
    judged.rescore("--max-failures", "9")
    for lacking in (
        [
            "critic judge gave no score for 1 of 3 videos",
            "critic judge gave not all of its scores for 2 of 3 videos",
        ],
        [],
    ):
        capsys.readouterr()
        tribrain("run-simulated", "--out", str(judged.out), "--critic", critic, *RUN)
        assert [line.partition(";")[0] for line in capsys.readouterr().err.splitlines()] == lacking
        (judged.place / "in_part").unlink(missing_ok=True)
        judged.down_on()
        judged.rescore()


@pytest.mark.parametrize("name", READERS)
def test_every_reader_takes_the_newest_revision(judged: Judged, name: str) -> None:
    read, expected = READERS[name]
    judged.rescore()
    assert sorted(read(judged.out), key=str) == sorted(expected, key=str)


def test_half_of_a_revision_changes_nothing_for_a_reader(judged: Judged) -> None:
    judged.rescore()
    trace = judged.out / "trace.jsonl"
    trace.write_bytes(b"".join(judged.trace.splitlines(keepends=True)[:-1]))
    assert (judged.scores(), of_datasets(judged.out)) == ([None, None, None], [])


def test_a_line_of_the_trace_is_a_message_as_any_other(judged: Judged) -> None:
    judged.rescore()
    for line, message in read_trace_lines(judged.out / "trace.jsonl"):
        assert encode(message) == line


def test_critics_whose_scores_are_more_than_a_video_can_have_cost_the_others_nothing(judged: Judged) -> None:
    many = judged.place / "many.json"
    many.write_bytes(orjson.dumps({f"m{i}": 0.5 for i in range(100)}))
    critics = [
        word
        for i in range(6)
        for word in ("--critic", f"c{i}=sh -c 'cat \"$0\"' {shlex.quote(str(many))} {{video}}")
    ]
    tribrain("rescore", str(judged.out), *critics[:4])
    tribrain("rescore", str(judged.out), "--max-failures", "9", *critics)
    events = [m for m in read_trace(judged.out / "trace.jsonl") if isinstance(m, TraceEvent)]
    for event in events:
        assert sum(len(result.scores) for result in event.critic_results) == 500
        assert "c5" not in {result.critic_name for result in event.critic_results}
