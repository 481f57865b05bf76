"""Programs as generators: real ones, started and stopped for real."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.interfaces import Generation, GenerationFailed
from runner.worlds.subprocess import SubprocessWorld
from streams.errors import BadInput

ECHO = """
import pathlib, sys
prompt, out_dir, seed = sys.argv[1:]
pathlib.Path(out_dir, "prompt.txt").write_bytes(prompt.encode("utf-8", "surrogateescape"))
pathlib.Path(out_dir, f"{seed}.mp4").write_bytes(b"video")
"""
# Its worker inherits the write end of a FIFO, and holds it open for as long as it lives.
LINGER = """
import subprocess, sys, time
file = open(sys.argv[2] + "/alive", "w")
subprocess.Popen(["sleep", "60"], pass_fds=[file.fileno()])
file.write("up")
file.flush()
time.sleep(60)
"""


def world(script: str, folder: Path, *, timeout_s: float = 20.0) -> SubprocessWorld:
    path = folder / "gen.py"
    path.write_text(script)
    command = f"{shlex.quote(sys.executable)} -S {shlex.quote(str(path))} {{prompt}} {{out_dir}} {{seed}}"
    return SubprocessWorld(command, timeout_s)


def run(script: str, folder: Path, prompt: str = "p", *, timeout_s: float = 20.0) -> Generation:
    out_dir = folder / "out"
    out_dir.mkdir(exist_ok=True)
    return world(script, folder, timeout_s=timeout_s).generate(prompt, seed=7, out_dir=out_dir)


def test_the_video_it_leaves_is_the_result(tmp_path: Path) -> None:
    assert run(ECHO, tmp_path).video == tmp_path / "out" / "7.mp4"


@pytest.mark.parametrize(
    "prompt",
    [
        'it\'s "red"; touch pwned $(touch pwned) `touch pwned` | & > x',
        "{seed} {0} {{}}",
        "a\nb\t c",
        "--help",
        "",
    ],
)
def test_a_prompt_arrives_as_one_argument_whatever_it_holds(tmp_path: Path, prompt: str) -> None:
    run(ECHO, tmp_path, prompt)
    assert (tmp_path / "out" / "prompt.txt").read_bytes() == prompt.encode()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["7.mp4", "generator.log", "prompt.txt"]


@settings(max_examples=15, deadline=None)
@given(prompt=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_text_arrives_unchanged(tmp_path_factory: pytest.TempPathFactory, prompt: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    run(ECHO, folder, prompt)
    assert (folder / "out" / "prompt.txt").read_bytes() == prompt.encode()


def test_a_nul_in_the_prompt_fails_this_candidate_only(tmp_path: Path) -> None:
    with pytest.raises(GenerationFailed, match="could not be started"):
        run(ECHO, tmp_path, "a\0b")


def test_a_placeholder_may_be_part_of_an_argument(tmp_path: Path) -> None:
    script = "import pathlib, sys; pathlib.Path(sys.argv[1].removeprefix('--out='), sys.argv[2]).touch()"
    (tmp_path / "gen.py").write_text(script)
    command = f"{sys.executable} -S {tmp_path}/gen.py --out={{out_dir}} {{{{x}}}}.mp4 {{prompt}}"
    assert SubprocessWorld(command, 20.0).generate("p", seed=1, out_dir=tmp_path).video.name == "{x}.mp4"


def test_the_newest_video_wins(tmp_path: Path) -> None:
    script = """
import os, pathlib, sys
for name, when in (("a.webm", 300), ("z.mp4", 100), ("deep/b.mkv", 200), ("c.txt", 400)):
    path = pathlib.Path(sys.argv[2], name)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    os.utime(path, (when, when))
"""
    assert run(script, tmp_path).video.name == "a.webm"


@pytest.mark.parametrize("other", ["preview.gif", "Preview.mp4", "thumbnail.webm", "deep/z.GIF"])
def test_a_preview_is_taken_only_where_there_is_no_video(tmp_path: Path, other: str) -> None:
    script = f"""
import os, pathlib, sys
for name, when in (("{other}", 300), ("video.mp4", 100)):
    path = pathlib.Path(sys.argv[2], name)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    os.utime(path, (when, when))
"""
    assert run(script, tmp_path).video.name == "video.mp4"
    alone = f"import pathlib, sys; (pathlib.Path(sys.argv[2]) / '{other}').touch()"
    assert run(alone, tmp_path).video == tmp_path / "out" / other


def test_a_video_of_before_is_not_the_result(tmp_path: Path) -> None:
    run(ECHO, tmp_path)
    with pytest.raises(GenerationFailed, match="left no video"):
        run("pass", tmp_path)


def test_a_link_to_a_video_elsewhere_is_not_the_result(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"elsewhere")
    script = "import os, sys; os.symlink('../secret.mp4', sys.argv[2] + '/v.mp4')"
    with pytest.raises(GenerationFailed, match="left no video"):
        run(script, tmp_path)


def test_a_failing_generator_is_quoted(tmp_path: Path) -> None:
    script = "import sys; print('x' * 5000); print('CUDA out of\\nmemory', file=sys.stderr); sys.exit(3)"
    with pytest.raises(GenerationFailed, match=r"ended with status 3; .*CUDA out of memory$") as failure:
        run(script, tmp_path)
    assert len(str(failure.value)) < 600
    assert "\n" not in str(failure.value)


def test_what_it_prints_is_kept(tmp_path: Path) -> None:
    made = run("print('step 1 of 1')\n" + ECHO, tmp_path)
    assert (made.video.parent / made.meta["generator_log"]).read_text() == "step 1 of 1\n"


def test_a_time_out_kills_all_it_started(tmp_path: Path) -> None:
    out_dir = tmp_path / "out"
    out_dir.mkdir()
    os.mkfifo(out_dir / "alive")
    reader = os.open(out_dir / "alive", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(GenerationFailed, match=r"stopped after 2 s"):
            run(LINGER, tmp_path, timeout_s=2.0)
        os.set_blocking(reader, True)
        assert os.read(reader, 2) == b"up"
        assert os.read(reader, 1) == b""  # end of file: nobody holds it open any more
    finally:
        os.close(reader)


def test_workers_left_behind_by_a_finished_generator_are_killed(tmp_path: Path) -> None:
    out_dir = tmp_path / "out"
    out_dir.mkdir()
    os.mkfifo(out_dir / "alive")
    reader = os.open(out_dir / "alive", os.O_RDONLY | os.O_NONBLOCK)
    # The generator opens the FIFO itself and passes it on, so its worker surely has it.
    script = """
import subprocess, sys
file = open(sys.argv[2] + "/alive", "w")
subprocess.Popen(["sleep", "60"], pass_fds=[file.fileno()])
open(sys.argv[2] + "/v.mp4", "w").close()
"""
    try:
        run(script, tmp_path)
        os.set_blocking(reader, True)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_ctrl_c_kills_the_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    started: list[subprocess.Popen[bytes]] = []
    wait = subprocess.Popen.wait

    def interrupted(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if timeout is None:
            return wait(process)
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(LINGER, tmp_path)
    assert started[0].returncode == -9


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("", "is empty"),
        ("sh {out_dir}", "lacks {prompt}"),
        ("sh {prompt}", "lacks {out_dir}"),
        ("sh {prompt} {out_dir} {fps}", "has {fps}"),
        ("sh {prompt} {out_dir} {}", "has {}"),
        ("sh {prompt!r} {out_dir}", "has {prompt}"),
        ("sh {prompt.x} {out_dir}", "has {prompt.x}"),
        ("sh '{prompt} {out_dir}", "No closing quotation"),
        ("sh {prompt {out_dir}", "cannot be read"),
        ("no-such-program {prompt} {out_dir}", "is not a program"),
    ],
)
def test_a_command_that_cannot_work_is_refused_in_one_line(command: str, complaint: str) -> None:
    with pytest.raises(BadInput) as refusal:
        SubprocessWorld(command, 10.0)
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
def test_a_time_out_that_is_none_is_refused(timeout_s: float) -> None:
    with pytest.raises(BadInput, match="time-out"):
        SubprocessWorld("sh {prompt} {out_dir}", timeout_s)


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 0


SAYS = """
import pathlib, sys
_, out_dir, seed = sys.argv[1:]
pathlib.Path(out_dir, "context.json").write_text({said!r})
pathlib.Path(out_dir, "a.mp4").write_bytes(b"video")
"""
TWICE = '{"generator": "dit-7b", "generator": "dit-2b"}'


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_what_the_generator_says_of_its_video_is_its_context(tmp_path: Path, mark: str) -> None:
    said = '{"generator": "dit-7b", "cost": 1.5}'
    assert run(SAYS.format(said=mark + said), tmp_path).context == {"generator": "dit-7b", "cost": 1.5}


@pytest.mark.parametrize(
    ("said", "why"), [("{", "cannot be read"), ("[1]", "does not hold an object"), (TWICE, "appears twice")]
)
def test_a_context_that_cannot_be_used_costs_no_video(tmp_path: Path, said: str, why: str) -> None:
    generation = run(SAYS.format(said=said), tmp_path)
    assert generation.video.name == "a.mp4"
    assert (generation.context, why in generation.meta["context_error"]) == ({}, True)


BEYOND = {
    "a number": ({"seed": 1234567890}, r"context\.json: seed: Expected `int` <= 1000000; left out"),
    "a name": ({"n" * 5000: 1}, r"context\.json: n+…: Expected `str` of length <= 256; left out"),
    "a depth": ({"deep": nested(200)}, r"context\.json: deep: expected at most 64 levels .*; left out"),
    "a length": ({"long": "x" * 70_000}, r"context\.json: long: the entries are too long; .*; left out"),
    "two": (
        {"a": 1e7, "b": 10**30},
        r"context\.json: a: Expected `float` <= 1000000.0; left out, and 1 more",
    ),
}


@pytest.mark.parametrize(("beyond", "why"), BEYOND.values(), ids=BEYOND)
def test_what_is_beyond_the_bounds_of_a_context_is_left_out_and_the_rest_is_kept(
    tmp_path: Path, beyond: dict[str, Any], why: str
) -> None:
    said = json.dumps({"generator": "dit-7b", **beyond, "cost": 1.5})
    generation = run(SAYS.format(said=said), tmp_path)
    assert generation.context == {"generator": "dit-7b", "cost": 1.5}
    assert re.fullmatch(why, generation.meta["context_error"])


def test_of_too_many_entries_the_first_are_kept(tmp_path: Path) -> None:
    generation = run(SAYS.format(said=json.dumps({f"n{i}": i for i in range(3000)})), tmp_path)
    assert generation.context == {f"n{i}": i for i in range(127)}
    assert generation.meta["context_error"] == (
        "context.json: n127: there are 3,000 entries; at most 127 are kept; left out, and 2,872 more"
    )
