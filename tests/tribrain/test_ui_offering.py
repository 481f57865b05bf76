"""Which pair an annotator is offered, and what is said where there is none."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.kafka.settings import Settings
from tests.pages import PageServer, page_server, run_id, write_runs
from tribrain.ui.folders import FolderWatch
from tribrain.ui.offering import NotNow, offer
from tribrain.ui.state import PageState, open_state

ANN = {"Cookie": "tribrain_annotator=Ann"}
NOWHERE = Settings(bootstrap_servers="127.0.0.1:1")
"""Votes wait on the disk, so that voting needs no broker."""


def page_over(folder: Path, *dimensions: str) -> AbstractContextManager[PageState]:
    return open_state(
        roots=[folder / "runs"],
        settings=None,
        model="default",
        dimensions=dimensions,
        annotator="",
        key=bytes(32),
        state_dir=folder / "state",
        cache=folder / "cache",
    )


@contextmanager
def no_more_files() -> Iterator[None]:
    """No file can be opened, as where too many are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def offered(state: PageState) -> set[frozenset[str]]:
    """All pairs that Ann is offered, and no more."""
    pairs = set()
    while (pair := offer(state, "Ann", state.dimensions[0]))["pair"]:
        pairs.add(frozenset(state.links.open("pair", pair["pair"])["sides"]))
    return pairs


def next_pair(server: PageServer, query: str = "") -> dict[str, Any]:
    status, _, body = server.request("GET", f"/vote/next?{query}", ANN)
    assert status == 200, body
    return dict(orjson.loads(body))


def vote(server: PageServer, pair: str, vote_id: str, **more: Any) -> None:
    given = orjson.dumps({"vote_id": vote_id, "pair": pair, "answer": "left", **more})
    status, _, body = server.request("POST", "/vote/answers", ANN, given)
    assert status == 200, body


def video_of(folder: Path, iteration: int) -> Path:
    return folder / "runs" / "secret-folder-0" / f"iter_{iteration:02d}" / "video.mp4"


def test_after_a_reload_the_only_pair_is_on_the_stage_again(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1, iterations=2)
    with page_server(tmp_path, settings=NOWHERE) as server:
        assert next_pair(server, "fresh=1")["pair"]
        assert next_pair(server) == {"pair": None, "why": "held"}
        assert next_pair(server, "fresh=1")["pair"]


def test_a_pair_whose_vote_was_taken_back_is_reserved_again(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1, iterations=2)
    with page_server(tmp_path, settings=NOWHERE) as server:
        pair = next_pair(server)["pair"]
        vote(server, pair, "vote")
        assert next_pair(server) == {"pair": None, "why": "all_judged"}
        vote(server, pair, "undo", answer=None, takes_back="vote")
        assert next_pair(server) == {"pair": None, "why": "held"}


def test_where_one_dimension_has_no_pair_left_another_is_asked_about(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1, iterations=2)
    with page_over(tmp_path, "", "physics") as state:
        dimensions = [offer(state, "Ann", "physics").get("dimension") for _ in range(3)]
        assert dimensions == ["physics", "", None]


def test_one_video_is_nothing_to_vote_on(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1, iterations=1)
    with page_over(tmp_path) as state:
        assert offer(state, "Ann", "") == {"pair": None, "why": "no_pairs"}


def test_where_no_file_can_be_opened_it_is_said_and_nothing_is_left_out(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    with page_over(tmp_path) as state:
        with no_more_files(), pytest.raises(NotNow, match="Too many open files"):
            offer(state, "Ann", "")
        assert len(offered(state)) == 3
        assert state.library.problems.items() == []


def test_a_cache_that_cannot_be_written_leaves_no_video_out(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    (tmp_path / "cache").touch()
    with page_over(tmp_path) as state:
        with pytest.raises(NotNow, match="File exists"):
            offer(state, "Ann", "")
        (tmp_path / "cache").unlink()
        assert len(offered(state)) == 3


def test_a_film_that_cannot_be_made_now_is_503(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    (tmp_path / "cache" / "tribrain").mkdir(parents=True)
    with page_server(tmp_path, settings=NOWHERE) as server:
        shutil.rmtree(tmp_path / "cache")
        (tmp_path / "cache").touch()
        status, _, body = server.request("GET", "/vote/next", ANN)
        assert (status, orjson.loads(body)) == (503, {"error": "No video can be shown: Not a directory."})


def test_what_is_no_video_is_left_out_and_named(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    video_of(tmp_path, 1).write_bytes(b"no video")
    with page_over(tmp_path) as state:
        assert len(offered(state)) == 1
        assert [place for place, _ in state.library.problems.items()] == [str(video_of(tmp_path, 1))]


def test_a_video_that_was_deleted_is_left_out_until_it_is_there_again(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    kept = tmp_path / "kept.mp4"
    with page_over(tmp_path) as state:
        assert len(state.library.votable()) == 3
        video_of(tmp_path, 1).rename(kept)
        assert len(offered(state)) == 1
        assert state.library.problems.items() == []
        kept.rename(video_of(tmp_path, 1))
        state.asker.give_back_all("Ann")
        FolderWatch([tmp_path / "runs"], state.library).look()
        assert len(offered(state)) == 3


def test_many_deleted_videos_hide_no_pair(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=6, iterations=4, task="task-{run}")
    with page_over(tmp_path) as state:
        assert len(state.library.votable()) == 24
        for run in range(1, 6):
            shutil.rmtree(tmp_path / "runs" / f"secret-folder-{run}")
        assert len(offered(state)) == 6
        assert state.library.run(run_id(1)) is not None
