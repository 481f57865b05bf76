"""Runs, model and agreement in a real browser, while events and models come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from playwright.sync_api import Response, Route

from streams.kafka.reader import read_topic
from streams.kafka.settings import Settings
from streams.kafka.writer import produce
from streams.messages.codec import encode, sealed
from streams.messages.contracts import RewardSnapshot, snapshot_key
from streams.messages.stored import Outgoing
from streams.messages.votes import Vote
from streams.snapshots.feed import read_latest_snapshot
from streams.spool.publish_now import publish_trace_file
from tests import factories
from tests.browser.accessibility import serious_findings
from tests.browser.voting import at_the_stage, votes_on
from tests.browser.weight import MOST_BYTES, bytes_of
from tests.kafka.test_log_commands import learn_some
from tests.kafka.test_trainer import publish
from tests.pages import page_server, run_id, write_runs
from tests.services import trainer
from tests.waiting import wait_until


def test_what_comes_appears_without_a_reload(tmp_path: Path, settings: Settings, visit: Any) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        page.goto(server.url)
        page.evaluate("() => { window.kept = document.querySelector('#ended .run video') }")
        publish(settings, factories.run([0.3, 0.6], run_id="another-run"))
        page.wait_for_selector("text=move the red cube to the bowl")
        assert page.evaluate("window.kept.isConnected"), "what is as it was stays, and plays on"


def test_what_comes_before_the_stream_of_news_is_there_appears_too(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    goal = "move the red cube to the bowl"
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()

        def be_late(route: Route) -> None:
            publish(settings, factories.run([0.3, 0.6], run_id="another-run"))
            wait_until(lambda: goal.encode() in server.request("GET", "/")[2])
            route.continue_()

        page.route("**/live", be_late, times=1)
        page.goto(server.url)
        page.wait_for_selector(f"text={goal}")


def test_what_a_reader_has_opened_stays_open_when_the_page_renews_itself(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    last = learn_some(settings)
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        page.goto(f"{server.url}/model")
        page.click("summary >> nth=0")
        newer = sealed(replace(last, version=last.version + 1, statement="It has learnt more."))
        key = snapshot_key(newer.model).encode()
        list(produce(settings, [Outgoing(settings.snapshots_topic, key, encode(newer))]))
        page.wait_for_selector("text=It has learnt more.")
        assert page.locator("details").first.get_attribute("open") is not None


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"critic": 40}, "2% from the first vote on. So the effects shrink when it comes."),
        ({"critic": 40, "human": 1}, "the effects shrank when the first of those came."),
    ],
)
def test_what_critics_labels_count_is_said_as_it_is_now(
    labels: dict[str, int], words: str, tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    last = learn_some(settings)
    newer = sealed(replace(last, version=last.version + 1, labels=labels))
    list(
        produce(
            settings, [Outgoing(settings.snapshots_topic, snapshot_key(newer.model).encode(), encode(newer))]
        )
    )
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        page.goto(f"{server.url}/model")
        page.wait_for_selector(f"text={words}")


def test_a_run_is_told_iteration_by_iteration(tmp_path: Path, settings: Settings, visit: Any) -> None:
    write_runs(tmp_path, runs=1)
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        page.goto(f"{server.url}/runs")
        page.click("text=put the cup on the shelf")
        page.wait_for_selector("#steps")
        assert page.locator("#steps article").count() == 3
        assert page.inner_text("#step-1 ins") == "1"
        assert page.inner_text("#step-1 del") == "0"
        assert page.inner_text("#step-2 .tag") == "Best"
        first = page.locator("img[alt^='First frame']")
        assert first.evaluate("async (image) => { await image.decode(); return image.naturalWidth }") == 32
        assert page.locator("#step-0 img[alt^='First frame']").count() == first.count() == 1
        page.wait_for_function(
            "() => [...document.querySelectorAll('video')].every((film) => film.readyState >= 1)"
        )


def test_the_model_is_shown_and_taken_back_once_that_was_confirmed(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    last = learn_some(settings)
    with page_server(tmp_path, settings=settings) as server, trainer(settings):
        for scheme in ("light", "dark"):
            page = visit(server.url, color_scheme=scheme, bypass_csp=True).new_page()
            page.goto(f"{server.url}/model")
            page.wait_for_selector(f"text=version {last.version}")
            assert serious_findings(page) == []
        page = visit(server.url).new_page()
        complaints: list[str] = []
        got: list[Response] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("response", lambda response: got.append(response))
        page.goto(f"{server.url}/model")
        page.wait_for_selector(".chart canvas >> nth=1")
        assert complaints == []
        assert sum(map(bytes_of, got)) < MOST_BYTES
        assert last.statement in page.inner_text("main")
        assert page.locator(".chart canvas").count() == 2
        link = page.locator("#versions a").first
        earlier = int(link.inner_text().split()[-1])
        link.click()
        page.wait_for_selector("text=Everything it learnt since")
        assert _newest(settings) == last.version, "the question alone changes nothing"
        page.fill("#reason", "it dreams")
        page.click(f"button:has-text('Roll back to version {earlier}')")
        page.wait_for_selector("text=The rollback was sent")
        wait_until(lambda: _newest(settings) > last.version, 60)
        page.wait_for_selector(f"h1:has-text('version {_newest(settings)}')")


_IS_FIRST = "version => document.querySelector('#versions tbody tr')?.innerText.startsWith(version)"


def test_five_versions_are_shown_and_all_of_them_to_whoever_asks(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    last = learn_some(settings)
    publish_versions(settings, last, more=6)
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        page.goto(f"{server.url}/model")
        newest = str(last.version + 6)
        page.wait_for_function(_IS_FIRST, arg=newest)
        rows = page.locator("#versions tbody tr:visible")
        assert rows.count() == 5
        page.click("#versions summary")
        assert rows.count() > 5
        assert rows.first.inner_text().startswith(newest)
        assert page.locator("#versions a:visible").count() == rows.count() - 1, "the newest is there already"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_line_of_a_chart_has_a_number_and_a_colour_in_the_legend(
    scheme: str, tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    publish_versions(settings, learn_some(settings), more=1)
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url, color_scheme=scheme).new_page()
        page.goto(f"{server.url}/model")
        page.wait_for_selector(".chart canvas >> nth=1")
        for chart in page.locator(".chart").all():
            names = chart.locator(".u-label").all_inner_texts()[1:]
            assert [name.split()[0] for name in names] == [str(n) for n in range(1, len(names) + 1)]
            colours = chart.locator(".u-marker").evaluate_all(
                "all => all.map((each) => getComputedStyle(each).backgroundColor)"
            )[-len(names) :]
            assert len(set(colours)) == len(names)
            assert "rgba(0, 0, 0, 0)" not in colours


def publish_versions(settings: Settings, last: RewardSnapshot, *, more: int) -> None:
    """Newer ones that have learnt the same."""
    key = snapshot_key(last.model).encode()
    versions = (sealed(replace(last, version=last.version + n)) for n in range(1, more + 1))
    list(produce(settings, [Outgoing(settings.snapshots_topic, key, encode(each)) for each in versions]))


def test_votes_of_a_session_move_the_published_model(tmp_path: Path, settings: Settings, visit: Any) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=settings) as server, trainer(settings):
        for trace in (tmp_path / "runs").glob("*/trace.jsonl"):
            publish_trace_file(settings, trace)
        voter = at_the_stage(visit, server.url)
        voter.vote("1212")
        page = voter.page
        wait_until(lambda: _labels_of_people(settings) == 4, 60)
        assert not list(read_topic(settings, settings.dead_letters_topic))
        page.goto(f"{server.url}/model")
        page.wait_for_selector("text=Labels from people")
        assert page.inner_text("tr:has-text('Labels from people') td") == "4"


def test_two_who_judge_the_same_pairs_see_how_far_they_agree(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path)
    votes = [
        Vote(
            vote_id=f"{name}{i}",
            left_run_id=run_id(0),
            left_iter_idx=i,
            right_run_id=run_id(1),
            right_iter_idx=0,
            answer="right" if answer == "r" else "left",
            annotator=name,
        )
        for name, answers in (("Ann", "lrl"), ("Bob", "lrr"))
        for i, answer in enumerate(answers)
    ]
    list(produce(settings, [Outgoing(settings.votes_topic, b"k", encode(vote)) for vote in votes]))
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        page.goto(f"{server.url}/agreement")
        page.wait_for_selector("text=Ann and Bob")
        # Agreement 2/3; by chance 2/3·1/3 + 1/3·2/3 = 4/9.
        assert "0.40" in page.inner_text("tr:has-text('Ann and Bob')")
        assert "an interval needs 5 pairs" in page.inner_text("tr:has-text('Ann and Bob')")


def test_the_end_of_a_session_says_what_was_done_and_not_before(
    tmp_path: Path, settings: Settings, visit: Any
) -> None:
    write_runs(tmp_path, runs=1, iterations=3)  # three pairs
    with page_server(tmp_path, settings=settings) as server:
        voter = at_the_stage(visit, server.url)
        page = voter.page
        for _ in range(3):
            voter.look()
            assert page.is_hidden("#summary")
            voter.press("1")
        page.wait_for_selector("text=You have judged every pair")
        page.wait_for_selector("#summary-figures b")
        assert page.inner_text("#summary-figures b >> nth=0") == "3"
    assert len(votes_on(settings)) == 3


def test_without_runs_the_page_says_how_they_come(tmp_path: Path, settings: Settings, visit: Any) -> None:
    (tmp_path / "runs").mkdir()
    with page_server(tmp_path, settings=settings) as server:
        page = visit(server.url).new_page()
        for path, words in (
            ("/", "There are no runs yet"),
            ("/runs", "There are no runs yet"),
            ("/model", "No model has been published yet"),
            ("/agreement", "Nobody has voted yet"),
            ("/vote", "Nothing to vote on yet"),
        ):
            page.goto(server.url + path)
            page.wait_for_selector(f"text={words}")


def test_an_open_page_says_it_when_the_broker_falls_silent(tmp_path: Path, visit: Any) -> None:
    write_runs(tmp_path)
    with page_server(tmp_path, settings=Settings(bootstrap_servers="127.0.0.1:1")) as server:
        page = visit(server.url).new_page()
        page.goto(server.url)
        page.wait_for_selector("text=The broker does not answer")


def _newest(settings: Settings) -> int:
    snapshot = read_latest_snapshot(settings, "default")
    return snapshot.version if snapshot is not None else -1


def _labels_of_people(settings: Settings) -> int:
    snapshot = read_latest_snapshot(settings, "default")
    return snapshot.labels.get("human", 0) if snapshot is not None else 0
