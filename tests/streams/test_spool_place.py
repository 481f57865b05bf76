"""A run's spool is on a local disk, wherever the run's folder is."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import BadInput
from streams.spool import place
from streams.spool.place import PLACES, keep_place, network_file_system, other_spools, spool_of

ROOT = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"


def mounted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *mounts: tuple[Path, str]) -> None:
    """As if these were mounted, in this order, on a local disk."""
    lines = [ROOT]
    for number, (at, kind) in enumerate(mounts, start=30):
        escaped = str(at).replace(" ", "\\040")
        lines.append(f"{number} 22 0:{number} / {escaped} rw shared:{number} master:1 - {kind} host:/x rw")
    table = tmp_path / "mountinfo"
    table.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(place, "MOUNTS", table)


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_on_a_local_disk_it_is_in_the_runs_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounted(monkeypatch, tmp_path)
    assert spool_of(tmp_path / "run") == tmp_path / "run" / "spool.sqlite"


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "lustre", "cifs", "ceph", "beegfs", "gpfs", "fuse.sshfs"])
def test_over_a_network_it_is_in_a_folder_of_the_user(
    kind: str, state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounted(monkeypatch, tmp_path, (tmp_path / "share", kind))
    spool = spool_of(tmp_path / "share" / "runs" / "a")
    assert spool.parent == state / "tribrain" / "spools"
    assert spool.name.startswith("a-")


@pytest.mark.parametrize("kind", ["ext4", "overlay", "tmpfs", "fuse.fuse-overlayfs", "fuseblk", "9p", "nfsd"])
def test_a_file_system_that_is_not_over_a_network_is_taken(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounted(monkeypatch, tmp_path, (tmp_path / "disk", kind))
    assert spool_of(tmp_path / "disk" / "a").parent == tmp_path / "disk" / "a"


def test_runs_of_one_name_in_two_folders_have_two_spools_and_each_its_own_again(
    state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounted(monkeypatch, tmp_path, (tmp_path / "share", "nfs4"))
    monkeypatch.chdir(tmp_path)
    first, second = (spool_of(tmp_path / "share" / folder / "a") for folder in "xy")
    assert first != second
    assert spool_of(Path("share/x/../x/a")) == first


def test_where_home_is_over_the_network_too_it_is_in_var_tmp(
    state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounted(monkeypatch, tmp_path, (tmp_path / "share", "nfs4"), (state, "nfs4"))
    assert spool_of(tmp_path / "share" / "a").parent.parent.parent == Path("/var/tmp")


def test_where_no_disk_is_local_a_folder_is_asked_for(
    state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounted(monkeypatch, tmp_path, (Path("/"), "nfs4"))
    with pytest.raises(BadInput, match=r"on nfs4, where a spool is not safe.*give --spool-dir"):
        spool_of(tmp_path / "a")


def test_a_folder_that_is_given_is_taken_unless_it_is_over_a_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounted(monkeypatch, tmp_path, (tmp_path / "share", "lustre"))
    assert spool_of(tmp_path / "share" / "a", tmp_path / "disk").parent == tmp_path / "disk"
    with pytest.raises(BadInput, match=r"--spool-dir .*/share: it is on lustre; choose"):
        spool_of(tmp_path / "a", tmp_path / "share")


def test_the_deepest_mount_counts_and_of_two_at_one_place_the_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    share, disk = tmp_path / "a share", tmp_path / "a share" / "disk"
    mounted(monkeypatch, tmp_path, (disk, "nfs4"), (share, "nfs4"), (disk, "ext4"))
    assert network_file_system(share / "x") == "nfs4"
    assert network_file_system(disk / "x") == ""
    assert network_file_system(tmp_path / "a shared thing") == ""


def test_a_link_is_on_what_it_leads_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "share")
    mounted(monkeypatch, tmp_path, (tmp_path / "share", "nfs4"))
    assert network_file_system(tmp_path / "link" / "run") == "nfs4"


def test_a_system_without_that_table_keeps_spools_with_their_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(place, "MOUNTS", tmp_path / "none")
    assert spool_of(tmp_path / "run").parent == tmp_path / "run"


def used(out: Path, folder: Path | None) -> Path:
    """The spool that a run gets, which it leaves with events."""
    spool = spool_of(out, folder)
    keep_place(out, spool)
    spool.parent.mkdir(parents=True, exist_ok=True)
    spool.touch()
    return spool


def test_a_run_goes_on_with_the_spool_that_it_had_last(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = used(out, tmp_path / "a")
    assert used(out, None) == first
    second = used(out, tmp_path / "b")
    assert (used(out, None), other_spools(out, second)) == (second, [first])
    first.unlink()
    assert other_spools(out, second) == []


def test_the_spool_in_the_runs_folder_is_another_one_once_a_folder_is_given(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = used(out, None)
    assert list(out.iterdir()) == [first]  # it needs no note
    second = used(out, tmp_path / "a")
    assert other_spools(out, second) == [first]
    assert other_spools(out, first) == [second]


def test_a_run_that_was_moved_goes_on_with_its_spool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    spool = used(Path("run"), Path("a")).absolute()
    Path("run").rename("moved")
    monkeypatch.chdir("moved")
    assert spool_of(tmp_path / "moved") == spool


def test_where_the_folder_of_its_spool_is_missing_or_over_a_network_a_run_gets_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    spool = used(out, tmp_path / "disk")
    mounted(monkeypatch, tmp_path, (tmp_path / "disk", "nfs4"))
    assert spool_of(out) == out / "spool.sqlite"
    mounted(monkeypatch, tmp_path)
    assert spool_of(out) == spool
    (tmp_path / "disk").rename(tmp_path / "away")
    assert spool_of(out) == out / "spool.sqlite"


@pytest.mark.parametrize("note", ["", "null", "{}", "[0]", '["a"', "\xff"])
def test_a_damaged_note_of_spools_is_bad_input(note: str, tmp_path: Path) -> None:
    (tmp_path / PLACES).write_text(note, encoding="latin-1")
    with pytest.raises(BadInput, match=r"spools.json: the file is damaged: .*; remove it, and give --spool-"):
        spool_of(tmp_path)


def test_a_spool_may_have_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    folder = tmp_path / "b\udcff"
    assert used(tmp_path / "run", folder).parent == folder
    assert spool_of(tmp_path / "run").parent == folder
