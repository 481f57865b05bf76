"""The store of adapters: what is put there comes back as it was, or is refused."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.errors import BadInput
from streams.snapshots import artifacts
from streams.snapshots.artifacts import (
    ArtifactError,
    ArtifactGone,
    StoreAway,
    content_hash,
    fetch,
    listed,
    open_store,
)

fsspec = pytest.importorskip("fsspec")

FILES = {"adapter.safetensors": b"weights" * 100, "reward.json": b"{}", "adapter_config.json": b"[]"}
LISTED = listed(FILES)


@pytest.fixture(params=["folder", "file", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where adapters are put."""
    kinds = {
        "folder": lambda: str(tmp_path / "store"),
        "file": lambda: f"file://{tmp_path}/store",
        "memory": lambda: f"memory://{uuid.uuid4().hex}",
        "s3": lambda: f"{request.getfixturevalue('s3_bucket')}/{uuid.uuid4().hex}",
    }
    return kinds[request.param]()


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_stored_comes_back_from_its_uri(store: str, tmp_path: Path) -> None:
    uri = open_store(store).put("default/1-abc", FILES, last="reward.json")
    assert uri == f"{store}/default/1-abc"
    folder = fetch(uri, LISTED, tmp_path / "cache")
    assert content_of(folder) == FILES
    assert folder == tmp_path / "cache" / content_hash(LISTED)
    assert fetch(uri, LISTED, tmp_path / "cache") == folder
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]


def test_the_same_may_be_stored_again(store: str, tmp_path: Path) -> None:
    uris = {open_store(store).put("default/1-abc", FILES, last="reward.json") for _ in range(2)}
    assert content_of(fetch(uris.pop(), LISTED, tmp_path / "cache")) == FILES
    assert not uris


@pytest.mark.parametrize("found", [b"weights" * 99, b"weights" * 101, b"Weights" * 100, b""])
def test_a_file_that_is_not_the_one_of_the_snapshot_is_refused(
    store: str, found: bytes, tmp_path: Path
) -> None:
    uri = open_store(store).put("default/1-abc", FILES | {"adapter.safetensors": found}, last="reward.json")
    with pytest.raises(ArtifactError, match=r"adapter\.safetensors: has another size or SHA-256 than") as e:
        fetch(uri, LISTED, tmp_path / "cache")
    assert e.value.reason == "damaged"
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_file_that_is_gone_is_told_from_a_store_that_is_away(store: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactGone):
        fetch(f"{store}/default/1-abc", LISTED, tmp_path / "cache")
    with pytest.raises(StoreAway):
        fetch("no-such-protocol://bucket/default", LISTED, tmp_path / "cache")


@pytest.mark.parametrize("name", ["../escaped", "a/b", "/etc/passwd", "..", ".hidden", "", "a\\b\n"])
def test_no_name_leads_out_of_the_cache(name: str, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "escaped").write_bytes(b"x")
    with pytest.raises(ArtifactError, match="needs a plain name"):
        fetch(str(tmp_path / "store"), listed({name: b"x"}), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("stated", [{}, {"size": -1, "sha256": ""}, {"size": 1 << 40, "sha256": ""}])
def test_a_file_without_a_size_and_a_hash_is_refused(stated: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="a size of at most"):
        fetch(str(tmp_path), {"reward.json": stated}, tmp_path / "cache")


def test_a_cached_file_that_was_changed_is_fetched_again(tmp_path: Path) -> None:
    uri = open_store(str(tmp_path / "store")).put("default/1-abc", FILES, last="reward.json")
    folder = fetch(uri, LISTED, tmp_path / "cache")
    (folder / "reward.json").write_bytes(b"{'}")
    assert content_of(fetch(uri, LISTED, tmp_path / "cache")) == FILES


def test_the_cache_keeps_what_was_used_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "KEPT_IN_CACHE", 2)
    store, cache = open_store(str(tmp_path / "store")), tmp_path / "cache"

    def fetched(number: int) -> Path:
        files = FILES | {"reward.json": b'{"version": %d}' % number}
        return fetch(store.put(f"default/{number}", files, last="reward.json"), listed(files), cache)

    first, second = fetched(1), fetched(2)
    os.utime(first, (1, 1))
    assert fetched(1) == first  # which is now the one that was used last
    third = fetched(3)
    assert set(cache.iterdir()) == {first, third} != {second}


def test_to_a_uri_the_file_that_makes_an_adapter_of_it_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    system = fsspec.filesystem("memory")
    written: list[str] = []
    write = type(system).pipe_file

    def failing(self: Any, path: str, value: bytes, **more: Any) -> None:
        if len(written) == 2:
            raise OSError("the line is cut")
        written.append(path.rpartition("/")[2])
        write(self, path, value, **more)

    monkeypatch.setattr(type(system), "pipe_file", failing)
    with pytest.raises(BadInput, match=r"cannot be written \(OSError\); choose another --store"):
        open_store("memory://half").put("default/1-abc", FILES, last="reward.json")
    assert written == ["adapter.safetensors", "adapter_config.json"]


def test_a_bucket_that_is_not_there_is_not_made(s3_bucket: str) -> None:
    with pytest.raises(BadInput, match=r"there is no bucket 'adaptors'; create it, or choose"):
        open_store("s3://adaptors/lora").put("default/1-abc", FILES, last="reward.json")
    assert fsspec.filesystem("s3").ls("") == [s3_bucket.removeprefix("s3://")]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifacts, "write_atomically", failing)
    with pytest.raises(BadInput, match=r"cannot be written: No space left on device; choose another --store"):
        open_store(str(tmp_path / "store")).put("default/1-abc", FILES, last="reward.json")
    assert not (tmp_path / "store" / "default" / "1-abc").exists()


@pytest.mark.parametrize("uri", ["ftp://me:secret@host/x", "s3://key@bucket/x", "zip://a::file:///b"])
def test_a_uri_with_a_users_name_is_refused_without_repeating_it(uri: str) -> None:
    with pytest.raises(BadInput, match="contains a user name or chains several URIs") as refused:
        open_store(uri)
    assert "secret" not in str(refused.value)
    assert "key" not in str(refused.value)


def test_a_file_system_that_nobody_knows_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"nowhere://x: cannot be used: .*nowhere"):
        open_store("nowhere://x")


@pytest.mark.parametrize(("model", "name"), [("default", "default"), ("a/b c", "a%2Fb%20c"), ("ü", "%C3%BC")])
def test_a_models_name_is_one_part_of_a_path(model: str, name: str) -> None:
    assert artifacts.path_name(model) == name


@pytest.mark.parametrize("model", ["", ".", ".."])
def test_a_name_that_is_no_part_of_a_path_is_bad_input(model: str) -> None:
    with pytest.raises(BadInput, match="give a name that contains a letter"):
        artifacts.path_name(model)


@pytest.fixture(autouse=True)
def _empty_memory() -> Iterator[None]:
    yield
    fsspec.filesystem("memory").store.clear()
