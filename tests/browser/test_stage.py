"""What a voter sees and gets: two films in step, and nothing that tells what made them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import av
import pytest
from playwright.sync_api import Dialog, Page, Response

from runner.worlds.scene import DRAWN
from streams.kafka.settings import Settings
from tests.browser.accessibility import serious_findings
from tests.browser.voting import Voter, at_the_stage, colours, open_pair
from tests.browser.weight import MOST_BYTES, bytes_of
from tests.pages import FPS, PageServer, page_server, run_id, write_runs
from tests.tribrain.test_cli import code_of

PAGES = ("/", "/vote", "/vote/name", "/runs", "/model", "/agreement")
HOSTILE = """<script>alert(1)</script><img src=x onerror=alert(2)>"'&{{7*7}}"""
_WATCH_DRIFT = """(plays) => new Promise((done) => {
  const begun = performance.now();
  let most = 0;
  const look = () => {
    most = Math.max(most, tribrain.drift);
    const isOver = Math.min(...tribrain.plays) >= plays || performance.now() - begun > 30000;
    if (!isOver) requestAnimationFrame(look);
    else done([most, Math.min(...tribrain.plays)]);
  };
  look();
})"""
_ASK_FOR_THE_FIRST_FRAME_AND_VOTE = """() => {
  const createElement = document.createElement.bind(document);
  document.createElement = (tag) => {
    const made = createElement(tag);
    // A second seek, so that the page gets its frame only once the next pair is there.
    made.addEventListener("seeked", async (event) => {
      event.stopImmediatePropagation();
      while (document.documentElement.dataset.open === asked) await new Promise(requestAnimationFrame);
      made.addEventListener("seeked", () => setTimeout(() => { window.hasFrame = true; }));
      made.currentTime += 0.01;
    }, { once: true });
    return made;
  };
  const asked = document.documentElement.dataset.open;
  document.getElementById("start").click();
  document.createElement = createElement;
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "1" }));
}"""


@pytest.mark.parametrize("frames", [(12,), (12, 18)], ids=["of one length", "of two lengths"])
def test_two_films_stay_within_a_frame_also_where_they_begin_again(
    frames: tuple[int, ...], tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path, frames=frames)
    with page_server(tmp_path, settings=settings) as server:
        voter = at_the_stage(visit, server.url)
        voter.look()
        drift, plays = voter.page.evaluate(_WATCH_DRIFT, 3)
    assert plays >= 3, "both were played to their end and again"
    assert drift <= 1 / FPS


def test_frame_by_frame_both_show_the_same_one(voter: Voter) -> None:
    voter.look()
    voter.press(" ")
    frames = []
    for _ in range(3):
        voter.press("f")
        voter.page.wait_for_function(
            "() => [...document.querySelectorAll('.side video')].every((v) => !v.seeking)"
        )
        times = voter.page.evaluate("[...document.querySelectorAll('.side video')].map((v) => v.currentTime)")
        frames.append([int(time * FPS) for time in times])
    assert all(left == right for left, right in frames)
    assert (frames[1][0] - frames[0][0]) % 12 == (frames[2][0] - frames[1][0]) % 12 == 1


def test_the_first_frame_is_shown_to_who_asks_for_it(voter: Voter) -> None:
    voter.look()
    voter.page.click("#start")
    voter.page.wait_for_selector("#first-frame:not([hidden])")
    drawn = voter.page.evaluate(
        "[...document.getElementById('first-canvas').getContext('2d').getImageData(9, 9, 1, 1).data]"
    )
    left, _ = colours(voter.page)
    assert drawn[3] == 255
    assert max(abs(a - b) for a, b in zip(drawn[:3], left, strict=True)) < 10


def test_a_first_frame_that_comes_late_is_not_shown_with_the_next_pair(voter: Voter) -> None:
    voter.look()
    voter.page.evaluate(_ASK_FOR_THE_FIRST_FRAME_AND_VOTE)
    voter.look()
    voter.page.wait_for_function("window.hasFrame")
    assert voter.page.is_hidden("#first-frame")


def test_nothing_that_comes_before_the_vote_tells_what_made_the_videos(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    for video in (tmp_path / "runs").rglob("video.mp4"):
        _title(video, f"secret-title of {video}")
    got: list[bytes] = []
    sizes: set[str] = set()

    def keep(response: Response) -> None:
        got.append(f"{response.url} {response.all_headers()}".encode())
        if "/film/" in response.url:
            sizes.add(response.all_headers()["content-range"].partition("/")[2])
        elif response.request.resource_type != "media":
            got.append(response.body())

    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        page.on("response", keep)
        page.goto(f"{server.url}/vote")
        open_pair(page)
        films = page.evaluate("[...document.querySelectorAll('.side video')].map((v) => v.src)")
        for film in films:
            got.append(server.request("GET", film.removeprefix(server.url))[2])
        told = b"\n".join(got)
        assert b"secret" not in told
        assert run_id(0).encode() not in told
        assert not re.search(rb"iter_\d|video\.mp4", told)
        assert len(sizes) == 1, "sizes of files are rounded up"
        page.click("#prompts")
        page.wait_for_selector("#prompt-texts:not([hidden])")
        assert "secret prompt" in page.inner_text("#prompt-left")


def test_whoever_votes_is_told_what_a_simulated_video_draws_and_nothing_of_other_videos(
    tmp_path: Path, settings: Settings, visit: Any, voter: Voter
) -> None:
    of_run = ["--goal", "move the red cube to the green bowl", "--iters", "3"]
    assert code_of("run-simulated", *of_run, "--out", str(tmp_path / "runs" / "a")) == 0
    with page_server(tmp_path, settings=settings) as server:
        simulated = at_the_stage(visit, server.url)
        simulated.look()
        assert simulated.page.inner_text("#about") == DRAWN
        simulated.press("1")
        simulated.look()
        simulated.press("u")
        assert simulated.page.inner_text("#about") == DRAWN, "also of a pair that undo brings back"
    voter.look()
    assert not voter.page.is_visible("#about")


def test_no_page_asks_anybody_else_or_breaks_its_own_policy(shared_page: PageServer, voter: Voter) -> None:
    asked: set[str] = set()
    complaints: list[str] = []
    page = voter.page
    page.on("request", lambda request: asked.add(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for path in PAGES:
        page.goto(shared_page.url + path)
        page.wait_for_load_state()
    page.goto(f"{shared_page.url}/vote")
    voter.vote("1")
    assert all(url.startswith(shared_page.url) for url in asked)
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(scheme: str, shared_page: PageServer, visit: Any) -> None:
    page: Page = visit(shared_page.url, color_scheme=scheme, bypass_csp=True).new_page()
    found = {}
    for path in (*PAGES, *_runs(page, shared_page.url)):
        page.goto(shared_page.url + path)
        if path == "/vote":
            open_pair(page)
        found[path] = serious_findings(page)
    assert {path: each for path, each in found.items() if each} == {}


def test_no_page_weighs_over_150_kb_without_its_videos(shared_page: PageServer, visit: Any) -> None:
    for path in PAGES:
        page = visit(shared_page.url).new_page()
        sizes: list[int] = []
        page.on("response", lambda r, sizes=sizes: sizes.append(bytes_of(r)))
        page.goto(shared_page.url + path)
        if path == "/vote":
            open_pair(page)
        assert sum(sizes) < MOST_BYTES, path


def test_hostile_goals_and_prompts_are_text_everywhere(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path, goal=HOSTILE, prompt=HOSTILE)
    opened: list[str] = []
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()

        def dismiss(dialog: Dialog) -> None:
            opened.append(dialog.message)
            dialog.dismiss()

        page.on("dialog", dismiss)
        page.goto(f"{server.url}/vote")
        open_pair(page)
        assert page.inner_text("#goal") == HOSTILE
        page.click("#prompts")
        page.wait_for_selector("#prompt-texts:not([hidden])")
        assert page.inner_text("#prompt-left").startswith(HOSTILE)
        for path in (*PAGES, *_runs(page, server.url)):
            page.goto(server.url + path)
            assert page.locator("img[src=x]").count() == 0
    assert opened == []


def test_on_a_phone_everything_fits_its_width(shared_page: PageServer, visit: Any) -> None:
    url = shared_page.url
    page = visit(url, viewport={"width": 390, "height": 844}, has_touch=True).new_page()
    for path in (*PAGES, *_runs(page, url)):
        page.goto(url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    page.goto(f"{url}/vote")
    pair = open_pair(page)
    page.tap("[data-answer=right]")
    open_pair(page, other_than=pair)


def test_the_prompts_reach_nobody_who_did_not_ask(voter: Voter) -> None:
    voter.look()
    assert "secret prompt" not in voter.page.content()


def _runs(page: Page, url: str) -> list[str]:
    """The pages of single runs that the list links to."""
    page.goto(f"{url}/runs")
    return sorted({a.get_attribute("href") for a in page.query_selector_all("main a[href^='/runs/']")})[:1]


def _title(video: Path, title: str) -> None:
    """The same film with a title in it, as some encoders write one."""
    target = video.with_name("titled.mp4")
    with av.open(str(video)) as source, av.open(str(target), "w") as written:
        written.metadata["title"] = title
        stream = written.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                written.mux(packet)
    assert title.encode() in target.read_bytes()
    target.replace(video)
