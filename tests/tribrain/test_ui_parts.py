"""The parts of the page that need neither browser nor server."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from runner.interfaces import GenerationFailed
from runner.video import read_video, write_video
from streams.messages.codec import encode
from streams.messages.contracts import RunEnd, TraceEvent
from tests import factories
from tests.pages import write_runs
from tests.streams.test_votes import vote
from tribrain.story.course import course
from tribrain.story.model import plain
from tribrain.story.steps import difference
from tribrain.ui.films import Films
from tribrain.ui.folders import FolderWatch
from tribrain.ui.library import Library, RunStory, run_name
from tribrain.ui.links import digest
from tribrain.ui.model_page import simulated_annotators
from tribrain.ui.now_page import not_on_topic
from tribrain.ui.state import open_state
from tribrain.ui.vote_page import NotKnownYet, vote_of


def events(n: int) -> list[TraceEvent]:
    return [factories.event(i, 0.1 * i) for i in range(n)]


def test_an_event_that_comes_twice_is_one_and_the_best_is_the_earliest_of_equals() -> None:
    library = Library()
    for event in (*events(3), factories.event(3, 0.2), events(3)[0]):
        library.take(event, 1)
    run = library.run("run-a")
    assert run is not None
    assert [event.iter_idx for event in run.iterations] == [0, 1, 2, 3]
    assert run.best is not None
    assert run.best.iter_idx == 2


def test_a_trace_that_is_being_written_is_read_to_its_last_whole_line(tmp_path: Path) -> None:
    trace = tmp_path / "r" / "trace.jsonl"
    trace.parent.mkdir()
    lines = [encode(event) + b"\n" for event in events(2)]
    trace.write_bytes(lines[0] + lines[1][:40])
    library = Library()
    watch = FolderWatch([tmp_path], library)
    watch.look()
    assert [len(run.events) for run in library.runs()] == [1]
    trace.write_bytes(lines[0] + lines[1])
    watch.look()
    assert [len(run.events) for run in library.runs()] == [2]
    assert library.problems.items() == []


@pytest.mark.parametrize(("runs", "says"), [(1, "1 run not on Kafka"), (6, "6 runs not on Kafka")])
def test_runs_that_are_not_on_kafka_are_named_by_commands_that_can_be_typed(
    runs: int, says: str, tmp_path: Path
) -> None:
    folder = tmp_path / "of two words"
    write_runs(folder, runs=runs)
    library = Library()
    FolderWatch([folder / "runs"], library).look()
    (attention,) = not_on_topic(library)
    assert attention.title == says
    assert len(attention.commands) == min(runs, 5)
    assert ("The first 5:" in attention.text) == (runs > 5)
    for typed in attention.commands:
        *words, trace = shlex.split(typed)
        assert words == ["tribrain", "log", "publish"]
        assert Path(trace).is_file()


def test_simulated_annotators_are_told_from_people_by_dimension() -> None:
    votes = [
        vote(vote_id="a", annotator="Ann"),
        vote(vote_id="b", annotator="bot", meta={"simulated": True}),
        vote(vote_id="c", annotator="bot", meta={"simulated": True}),
        vote(vote_id="d", annotator="other", meta={"simulated": True}, dimension="physics"),
    ]
    assert simulated_annotators(votes, "") == ["bot"]
    assert simulated_annotators(votes, "physics") == ["other"]
    assert simulated_annotators(votes[:1], "") == []


def test_a_trace_that_cannot_be_read_is_named_and_hides_no_other(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    bad = tmp_path / "runs" / "bad" / "trace.jsonl"
    bad.parent.mkdir()
    bad.write_bytes(b"{\n")
    library = Library()
    FolderWatch([tmp_path / "runs"], library).look()
    assert len(library.runs()) == 1
    assert [place for place, _ in library.problems.items()] == [str(bad)]


def test_two_films_of_one_length_have_one_size_and_neither_the_originals_bytes(tmp_path: Path) -> None:
    films = Films(tmp_path / "cache")
    made = []
    for name, colour in (("a", 10), ("b", 200)):
        path = tmp_path / f"{name}.mp4"
        write_video(path, np.full((8, 32, 32, 3), colour, np.uint8), 12.0)
        made.append((path, films.blind(path)))
    (a, film_a), (_, film_b) = made
    assert film_a.path.stat().st_size == film_b.path.stat().st_size != a.stat().st_size
    assert (film_a.fps, film_a.frames, film_a.width, film_a.height) == (12.0, 8, 32, 32)
    frames, fps = read_video(film_a.path)
    assert (len(frames), fps) == (8, 12.0)
    assert abs(int(frames.mean()) - 10) < 4


def test_a_film_follows_its_video_when_that_is_made_again(tmp_path: Path) -> None:
    films, path = Films(tmp_path / "cache"), tmp_path / "a.mp4"
    write_video(path, np.full((8, 32, 32, 3), 10, np.uint8), 12.0)
    films.blind(path)
    write_video(path, np.full((9, 32, 32, 3), 200, np.uint8), 12.0)
    assert films.blind(path).frames == 9


def test_what_is_no_video_has_no_film_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(GenerationFailed):
        Films(tmp_path / "cache").blind(path)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_course_marks_where_a_newer_model_took_part() -> None:
    steered = [
        replace(event, meta=event.meta | {"combined_reward": 0.5, "reward_version": version})
        for event, version in zip(events(4), (None, 7, 7, 9), strict=True)
    ]
    assert [(p.reward, p.version, p.is_swap) for p in course(steered)] == [
        (0.5, None, False),
        (0.5, 7, True),
        (0.5, 7, False),
        (0.5, 9, True),
    ]


def test_a_video_that_a_judge_failed_on_is_no_best_of_its_run() -> None:
    """Its plain mean is the highest."""
    said: list[dict[str, float | None]] = [
        {"eye.x": 0.6, "judge.x": 0.2},
        {"eye.x": 0.7, "judge.x": None},
        {"eye.x": 0.9, "judge.x": 0.2},
    ]
    run = RunStory(run_id="r")
    for i, scores in enumerate(said):
        known = [score for score in scores.values() if score is not None]
        run.events[i] = factories.event(i, sum(known) / len(known), critics=scores, run_id="r")
    assert run.best is run.events[2]
    assert [point.reward for point in course(run.iterations)] == pytest.approx([0.4, 0.45, 0.55])


def test_a_course_leaves_out_what_nobody_could_judge_and_stays_in_its_picture() -> None:
    odd = [factories.event(2, None), *(replace(e, meta=e.meta | {"combined_reward": 7.0}) for e in events(2))]
    points = course(odd)
    assert [point.iteration for point in points] == [0, 1]
    assert all(0 <= point.y <= 56 and 0 <= point.x <= 240 for point in points)
    assert course([]) == []


@pytest.mark.parametrize(
    ("before", "after", "pieces"),
    [
        ("a b", "a b", [("same", "a b")]),
        ("", "a", [("ins", "a")]),
        ("a\n", "a\nb\n", [("same", "a\n"), ("ins", "b\n")]),
        ("a\nb\n", "a\n", [("same", "a\n"), ("del", "b\n")]),
        (
            "the red cube moves",
            "the red cube moves slowly",
            [("same", "the red cube moves"), ("ins", " slowly")],
        ),
        ("xyz", "abc", [("del", "xyz"), ("ins", "abc")]),
        ("a goal", "a goal\nmore", [("same", "a goal\n"), ("ins", "more")]),
        ("no shake.", "no shake; none.", [("same", "no shake"), ("ins", "; none"), ("same", ".")]),
        (
            "be quick; be whole.",
            "be quick.\nbe kind.",
            [("same", "be quick"), ("del", "; be whole"), ("same", "."), ("ins", "\n"), ("ins", "be kind.")],
        ),
    ],
)
def test_a_prompt_is_told_by_what_changed(before: str, after: str, pieces: list[tuple[str, str]]) -> None:
    assert difference(before, after) == pieces


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        ("flicker.quality", "flicker: quality"),
        ("@arm=physics", "prompt rewritten for physics"),
        ("@cost", "cost"),
        ("flicker.quality@world_model=dit-7b", "flicker: quality where world_model is dit-7b"),
        ("det.AP%40IoU=0.50", "det: AP@IoU=0.50"),
    ],
)
def test_a_feature_is_said_in_words(feature: str, words: str) -> None:
    assert plain(feature) == words


def test_names_in_addresses_have_one_form_whatever_the_run_is_called() -> None:
    for name in ("", "../../etc", "a/b", "é\0", "x" * 5000):
        assert len(digest(name, 0)) == 32
        assert len(run_name(name)) == 20


def test_an_end_counts_once() -> None:
    library = Library()
    library.take(events(1)[0], 1)
    for reason in ("first", "second"):
        library.take(RunEnd(run_id="run-a", iterations=(0,), stop_reason=reason), 2)
    run = library.run("run-a")
    assert run is not None
    assert run.end is not None
    assert run.end.stop_reason == "first"


def test_no_script_makes_code_or_markup_of_text() -> None:
    static = Path(__file__).parents[2] / "tribrain" / "ui" / "static"
    for script in static.glob("*.js"):
        assert "eval(" not in script.read_text()
        assert "innerHTML" not in script.read_text()


@pytest.mark.parametrize(
    ("running_s", "error"), [(0, NotKnownYet), (3_600, ValueError)], ids=["just started", "for an hour"]
)
def test_only_a_server_that_may_still_read_its_runs_asks_for_a_vote_again(
    running_s: int, error: type[Exception], tmp_path: Path
) -> None:
    with open_state(
        roots=[],
        settings=None,
        model="default",
        dimensions=(),
        annotator="",
        key=bytes(32),
        state_dir=tmp_path,
        cache=tmp_path,
    ) as state:
        state.started_ms -= 1000 * running_s
        with pytest.raises(error):
            vote_of(state, {"vote_id": "v", "answer": "left"}, {"sides": ["a", "b"], "annotator": "Ann"})
