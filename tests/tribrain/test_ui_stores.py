"""Videos in stores: what is asked for, what is said where there is none, and that nobody waits for ever."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from streams.errors import BadInput
from streams.snapshots import artifacts
from streams.snapshots.artifacts import ArtifactGone, StoreAway
from tests.pages import PageServer, page_server, run_id, write_runs
from tribrain.cli import main
from tribrain.ui import stores
from tribrain.ui.library import RunStory
from tribrain.ui.links import digest
from tribrain.ui.stores import Store, Stores

fsspec = pytest.importorskip("fsspec", reason="make lora installs it")


@pytest.fixture
def root() -> str:
    return f"memory://videos-{uuid.uuid4().hex}"


def put(uri: str, content: bytes) -> None:
    with fsspec.open(uri, "wb") as file:
        file.write(content)


@pytest.mark.parametrize(
    "artifact",
    [
        "memory://elsewhere/video.mp4",
        "memory://inside-too/video.mp4",
        "memory://inside/../elsewhere/video.mp4",
        "memory://inside/./video.mp4",
        "memory://inside//video.mp4",
        "memory://inside/%2e%2e/elsewhere/video.mp4",
        "memory://inside/video.mp4?versionId=1",
        "memory://inside/*.mp4",
        "memory://inside/",
        "memory://inside",
        "memory://inside/zip://a::b",
        "file:///etc/passwd",
        "s3://inside/video.mp4",
        "../other-run/video.mp4",
        "/etc/passwd",
        "",
        "a\\b.mp4",
    ],
)
def test_nothing_outside_the_roots_is_asked_for(artifact: str) -> None:
    assert Stores(["memory://inside"]).find("run", artifact) is None


@pytest.mark.parametrize("of_run", ["..", "../other", "a/../../b", "", "run/"])
def test_no_name_of_a_run_leads_out(of_run: str) -> None:
    assert Stores(["memory://inside"]).find(of_run, "iter_00/video.mp4") is None


@pytest.mark.parametrize("artifact", ["iter_00/video.mp4", "{root}/run/iter_00/video.mp4"])
def test_a_video_is_found_by_its_run_or_by_its_uri(artifact: str, root: str, tmp_path: Path) -> None:
    put(f"{root}/run/iter_00/video.mp4", b"film")
    found = Stores([f"{root}/"]).find("run", artifact.format(root=root))
    assert found is not None
    with found.copied(tmp_path) as copy:
        assert copy.read_bytes() == b"film"
    assert list(tmp_path.iterdir()) == []


def test_the_first_root_that_has_it_gives_it(root: str, tmp_path: Path) -> None:
    put(f"{root}/second/run/video.mp4", b"second")
    found = Stores([f"{root}/first", f"{root}/second"]).find("run", "video.mp4")
    assert found is not None
    with found.copied(tmp_path) as copy:
        assert copy.read_bytes() == b"second"


def test_without_roots_there_is_nothing_to_find() -> None:
    assert RunStory("run").stores.find("run", "memory://inside/video.mp4") is None


def test_a_video_that_is_gone_is_told_from_a_store_that_is_away(root: str) -> None:
    with pytest.raises(ArtifactGone):
        Store(root).read("video.mp4")


def test_a_store_that_never_answers_is_given_up_and_then_left_alone_for_a_while(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    never = threading.Event()

    def silent(where: str, size: int, *, if_gone: str) -> bytes:
        asked.append(where)
        never.wait()
        return b""

    monkeypatch.setattr(stores, "read_object", silent)
    store = Store(root, answer_s=0.05)
    for _ in range(3):
        with pytest.raises(StoreAway, match="does not answer") as error:
            store.read("secret/video.mp4")
        assert "secret" not in str(error.value), "who votes must not see whose video it is"
    never.set()
    assert len(asked) == 1


def test_a_store_that_is_back_is_asked_again(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(f"{root}/video.mp4", b"film")
    monkeypatch.setattr(stores, "_AGAIN_S", 0.0)
    read = artifacts.read_object
    answers = iter([StoreAway("no answer")])

    def once_away(where: str, size: int, *, if_gone: str) -> bytes:
        for error in answers:
            raise error
        return read(where, size, if_gone=if_gone)

    monkeypatch.setattr(stores, "read_object", once_away)
    store = Store(root)
    with pytest.raises(StoreAway):
        store.read("video.mp4")
    assert store.read("video.mp4") == b"film"


@pytest.mark.parametrize(
    "given",
    ["runs", "/runs", "file:///runs", "https://example.org/runs", "s3://me:secret@bucket", "nonsense://a"],
)
def test_what_is_no_store_is_said_in_one_line(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ui", "--artifacts", given, "--bootstrap-servers", "127.0.0.1:1", "--port", "0"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("tribrain: ")
    assert said.count("\n") == 1
    assert "secret" not in said


def test_a_root_that_is_no_store_raises() -> None:
    with pytest.raises(BadInput, match="is not a store"):
        Stores(["runs"])


@pytest.fixture(scope="module")
def on_s3(s3_bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PageServer, str]]:
    """A page over one run: its first video is on S3 alone, its second nowhere, and its third in a folder."""
    folder = tmp_path_factory.mktemp("on-s3")
    write_runs(folder, runs=1)
    place, root = folder / "runs" / "secret-folder-0", f"{s3_bucket}/{uuid.uuid4().hex}"
    first, second = (place / f"iter_{i:02d}" / "video.mp4" for i in (0, 1))
    put(f"{root}/{run_id(0)}/iter_00/video.mp4", first.read_bytes())
    first.unlink()
    second.unlink()
    with page_server(folder, "--artifacts", root, settings=None, **aws_of_this_process()) as server:
        yield server, root


def aws_of_this_process() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def video(iteration: int) -> str:
    return f"/video/{digest(run_id(0), iteration)}"


def test_a_video_on_s3_is_shown_in_parts(on_s3: tuple[PageServer, str]) -> None:
    server, _ = on_s3
    status, headers, body = server.request("GET", video(0), {"Range": "bytes=0-99"})
    assert (status, headers["content-type"], len(body)) == (206, "video/mp4", 100)
    whole = server.request("GET", video(0))[2]
    assert whole[:100] == body
    assert server.request("GET", video(0), {"Range": "bytes=-7"})[2] == whole[-7:]


def test_a_video_that_is_in_no_place_is_said(on_s3: tuple[PageServer, str]) -> None:
    server, _ = on_s3
    status, _, body = server.request("GET", video(1))
    assert (status, orjson.loads(body)) == (404, {"error": "The video is no longer in its store."})


def test_a_folder_comes_before_the_stores(on_s3: tuple[PageServer, str]) -> None:
    server, _ = on_s3
    assert server.request("GET", video(2))[0] == 200


def test_a_store_that_is_away_is_a_sentence_and_no_hang(tmp_path: Path) -> None:
    write_runs(tmp_path, runs=1)
    for film in (tmp_path / "runs").rglob("video.mp4"):
        film.unlink()
    with socket.socket() as silent:  # takes connections, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        away = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "AWS_DEFAULT_REGION": "a-b-1",
        }
        away |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        with page_server(tmp_path, "--artifacts", "s3://bucket/runs", settings=None, **away) as server:
            begun_s = time.monotonic()
            status, _, body = server.request("GET", video(0))
            again = server.request("GET", video(1))[0]
            took_s = time.monotonic() - begun_s
    assert (status, again) == (503, 503)
    assert "the store s3://bucket/runs does not answer" in orjson.loads(body)["error"]
    assert took_s < 9.0, "one wait of five seconds for both"
