"""The documentation as a site: built without a broken link, and whole without a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, pages
from tests.docs.site import external_assets

_ZENSICAL = Path(sys.executable).with_name("zensical")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built pages."""
    folder = tmp_path_factory.mktemp("site")
    built = build(folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "build" / "site"


def build(folder: Path, added_to_home: str = "") -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "zensical.toml", folder)
    shutil.copytree(ROOT / "docs", folder / "docs")
    with (folder / "docs" / "index.md").open("a") as home:
        home.write(added_to_home)
    return subprocess.run([_ZENSICAL, "build", "--strict"], cwd=folder, capture_output=True, text=True)


def test_every_page_is_built(site: Path) -> None:
    for page in pages():
        if page.startswith("docs/"):
            assert (site / page.removeprefix("docs/")).with_suffix(".html").is_file()


def test_a_reader_s_browser_fetches_nothing_from_elsewhere(site: Path) -> None:
    assert list(external_assets(site)) == []


def test_a_link_to_a_heading_that_is_not_there_fails_the_build(tmp_path: Path) -> None:
    built = build(tmp_path, added_to_home="\n[nowhere](LOG.md#nowhere)\n")
    assert built.returncode != 0
    assert "anchor does not exist" in built.stdout + built.stderr


@pytest.mark.parametrize(
    ("page", "fetched"),
    [
        ('<script src="https://cdn.example.org/a.js"></script>', "https://cdn.example.org/a.js"),
        ('<link rel="stylesheet" href="//fonts.example.org/b.css">', "//fonts.example.org/b.css"),
        ('<img srcset="c.png, https://example.org/d.png 2x">', "https://example.org/d.png"),
        ("<style>@import 'https://example.org/e.css';</style>", "https://example.org/e.css"),
        ('<p style="background: url(https://example.org/f.png)">', "https://example.org/f.png"),
    ],
)
def test_what_a_page_fetches_from_elsewhere_is_found(page: str, fetched: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page)
    assert list(external_assets(tmp_path)) == [("page.html", fetched)]


def test_links_that_a_reader_follows_and_files_beside_the_page_are_no_assets_from_elsewhere(
    tmp_path: Path,
) -> None:
    (tmp_path / "page.html").write_text(
        '<a href="https://example.org">there</a><link rel="canonical" href="https://example.org/page">'
        '<img src="a.png"><link rel="icon" href="./icon.png">'
    )
    (tmp_path / "style.css").write_text("body { background: url(data:image/png;base64,AAAA) }")
    assert list(external_assets(tmp_path)) == []
