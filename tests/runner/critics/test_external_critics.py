"""Critics that are programs or installed packages: real processes that judge real videos."""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from runner.critics.chosen import chosen_critics, parse_critic
from runner.critics.command import CommandCritic
from runner.critics.entry_point import EntryPointCritic
from runner.critics.opinion import is_missing
from runner.critics.pixel import default_critics
from runner.interfaces import AnyCritic, Frames
from runner.loop.candidate import judge
from runner.video import write_video
from streams.errors import BadInput
from streams.messages.contracts import CriticResult
from streams.messages.no_score import critic_failed, no_score, why_failed
from tests.tribrain.processes import needs_proc
from tests.waiting import wait_until

NASTY = 'it\'s "red"; touch pwned $(touch pwned) {video} | & > x\n--help'
# Its worker holds the write end of a FIFO open for as long as it lives.
LINGER = """
import subprocess, sys, time
file = open(sys.argv[1] + ".alive", "w")
subprocess.Popen(["sleep", "60"], pass_fds=[file.fileno()])
file.write("up")
file.flush()
"""


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    write_video(path, np.full((4, 32, 32, 3), 90, dtype=np.uint8), 8.0)
    return path


@contextmanager
def fifo(video: Path) -> Iterator[int]:
    """The read end of the FIFO that a program's worker holds open."""
    os.mkfifo(f"{video}.alive")
    reader = os.open(f"{video}.alive", os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield reader
    finally:
        os.close(reader)


def nobody_writes(reader: int) -> bool:
    """Whether nobody holds the other end open any more."""
    os.set_blocking(reader, False)
    try:
        return os.read(reader, 1) == b""
    except BlockingIOError:
        return False


def program(script: str, folder: Path, arguments: str = "{video} {prompt} {goal}") -> str:
    path = folder / "critic.py"
    path.write_text(script)
    return f"{shlex.quote(sys.executable)} -S {shlex.quote(str(path))} {arguments}"


def said(critic: AnyCritic, video: Path, *, prompt: str = "p", goal: str = "g") -> CriticResult:
    (result,) = judge(video, [critic], prompt=prompt, goal=goal)
    return result


def of_command(script: str, video: Path, *, timeout_s: float = 20.0, prompt: str = "p") -> CriticResult:
    critic = CommandCritic("judge", program(script, video.parent), timeout_s)
    return said(critic, video, prompt=prompt)


def test_the_scores_that_a_program_prints_are_its_result(video: Path) -> None:
    script = """
import sys
print("loading"); print("careful", file=sys.stderr)
print('{"task": 0.75, "physics": 0.5, "notes": "fine"}')
print("bye")
"""
    result = of_command(script, video)
    assert (result.critic_name, result.scores) == ("judge", {"task": 0.75, "physics": 0.5})
    assert result.notes == "fine"


def test_video_prompt_and_goal_arrive_as_they_are_and_no_shell_sees_them(video: Path) -> None:
    script = "import json, sys; print(json.dumps({'task': 1, 'given': sys.argv[1:]}))"
    critic = CommandCritic("judge", program(script, video.parent), 20.0)
    result = said(critic, video, prompt=NASTY, goal="g {prompt}")
    assert result.extra["given"] == [str(video), NASTY, "g {prompt}"]
    assert list(video.parent.glob("*pwned*")) == []


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("import sys; print('{\"task\": 1}'); sys.exit('CUDA out of memory')", "ended with status 1"),
        ("print('no scores today')", "printed no JSON object"),
        ("print('{\"task\": 7}')", "task is 7"),
        ("print('{\"task\": NaN}')", "task is nan"),
        ('print(\'{"task": "0.5"}\')', "task is the text '0.5'"),
        (
            "import sys; sys.stdout.buffer.write(b'{\"t\\xe9\": 0.9}')",
            "a score is called 't\ufffd', which is not UTF-8",
        ),
        ("import os; os.abort()", "ended with status -6"),
    ],
)
def test_a_program_that_fails_is_missing_and_says_why(video: Path, script: str, why: str) -> None:
    result = of_command(script, video)
    assert is_missing(result)
    assert result.scores == {}
    assert why in result.notes


def test_a_quoted_score_of_a_program_failed_and_the_end_of_what_it_printed_is_kept(video: Path) -> None:
    script = """
import sys
print("a parser gave up", file=sys.stderr)
print('{"task": 0.9, "physics": "0.0"}')
"""
    result = of_command(script, video)
    assert result.scores == {"task": 0.9, "physics": None}
    assert critic_failed(result)
    assert why_failed(result) == "physics is the text '0.0'; expected a number in [0, 1]"
    assert result.extra["output"] == "a parser gave up"


def test_a_program_may_say_that_it_does_not_apply(video: Path) -> None:
    result = of_command('print(\'{"task": null, "no_score": "does_not_apply"}\')', video)
    assert result.scores == {"task": None}
    assert no_score(result) == "does_not_apply"


def test_the_end_of_what_a_failed_program_printed_is_kept(video: Path) -> None:
    script = "import sys; print('x' * 9000, file=sys.stderr); sys.exit('CUDA out of\\nmemory')"
    output = of_command(script, video).extra["output"]
    assert output.endswith("x CUDA out of memory")
    assert len(output) < 500


def test_a_prompt_that_no_program_can_be_given_makes_the_critic_missing(video: Path) -> None:
    assert "could not be started" in of_command("print(1)", video, prompt="a\0b").notes


def test_a_slow_program_is_missing_and_all_it_started_is_killed(video: Path) -> None:
    with fifo(video) as reader:
        result = of_command(LINGER + "time.sleep(60)", video, timeout_s=2.0)
        os.set_blocking(reader, True)
        assert result.notes == "missing: the critic was stopped after 2 s"
        assert os.read(reader, 2) == b"up"
        wait_until(lambda: nobody_writes(reader))


def test_what_a_finished_program_left_behind_is_killed(video: Path) -> None:
    with fifo(video) as reader:
        assert of_command(LINGER + "print('{\"task\": 1}')", video).scores == {"task": 1.0}
        os.set_blocking(reader, True)
        assert os.read(reader, 2) == b"up"
        wait_until(lambda: nobody_writes(reader))


def test_a_program_that_a_killed_process_left_behind_is_ended_when_the_video_is_judged_again(
    video: Path,
) -> None:
    command = program(LINGER + "time.sleep(60)", video.parent)
    killed = f"""
import os, time
from pathlib import Path
from runner.critics.command import CommandCritic
CommandCritic("judge", {command!r}, 60.0).begin(Path({str(video)!r}), prompt="p", goal="g")
while not os.path.getsize({f"{video}.seen"!r}):
    time.sleep(0.02)
os.kill(os.getpid(), 9)
"""
    seen = Path(f"{video}.seen")
    seen.touch()
    with fifo(video) as reader:
        with subprocess.Popen([sys.executable, "-c", killed]) as process:
            wait_until(lambda: select.select([reader], [], [], 0)[0] and os.read(reader, 2) == b"up", 60)
            seen.write_text("x")
            assert process.wait() == -9
        assert not nobody_writes(reader)
        said(CommandCritic("judge", "true {video}", 60.0), video)
        wait_until(lambda: nobody_writes(reader))
    assert list(video.parent.glob("*.lock")) == []


def test_ctrl_c_ends_the_program(video: Path) -> None:
    class Interrupted:
        """While the program is at work."""

        name = "pixels"

        def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
            os.set_blocking(reader, True)
            wait_until(lambda: os.read(reader, 2) == b"up")
            raise KeyboardInterrupt

    with fifo(video) as reader:
        critic = CommandCritic("judge", program(LINGER + "time.sleep(60)", video.parent), 60.0)
        both: list[AnyCritic] = [critic, Interrupted()]
        with pytest.raises(KeyboardInterrupt):
            judge(video, both, prompt="p", goal="g")
        wait_until(lambda: nobody_writes(reader))


def test_programs_look_at_a_video_at_the_same_time(video: Path) -> None:
    """Each waits until the other has begun, so one after the other they would never end."""
    for name in "ab":
        os.mkfifo(video.parent / name)
    meet = """
import sys
mine, other = sys.argv[2:]
if mine < other: open(mine, "w").close(); open(other).close()
else: open(other).close(); open(mine, "w").close()
print('{"task": 1}')
"""
    critics = [
        CommandCritic(
            x, program(meet, video.parent, f"{{video}} {video.parent / x} {video.parent / y}"), 20.0
        )
        for x, y in ("ab", "ba")
    ]
    results = judge(video, critics, prompt="p", goal="g")
    assert [result.scores for result in results] == [{"task": 1.0}] * 2


def test_results_stand_in_the_order_of_the_critics(video: Path) -> None:
    external = CommandCritic("judge", program("print('{\"task\": 1}')", video.parent), 20.0)
    critics: list[AnyCritic] = [*default_critics()[:1], external, *default_critics()[1:2]]
    results = judge(video, critics, prompt="p", goal="g")
    assert [result.critic_name for result in results] == ["flicker", "judge", "blur"]


# Entry points


PACKAGE = '''
import os, sys, time
from pathlib import Path

class Judge:
    """Counts how often it is made."""
    def __init__(self):
        with open(os.environ["LOADS"], "a") as file:
            print("loaded", file=file)
        self.calls = 0

    def __call__(self, video, *, prompt, goal):
        print("a line on standard output")
        self.calls += 1
        assert isinstance(video, Path) and video.is_file()
        if prompt == "raise": raise ValueError("no such object")
        if prompt == "die": os._exit(3)
        if prompt == "hang": time.sleep(60)
        if prompt == "list": return [0.5]
        if prompt == "quoted": return {"task": 0.5, "physics": "0.0"}
        if prompt == "nan": return {"task": float("nan")}
        if prompt == "numpy":
            import numpy
            return {"task": numpy.float32(0.5)}
        return {"task": 0.5, "calls": [self.calls], "prompt": prompt, "goal": goal}

def broken():
    raise RuntimeError("no weights")
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with two critics; where it writes each loading of its model."""
    site = tmp_path / "site"
    info = site / "judges-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "judges.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: judges\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[tribrain.critics]\nvlm = judges:Judge\nweightless = judges:broken\n"
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("LOADS", str(tmp_path / "loads"))
    return tmp_path / "loads"


@pytest.fixture
def vlm(package: Path) -> Iterator[EntryPointCritic]:
    critic = EntryPointCritic("vlm", 20.0)
    yield critic
    critic.close()


def test_an_entry_point_is_loaded_once_and_judges_each_video(
    vlm: EntryPointCritic, package: Path, video: Path
) -> None:
    results = [said(vlm, video, prompt=prompt, goal="tea") for prompt in ("one", NASTY)]
    assert [result.scores for result in results] == [{"task": 0.5}] * 2
    assert [result.extra for result in results] == [
        {"calls": [1], "prompt": "one", "goal": "tea"},
        {"calls": [2], "prompt": NASTY, "goal": "tea"},
    ]
    assert package.read_text() == "loaded\n"


@needs_proc
def test_one_that_is_at_work_ends_with_a_caller_that_was_killed(package: Path, video: Path) -> None:
    begun = f"""
from pathlib import Path
from runner.critics.entry_point import EntryPointCritic
critic = EntryPointCritic("vlm", 60.0)
judgement = critic.begin(Path({str(video)!r}), prompt="hang", goal="g")
print(critic._worker._process.pid, flush=True)
input()
"""
    command = [sys.executable, "-c", begun]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        worker = Path(f"/proc/{int(caller.stdout.readline())}/environ")
        wait_until(lambda: package.exists() and package.read_text() == "loaded\n", 60)
        assert worker.read_bytes()
        caller.kill()
    wait_until(lambda: not _environment(worker))


def _environment(process: Path) -> bytes:
    """A zombie has none any more."""
    try:
        return process.read_bytes()
    except OSError:
        return b""


def test_numbers_of_numpy_are_numbers(vlm: EntryPointCritic, video: Path) -> None:
    assert said(vlm, video, prompt="numpy").scores == {"task": 0.5}


@pytest.mark.parametrize(
    ("prompt", "why", "loads"),
    [
        ("raise", "the critic failed: ValueError: no such object", 1),
        ("list", "it returned a list; expected scores by failure mode", 1),
        ("nan", "task is nan", 1),
        ("die", "the critic's process ended before it answered", 2),
    ],
)
def test_an_entry_point_that_fails_costs_one_candidate_alone(
    vlm: EntryPointCritic, package: Path, video: Path, prompt: str, why: str, loads: int
) -> None:
    failed, after = (said(vlm, video, prompt=one) for one in (prompt, "fine"))
    assert is_missing(failed)
    assert why in failed.notes
    assert after.scores == {"task": 0.5}
    assert package.read_text().count("loaded") == loads


def test_a_quoted_score_of_an_entry_point_failed_and_what_it_printed_is_kept(
    vlm: EntryPointCritic, video: Path
) -> None:
    result = said(vlm, video, prompt="quoted")
    assert result.scores == {"task": 0.5, "physics": None}
    assert critic_failed(result)
    assert result.extra["output"] == "a line on standard output"


def test_an_entry_point_that_hangs_is_stopped_and_started_anew(package: Path, video: Path) -> None:
    critic = EntryPointCritic("vlm", 5.0)
    try:
        assert said(critic, video, prompt="hang").notes == "missing: the critic was stopped after 5 s"
        assert said(critic, video).scores == {"task": 0.5}
    finally:
        critic.close()


def test_an_entry_point_that_cannot_be_loaded_is_missing(package: Path, video: Path) -> None:
    critic = EntryPointCritic("weightless", 20.0)
    try:
        assert "RuntimeError: no weights" in said(critic, video).notes
    finally:
        critic.close()


def test_a_process_is_not_left_behind(vlm: EntryPointCritic, video: Path) -> None:
    said(vlm, video)
    worker = vlm._worker
    assert worker is not None
    vlm.close()
    assert worker._process.returncode == -9


# Which critics take part


@pytest.mark.usefixtures("package")
def test_critics_are_the_pixel_critics_and_those_that_are_named() -> None:
    critics = chosen_critics(["judge=true {video}", "vlm"], timeout_s=1.0)
    assert [critic.name for critic in critics] == [*(c.name for c in default_critics()), "judge", "vlm"]


def test_the_pixel_critics_can_be_left_out() -> None:
    (only,) = chosen_critics(["judge=true {video}"], pixel_critics=False, timeout_s=1.0)
    assert only.name == "judge"


def test_a_command_may_hold_equals_signs() -> None:
    assert parse_critic("judge=python c.py --video={video}") == ("judge", "python c.py --video={video}")


@pytest.mark.parametrize(
    "name", ["v1.1", "motion.smoothness", "my critic", "физика", "a@b", "a/b", 'say "a"', "a" * 256]
)
def test_a_critic_may_have_any_name(name: str, tmp_path: Path) -> None:
    program = tmp_path / "judge.sh"
    program.write_text("""echo '{"task": 0.5}'""")
    (critic,) = chosen_critics([f"{name}=sh {program} {{video}}"], pixel_critics=False, timeout_s=60)
    assert isinstance(critic, CommandCritic)
    judgement = critic.begin(tmp_path / "video.mp4", prompt="", goal="")
    result = judgement.result()
    judgement.stop()
    assert (result.critic_name, result.scores) == (name, {"task": 0.5})


@pytest.mark.parametrize(
    ("given", "name", "command"),
    [
        ('"det.AP@IoU=0.50"=true {video}', "det.AP@IoU=0.50", "true {video}"),
        ('"a=b"', "a=b", None),
        ('"say ""a"""=true {video}', 'say "a"', "true {video}"),
        ("a=b", "a", "b"),
    ],
)
def test_in_double_quotes_a_name_may_hold_an_equals_sign(given: str, name: str, command: str | None) -> None:
    assert parse_critic(given) == (name, command)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (["flicker=true {video}"], "a critic 'flicker' already exists"),
        (["text_rm=true {video}"], "a critic 'text_rm' already exists"),
        (["a=true {video}", "a=true {video}"], "a critic 'a' already exists"),
        (["python critic.py {video}"], "no installed package offers the critic 'python critic.py {video}'"),
        (["=true {video}"], "expected NAME="),
        ([" a=true {video}"], "expected NAME="),
        (["a\nb=true {video}"], "expected NAME="),
        (["a" * 257 + "=true {video}"], "expected NAME="),
        (['"a"b=true {video}'], "expected NAME="),
        (["det.AP@IoU=0.50=true {video}"], "put the name in double quotes"),
        (["a="], "the critic a's command is empty; expected a program and its arguments"),
        (["a=true {prompt}"], "the critic a's command lacks {video}"),
        (
            ["a=true {video} {seed}"],
            "the critic a's command has {seed}; it may have {video}, {prompt}, {goal}",
        ),
        (["a=no-such-program {video}"], "the critic a: 'no-such-program' is not a program"),
        (["a='true {video}"], "the critic a's command cannot be read"),
        (["vbench"], "no installed package offers the critic 'vbench'"),
    ],
)
def test_critics_that_cannot_be_used_are_refused_in_one_line(given: list[str], complaint: str) -> None:
    with pytest.raises(BadInput) as refusal:
        chosen_critics(given, timeout_s=1.0)
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_without_pixel_critics_another_is_needed() -> None:
    with pytest.raises(BadInput, match="no critic is left without the pixel critics; give --critic"):
        chosen_critics([], pixel_critics=False, timeout_s=1.0)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
def test_a_time_out_that_is_none_is_refused(timeout_s: float) -> None:
    with pytest.raises(BadInput, match="time-out"):
        chosen_critics(["a=true {video}"], timeout_s=timeout_s)
