"""Runs that are ended anywhere and go on: what they leave is what an uninterrupted run leaves."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from runner.critics.pixel import Flicker, GoalReached
from runner.interfaces import FailuresInARow, Frames, Generation, GenerationFailed, GenerationRequest
from runner.loop.controller import ThompsonController
from runner.loop.refinement import RefinementLoop
from runner.loop.rescoring import revised
from runner.loop.resume import END_IS_TOLD, run_or_resume
from runner.loop.stopping import StopRules
from runner.rewards.preference import PreferencePolicy
from runner.video import write_video
from runner.worlds.kept import NAME, empty, files_of_others, keeping
from runner.worlds.simulated import SimulatedWorld
from streams.errors import BadInput
from streams.messages.codec import encode
from streams.messages.contracts import CriticResult, RunEnd, TraceEvent
from streams.messages.files import read_trace
from tests.runner.fakes import Clock, FilmWorld, ListSink, ScriptedCritic, ScriptedFeed, snapshot

GOAL = "move the red cube to the green bowl"


class Killed(BaseException):
    """The process ends here."""


class Counted:
    """The simulated world, which counts what it makes, and may be killed after a number of videos."""

    name = "simulated"

    def __init__(self, dies_after: int | None = None, fails: Sequence[int] = ()) -> None:
        self._world = SimulatedWorld(GOAL, 7)
        self.made: list[str] = []
        self.dies_after = dies_after
        self.fails = fails

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        if len(self.made) == self.dies_after:
            (out_dir / "half.mp4").write_bytes(b"half a video")
            raise Killed
        self.made.append(out_dir.name)
        if len(self.made) in self.fails:
            raise GenerationFailed("out of memory")
        return self._world.generate(prompt, seed=seed, out_dir=out_dir)


class InterruptedAt(Counted):
    """Is interrupted at one of its calls, once."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.calls = iter(n == call for n in range(99))

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        if next(self.calls):
            raise KeyboardInterrupt
        return super().generate(prompt, seed=seed, out_dir=out_dir)


def loop(out: Path, world: Any, **changes: Any) -> RefinementLoop:
    given: dict[str, Any] = {
        "goal": GOAL,
        "world": world,
        "critics": (Flicker(), GoalReached()),
        "controller": ThompsonController(),
        "stop": StopRules(max_iters=4),
        "seed": 5,
        "out_dir": out,
        "run_id": "r",
    }
    return RefinementLoop(**(given | changes))


def trace(out: Path) -> list[Any]:
    """But for times."""
    lines = [orjson.loads(encode(message)) for message in read_trace(out / "trace.jsonl")]
    for one in lines:
        one["meta"].pop("iter_time_s", None)
    return lines


@pytest.mark.parametrize("candidates", [1, 3])
@pytest.mark.parametrize("dies_after", [0, 1, 2, 5])
def test_a_run_that_was_ended_goes_on_to_the_same_trace_and_makes_no_video_twice(
    tmp_path: Path, candidates: int, dies_after: int
) -> None:
    whole = Counted()
    result = run_or_resume(loop(tmp_path / "whole", whole, candidates=candidates))
    world = Counted(dies_after)
    out = tmp_path / "killed"
    if dies_after < len(whole.made):
        with pytest.raises(Killed):
            run_or_resume(loop(out, world, candidates=candidates))
    world.dies_after = None
    assert run_or_resume(loop(out, world, candidates=candidates)) == result
    assert trace(out) == trace(tmp_path / "whole")
    assert world.made == whole.made


def test_a_run_that_is_never_ended_is_as_that_of_the_loop_alone(tmp_path: Path) -> None:
    result = run_or_resume(loop(tmp_path / "a", Counted()))
    assert loop(tmp_path / "b", Counted()).run() == result
    assert trace(tmp_path / "a") == trace(tmp_path / "b")


@pytest.mark.parametrize("candidates", [1, pytest.param(2, marks=pytest.mark.long)])
def test_it_may_be_ended_after_any_byte_of_the_trace(tmp_path: Path, candidates: int) -> None:
    """As if the power had failed there: a line or a step that is not whole is made again."""
    out = tmp_path / "run"
    run_or_resume(loop(out, Counted(), candidates=candidates))
    whole, raw = trace(out), (out / "trace.jsonl").read_bytes()
    ends = [i + 1 for i, byte in enumerate(raw) if byte == ord("\n")]
    for cut in [0, 1, *(end + off for end in ends for off in (-1, 0, 9) if end + off < len(raw))]:
        (out / "trace.jsonl").write_bytes(raw[:cut])
        world = Counted()
        run_or_resume(loop(out, world, candidates=candidates))
        assert trace(out) == whole
        assert world.made == []


@pytest.mark.parametrize("candidates", [1, pytest.param(2, marks=pytest.mark.long)])
def test_every_event_reaches_the_sink_wherever_a_push_was_the_last_thing_done(
    tmp_path: Path, candidates: int
) -> None:
    run_or_resume(loop(tmp_path / "whole", Counted(), candidates=candidates, sink=(whole := ListSink())))
    for last in range(len(whole.pushed)):
        heard: list[TraceEvent | RunEnd] = []

        def die(event: TraceEvent | RunEnd, heard: Any = heard, last: int = last) -> None:
            if len(heard) == last:
                raise Killed
            heard.append(event)

        out = tmp_path / f"killed-{last}"
        with pytest.raises(Killed):
            run_or_resume(loop(out, Counted(), candidates=candidates, sink=ListSink(die)))
        again = ListSink(heard.append)
        run_or_resume(loop(out, Counted(), candidates=candidates, sink=again))
        distinct = list(dict.fromkeys(map(encode, heard)))
        assert distinct == [encode(message) for message in read_trace(out / "trace.jsonl")]
        assert len(heard) - len(distinct) <= candidates  # at most the last step again


def test_a_finished_run_makes_and_changes_nothing(tmp_path: Path) -> None:
    result = run_or_resume(loop(tmp_path, Counted()))
    before = (tmp_path / "trace.jsonl").read_bytes()
    world, sink = Counted(), ListSink()
    assert run_or_resume(loop(tmp_path, world, sink=sink)) == result
    assert (world.made, (tmp_path / "trace.jsonl").read_bytes()) == ([], before)
    (end,) = sink.pushed
    assert isinstance(end, RunEnd)


def test_a_failed_generation_stays_a_failed_candidate(tmp_path: Path) -> None:
    world = Counted(dies_after=3, fails=[2])
    with pytest.raises(Killed):
        run_or_resume(loop(tmp_path, world))
    world.dies_after = None
    run_or_resume(loop(tmp_path, world))
    assert [line.get("overall_score") is None for line in trace(tmp_path)[:4]] == [False, True, False, False]
    assert len(world.made) == 4


def test_snapshots_that_were_in_use_are_in_use_again(tmp_path: Path) -> None:
    """Though by now the feed has another one, and had none for a moment."""
    one, two, three = (snapshot({"flicker.quality": w}, version=int(w)) for w in (1.0, 2.0, 3.0))
    policy = PreferencePolicy(weight=0.5)
    run_or_resume(
        loop(tmp_path / "whole", Counted(), feed=ScriptedFeed(None, one, two, three), policy=policy)
    )
    out, world = tmp_path / "killed", Counted(dies_after=3)
    with pytest.raises(Killed):
        run_or_resume(loop(out, world, feed=ScriptedFeed(None, one, two, two), policy=policy))
    world.dies_after = None
    run_or_resume(loop(out, world, feed=ScriptedFeed(three), policy=policy))
    assert trace(out) == trace(tmp_path / "whole")
    assert [line["meta"]["reward_version"] for line in trace(out)[:4]] == [None, 1, 2, 3]


def test_a_feed_that_has_nothing_yet_does_not_take_the_snapshot_in_use_away(tmp_path: Path) -> None:
    world, one = Counted(dies_after=2), snapshot({"flicker.quality": 1.0})
    with pytest.raises(Killed):
        run_or_resume(loop(tmp_path, world, feed=ScriptedFeed(one)))
    world.dies_after = None
    run_or_resume(loop(tmp_path, world, feed=ScriptedFeed(None)))
    assert [line["meta"]["reward_version"] for line in trace(tmp_path)[:4]] == [1, 1, 1, 1]


def test_time_that_was_spent_before_counts(tmp_path: Path) -> None:
    """Each look at the clock takes a second, so a step takes at least two."""
    world, rules = Counted(dies_after=2), StopRules(max_iters=50, max_wall_s=9.0)
    with pytest.raises(Killed):
        run_or_resume(loop(tmp_path, world, stop=rules, clock=Clock()))
    world.dies_after = None
    result = run_or_resume(loop(tmp_path, world, stop=rules, clock=Clock()))
    run_or_resume(loop(tmp_path / "whole", Counted(), stop=rules, clock=Clock()))
    assert result.stop_reason == "max_wall_s"
    assert abs(len(trace(tmp_path)) - len(trace(tmp_path / "whole"))) <= 1


def test_an_interruption_leaves_the_run_to_be_gone_on_with(tmp_path: Path) -> None:
    interrupted: list[int] = []

    def interrupt(call: int) -> None:
        if call == 1 and not interrupted:
            interrupted.append(call)
            raise KeyboardInterrupt

    critic = ScriptedCritic({"quality": 0.5}, before=interrupt)
    world = FilmWorld()
    with pytest.raises(KeyboardInterrupt):
        run_or_resume(loop(tmp_path, world, critics=[critic]))
    assert not any(isinstance(message, RunEnd) for message in read_trace(tmp_path / "trace.jsonl"))
    run_or_resume(loop(tmp_path, world, critics=[critic]))
    assert len(world.prompts) == 4  # the video that was being judged is judged again, and not made again


def test_an_interruption_that_ends_a_run_is_taken_back_by_the_same_call(tmp_path: Path) -> None:
    whole = run_or_resume(loop(tmp_path / "whole", Counted()))
    for call in range(4):
        world, out = InterruptedAt(call), tmp_path / f"at-{call}"
        ended = run_or_resume(loop(out, world), interrupt_ends=True)
        (end,) = (one for one in read_trace(out / "trace.jsonl") if isinstance(one, RunEnd))
        assert (ended.stop_reason, end.stop_reason, len(end.iterations)) == ("interrupted",) * 2 + (call,)
        assert run_or_resume(loop(out, world), interrupt_ends=True) == whole
        assert trace(out) == trace(tmp_path / "whole")


def test_an_end_that_others_were_told_of_stays(tmp_path: Path) -> None:
    world = InterruptedAt(2)
    run_or_resume(loop(tmp_path, world), interrupt_ends=True)
    before = (tmp_path / "trace.jsonl").read_bytes()
    again = run_or_resume(loop(tmp_path, world), interrupt_ends=True, is_told=True)
    assert (again.stop_reason, again.iterations) == ("interrupted", 2)
    assert (tmp_path / "trace.jsonl").read_bytes() == before


@pytest.mark.parametrize("candidates", [1, 2])
def test_what_failed_until_a_run_was_given_up_is_tried_again_and_nothing_else(
    tmp_path: Path, candidates: int
) -> None:
    rules = StopRules(max_iters=4, max_failures=2)
    whole = run_or_resume(loop(tmp_path / "whole", Counted(), candidates=candidates, stop=rules))
    good = 2 * candidates
    world, out = Counted(fails=range(good + 1, 99)), tmp_path / "mended"
    given_up = run_or_resume(loop(out, world, candidates=candidates, stop=rules))
    assert (given_up.stop_reason, len(world.made)) == ("max_failures", good + 2)
    world.fails = ()
    assert run_or_resume(loop(out, world, candidates=candidates, stop=rules)) == whole
    assert trace(out) == trace(tmp_path / "whole")
    assert len(world.made) == 2 + 4 * candidates


@pytest.mark.parametrize("most", [1, 3])
def test_a_run_goes_on_though_more_or_fewer_failures_end_it_now(tmp_path: Path, most: int) -> None:
    rules = StopRules(max_iters=6, max_failures=2)
    world = Counted(fails=[2, 4, 5])
    assert run_or_resume(loop(tmp_path, world, stop=rules)).stop_reason == "max_failures"
    world.fails = [6]
    again = run_or_resume(loop(tmp_path, world, stop=StopRules(max_iters=6, max_failures=most)))
    assert again.stop_reason == ("max_failures" if most == 1 else "max_iters")
    assert [line["meta"].get("error") is None for line in trace(tmp_path)[: again.iterations]] == (
        [True, False, True, False, True, True][: again.iterations]
    )


def rescored(out: Path, judged: Mapping[int, Sequence[CriticResult]], required: Sequence[str] = ()) -> bytes:
    """The trace with one more revision, in which critics gave these results."""
    *events, end = read_trace(out / "trace.jsonl")
    assert isinstance(end, RunEnd)
    now, new_end = revised(
        [event for event in events if isinstance(event, TraceEvent)], end, judged,
        revision=1, required=required, policy=PreferencePolicy(), run_dir=out,
    )  # fmt: skip
    lines = [*map(encode, now), encode(new_end)]
    raw = (out / "trace.jsonl").read_bytes() + b"".join(line + b"\n" for line in lines)
    (out / "trace.jsonl").write_bytes(raw)
    return raw


GIVEN_UP = StopRules(max_iters=4, max_failures=2)


def given_up(out: Path, **changes: Any) -> Counted:
    """The world, which works again, of a run that was given up after its first video."""
    world = Counted(fails=[2, 3])
    assert run_or_resume(loop(out, world, stop=GIVEN_UP, **changes)).stop_reason == "max_failures"
    world.fails = ()
    return world


@pytest.mark.parametrize("critic", ["flicker", "new"])
def test_a_run_does_not_go_on_where_a_later_score_would_be_lost_and_says_of_which_critic(
    tmp_path: Path, critic: str
) -> None:
    world = given_up(tmp_path)
    raw = rescored(tmp_path, {0: [CriticResult(critic_name=critic, scores={"quality": 0.123})]})
    again = run_or_resume(loop(tmp_path, world, stop=GIVEN_UP))
    assert again.cannot_continue.endswith(f"a rescoring gave later: those of critic {critic}")
    assert (again.failure, len(world.made)) == ("out of memory", 3)
    assert (tmp_path / "trace.jsonl").read_bytes() == raw


def test_a_rescoring_that_gave_the_same_scores_again_keeps_no_run_from_going_on(tmp_path: Path) -> None:
    run_or_resume(loop(tmp_path / "whole", Counted(), stop=GIVEN_UP))
    out = tmp_path / "mended"
    world = given_up(out)
    first, *_ = read_trace(out / "trace.jsonl")
    assert isinstance(first, TraceEvent)
    rescored(out, {0: first.critic_results})
    assert run_or_resume(loop(out, world, stop=GIVEN_UP)).cannot_continue == ""
    assert trace(out) == trace(tmp_path / "whole")


@pytest.mark.parametrize("by_the_run", [(), ("flicker",)])
def test_a_run_does_not_go_on_without_a_critic_that_a_rescoring_required(
    tmp_path: Path, by_the_run: Sequence[str]
) -> None:
    world = given_up(tmp_path, required=by_the_run)
    rescored(tmp_path, {}, required=["flicker"])
    again = run_or_resume(loop(tmp_path, world, stop=GIVEN_UP, required=by_the_run))
    assert again.stop_reason == ("max_iters" if by_the_run else "max_failures")
    assert again.cannot_continue == (
        "" if by_the_run else "a rescoring required critic flicker later, and the run itself does not"
    )


def test_a_failed_run_whose_end_others_were_told_of_says_so(tmp_path: Path) -> None:
    world = given_up(tmp_path)
    again = run_or_resume(loop(tmp_path, world, stop=GIVEN_UP), is_told=True)
    assert (again.failure, again.cannot_continue) == ("out of memory", END_IS_TOLD)


def test_a_step_whose_last_candidate_ended_the_run_is_tried_again(tmp_path: Path) -> None:
    world, rules = Counted(fails=[2]), StopRules(max_iters=2, max_failures=1)
    given_up = run_or_resume(loop(tmp_path, world, candidates=2, stop=rules))
    assert (given_up.stop_reason, given_up.iterations) == ("max_failures", 1)
    again = run_or_resume(loop(tmp_path, world, candidates=2, stop=rules))
    assert (again.stop_reason, again.iterations) == ("max_iters", 2)
    assert len(world.made) == 2 + 1 + 2  # the one that failed again, and the next step


def test_a_run_of_which_nothing_could_be_made_is_begun_again(tmp_path: Path) -> None:
    world = Counted(fails=range(1, 99))
    failed = run_or_resume(loop(tmp_path, world, stop=StopRules(max_iters=2)))
    assert (failed.stop_reason, failed.failure) == ("max_iters", "out of memory")
    world.fails = ()
    assert run_or_resume(loop(tmp_path, world, stop=StopRules(max_iters=2))).best_score is not None
    assert len(trace(tmp_path)) == 3


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"seed": 6}, "was made from another prompt or seed"),
        ({"goal": GOAL + "!"}, "was made from another prompt or seed"),
        ({"policy": PreferencePolicy(weight=0.9)}, "differs from the recorded one"),
        ({"run_id": "s"}, "is not the trace of run 's' alone"),
        ({"stop": StopRules(max_iters=2)}, "differs from the recorded one"),
    ],
)
def test_a_run_goes_on_only_as_what_it_was(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    feed = ScriptedFeed(snapshot({"flicker.quality": 3.0, "goal_reached.task": -2.0}))
    with pytest.raises(Killed):
        run_or_resume(loop(tmp_path, Counted(dies_after=3), feed=feed))
    before = (tmp_path / "trace.jsonl").read_bytes()
    with pytest.raises(BadInput, match=complaint):
        run_or_resume(loop(tmp_path, Counted(), feed=feed, **change))
    assert (tmp_path / "trace.jsonl").read_bytes() == before


def test_a_damaged_line_in_the_middle_is_bad_input(tmp_path: Path) -> None:
    run_or_resume(loop(tmp_path, Counted()))
    path = tmp_path / "trace.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"iter_idx":1', b'"iter_idx":-1', 1))
    with pytest.raises(BadInput, match="@line 2"):
        run_or_resume(loop(tmp_path, Counted()))


# Videos that are known again


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "iter_00"
    folder.mkdir()
    return folder


def test_a_finished_video_is_not_made_again_and_all_that_was_said_of_it_is_kept(folder: Path) -> None:
    said: dict[str, Any] = {
        "outcome": {"score": 1 / 3, "source": "x"},
        "meta": {"s": 0.1},
        "context": {"cost": 1.5},
    }
    world = FilmWorld(**said)
    first, again = (keeping(world).generate("p", seed=1, out_dir=folder) for _ in range(2))
    assert first == again
    assert len(world.prompts) == 1


def test_a_folder_that_is_emptied_keeps_its_note_until_the_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed meanwhile leaves a folder that is known."""
    for name in (NAME, *(f"{n}.png" for n in range(20))):
        (folder / name).touch()
    removed: list[str] = []
    monkeypatch.setattr(Path, "unlink", lambda path: removed.append(path.name))
    empty(folder)
    assert (len(removed), removed[-1]) == (21, NAME)


def changes() -> Iterator[tuple[str, Callable[[Path], object]]]:
    yield "a byte of the video", lambda folder: flip(folder / "video.mp4")
    yield "the video is cut", lambda folder: (folder / "video.mp4").write_bytes(b"")
    yield "the video is gone", lambda folder: (folder / "video.mp4").unlink()
    yield "the note is gone", lambda folder: (folder / NAME).unlink()
    yield "the note is cut", lambda folder: (folder / NAME).write_bytes(b"{")
    yield (
        "the note is of a later version",
        lambda folder: (folder / NAME).write_bytes(
            (folder / NAME).read_bytes().replace(b"generation/1", b"generation/2")
        ),
    )


class WithFrames(FilmWorld):
    """Leaves frames beside the video, and maybe fails then."""

    def __init__(self) -> None:
        super().__init__()
        self.frames, self.is_broken = 1, False

    def generate(self, prompt: str, *, seed: int, out_dir: Path) -> Generation:
        for number in range(self.frames):
            (out_dir / "frames").mkdir(exist_ok=True)
            (out_dir / "frames" / f"{number}.png").touch()
        if self.is_broken:
            raise GenerationFailed("out of memory")
        return super().generate(prompt, seed=seed, out_dir=out_dir)


@pytest.mark.parametrize("name", ["notes.txt", "frames/notes.txt", ".hidden"])
@pytest.mark.parametrize("is_broken", [False, True])
def test_no_folder_is_emptied_that_holds_somebodys_own_file(folder: Path, name: str, is_broken: bool) -> None:
    world = WithFrames()
    world.is_broken = is_broken
    with contextlib.suppress(GenerationFailed):
        keeping(world).generate("p", seed=1, out_dir=folder)
    assert files_of_others(folder) == []
    (folder / "critic-judge.lock").touch()
    (folder / name).write_text("precious")
    assert files_of_others(folder) == [folder / name]
    with pytest.raises(BadInput, match=f"{name}: no run has written it"):
        keeping(world).generate("q", seed=1, out_dir=folder)
    assert (folder / name).read_text() == "precious"
    (folder / name).unlink()
    world.is_broken = False
    keeping(world).generate("q", seed=1, out_dir=folder)


class Leaves(ScriptedCritic):
    """Puts a file beside the video, and is interrupted once."""

    def __init__(self, folder: Path) -> None:
        super().__init__({"quality": 0.5})
        self._file, self._interrupts = folder / "seen.json", True

    def judge(self, frames: Frames, *, fps: float, goal: str) -> CriticResult:
        self._file.touch()
        if self._interrupts:
            self._interrupts = False
            raise KeyboardInterrupt
        return super().judge(frames, fps=fps, goal=goal)


def test_what_a_critic_leaves_is_the_runs_own_and_nothing_else_that_came_later(tmp_path: Path) -> None:
    folder = tmp_path / "iter_00"
    one = loop(tmp_path, FilmWorld(), critics=[Leaves(folder)], stop=StopRules(max_iters=1))
    with pytest.raises(KeyboardInterrupt):
        run_or_resume(one)
    assert (folder / "seen.json").exists()
    assert files_of_others(folder) == []
    (folder / "notes.txt").touch()
    run_or_resume(one)
    assert files_of_others(folder) == [folder / "notes.txt"]


def test_a_half_made_generation_is_removed_whoever_wrote_it(folder: Path) -> None:
    """A killed generator cannot say what is its own."""
    world = Finishing()
    with pytest.raises(Killed):
        keeping(world).generate_all([GenerationRequest(prompt="p", seed=1, out_dir=folder)])  # type: ignore[attr-defined]
    assert files_of_others(folder) == []


@pytest.mark.parametrize(("change"), [pytest.param(do, id=name) for name, do in changes()])
def test_a_video_that_is_not_surely_whole_is_made_again_in_an_empty_folder(
    folder: Path, change: Callable[[Path], object]
) -> None:
    world = WithFrames()
    keeping(world).generate("p", seed=1, out_dir=folder)
    assert (folder / "frames" / "0.png").exists()
    world.frames = 0
    change(folder)
    made = keeping(world).generate("p", seed=1, out_dir=folder)
    assert len(world.prompts) == 2
    assert sorted(path.name for path in folder.iterdir()) == [NAME, made.video.name]


@pytest.mark.parametrize("other", [{"prompt": "q"}, {"seed": 2}])
def test_a_video_of_another_prompt_or_seed_is_another(folder: Path, other: dict[str, Any]) -> None:
    world = FilmWorld()
    for given in ({"prompt": "p", "seed": 1}, {"prompt": "p", "seed": 1} | other):
        keeping(world).generate(given.pop("prompt"), **given, out_dir=folder)  # type: ignore[arg-type]
    assert len(world.prompts) == 2


def test_the_note_names_the_videos_size_and_hash(folder: Path) -> None:
    video = keeping(FilmWorld()).generate("p", seed=1, out_dir=folder).video.read_bytes()
    note = orjson.loads((folder / NAME).read_bytes())
    assert (note["bytes"], note["sha256"]) == (len(video), hashlib.sha256(video).hexdigest())


class Batch(FilmWorld):
    """Makes several at once; those in ``batch_fails`` fail."""

    name = "batch"

    def __init__(self, batch_fails: Sequence[str] = ()) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.batch_fails = batch_fails

    def generate_all(
        self, requests: Sequence[GenerationRequest], *, failures: FailuresInARow | None = None
    ) -> list[Generation | GenerationFailed]:
        self.batches.append([request.prompt for request in requests])
        made: list[Generation | GenerationFailed] = []
        for request in requests:
            video = request.out_dir / "video.mp4"
            write_video(video, np.full((2, 16, 16, 3), 9, dtype=np.uint8), 8.0)
            failed = request.prompt in self.batch_fails
            made.append(GenerationFailed(request.prompt) if failed else Generation(video=video))
        return made


def test_of_a_batch_only_what_is_missing_is_made(tmp_path: Path) -> None:
    requests = [GenerationRequest(prompt=p, seed=1, out_dir=tmp_path / p) for p in "abc"]
    for request in requests:
        request.out_dir.mkdir()
    world = Batch()
    kept = keeping(world)
    assert hasattr(kept, "generate_all")
    first = kept.generate_all(requests)
    shutil.rmtree(tmp_path / "b")
    (tmp_path / "b").mkdir()
    assert kept.generate_all(requests) == first
    assert kept.generate_all(requests) == first
    assert world.batches == [["a", "b", "c"], ["b"]]


def test_a_failed_request_of_a_batch_stands_in_its_place_and_is_tried_again(tmp_path: Path) -> None:
    requests = [GenerationRequest(prompt=p, seed=1, out_dir=tmp_path / p) for p in "abc"]
    for request in requests:
        request.out_dir.mkdir()
    world = Batch(batch_fails="b")
    kept = keeping(world)
    assert hasattr(kept, "generate_all")
    for _ in range(2):
        assert [isinstance(made, Generation) for made in kept.generate_all(requests)] == [True, False, True]
    assert world.batches == [["a", "b", "c"], ["b"]]


class Finishing(Batch):
    """Is killed when a batch has been made; all videos that are there are whole, for it."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_at: list[str] = []
        self.dies = True

    def generate_all(
        self, requests: Sequence[GenerationRequest], *, failures: FailuresInARow | None = None
    ) -> list[Generation | GenerationFailed]:
        made = super().generate_all(requests, failures=failures)
        if self.dies:
            raise Killed
        return made

    def recovered(self, request: GenerationRequest) -> Generation | None:
        self.looked_at.append(request.prompt)
        video = request.out_dir / "video.mp4"
        return Generation(video=video, meta={"recovered": True}) if video.is_file() else None


@pytest.fixture
def finishing(tmp_path: Path) -> tuple[Finishing, list[GenerationRequest], Any]:
    """Killed with three videos that nobody noted."""
    requests = [GenerationRequest(prompt=p, seed=1, out_dir=tmp_path / p) for p in "abc"]
    for request in requests:
        request.out_dir.mkdir()
    world = Finishing()
    kept: Any = keeping(world)
    with pytest.raises(Killed):
        kept.generate_all(requests)
    world.dies = False
    return world, requests, kept


def test_a_video_that_nobody_noted_is_known_again_from_what_was_noted_before_it(
    finishing: tuple[Finishing, list[GenerationRequest], Any],
) -> None:
    world, requests, kept = finishing
    (requests[1].out_dir / "video.mp4").unlink()
    first = kept.generate_all(requests)
    assert world.batches == [["a", "b", "c"], ["b"]]
    assert [one.meta for one in first] == [{"recovered": True}, {}, {"recovered": True}]
    assert kept.generate_all(requests) == first
    assert world.looked_at == ["a", "b", "c"]
    assert sorted(path.name for path in requests[0].out_dir.iterdir()) == [NAME, "video.mp4"]


def test_every_candidate_is_looked_at_before_any_folder_is_emptied(
    finishing: tuple[Finishing, list[GenerationRequest], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One generator's log is in the folder of one of them."""
    _, requests, kept = finishing
    (requests[0].out_dir / "video.mp4").unlink()
    (requests[0].out_dir / "log").touch()
    there: list[bool] = []
    look = Finishing.recovered

    def watched(self: Finishing, request: GenerationRequest) -> Generation | None:
        there.append((requests[0].out_dir / "log").exists())
        return look(self, request)

    monkeypatch.setattr(Finishing, "recovered", watched)
    kept.generate_all(requests)
    assert there == [True] * 3
    assert not (requests[0].out_dir / "log").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note.unlink(),
        lambda note: note.write_bytes(note.read_bytes().replace(b'"prompt":"a"', b'"prompt":"z"')),
        lambda note: note.write_bytes(note.read_bytes().replace(b'"seed":1', b'"seed":2')),
        lambda note: note.write_bytes(note.read_bytes().replace(b"batch", b"other")),
    ],
    ids=["no note", "another prompt", "another seed", "another world"],
)
def test_a_video_that_was_not_asked_for_just_so_is_not_looked_at(
    finishing: tuple[Finishing, list[GenerationRequest], Any], change: Callable[[Path], object]
) -> None:
    world, requests, kept = finishing
    change(requests[0].out_dir / NAME)
    kept.generate_all(requests)
    assert world.looked_at == ["b", "c"]
    assert world.batches[1:] == [["a"]]


def test_a_world_that_makes_one_at_a_time_is_not_asked_for_more() -> None:
    assert not hasattr(keeping(FilmWorld()), "generate_all")


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
