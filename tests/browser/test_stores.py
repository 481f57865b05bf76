"""Films that lie in a store: what a voter and a reader see where it has them, and where it is away."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.kafka.settings import Settings
from tests.browser.voting import all_saved, open_pair, votes_on
from tests.pages import page_server, run_id, write_runs
from tribrain.ui.library import run_name

s3fs = pytest.importorskip("s3fs", reason="make lora installs it")


@pytest.fixture
def silent_store() -> Iterator[dict[str, str]]:
    """Variables that lead to a store which takes connections and says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "AWS_DEFAULT_REGION": "a-b-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }


def written_videos(folder: Path) -> list[Path]:
    write_runs(folder, runs=1)
    return list((folder / "runs").rglob("video.mp4"))


def test_while_the_store_is_away_the_stage_says_so(
    tmp_path: Path, settings: Settings, visit: Any, silent_store: dict[str, str]
) -> None:
    for video in written_videos(tmp_path):
        video.unlink()
    with page_server(
        tmp_path, "--artifacts", "s3://bucket/runs", settings=settings, **silent_store
    ) as server:
        page = visit(server.url).new_page()
        page.goto(f"{server.url}/vote")
        page.wait_for_selector("#notice-loading:has-text('the store s3://bucket/runs does not answer')")
        page.goto(f"{server.url}/runs/{run_name(run_id(0))}")
        page.wait_for_selector("#steps >> text=The video cannot be shown now")


def test_films_of_a_store_are_voted_on_as_any_others(
    tmp_path: Path, settings: Settings, visit: Any, s3_bucket: str
) -> None:
    root = f"{s3_bucket}/{settings.topic_prefix}"
    store = s3fs.S3FileSystem()
    for video in written_videos(tmp_path):
        place = "/".join(video.parts[-2:])
        store.pipe_file(f"{root}/{run_id(0)}/{place}", video.read_bytes())
        video.unlink()
    aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    with page_server(tmp_path, "--artifacts", root, settings=settings, **aws) as server:
        page = visit(server.url).new_page()
        page.goto(f"{server.url}/vote")
        open_pair(page)
        page.keyboard.press("1")
        all_saved(page)
        page.goto(f"{server.url}/runs/{run_name(run_id(0))}")
        page.wait_for_function(
            "() => [...document.querySelectorAll('video')].every((film) => film.readyState >= 1)"
        )
    assert [vote.answer for vote in votes_on(settings)] == ["left"]
