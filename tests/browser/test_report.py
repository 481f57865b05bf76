"""A report in a real browser: from a file, with and without its script, on a screen and on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams.messages.codec import encode
from tests import factories
from tests.browser.accessibility import serious_findings
from tests.recorded_runs import write_run as write_recorded_run
from tests.tribrain.demo_files import write_demo
from trainers.online.train import train_on_pairs
from tribrain.demo.report import build_report
from tribrain.run.report import build_run_report

PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder)
    name = "object_continuity_and_" * 3
    pairs = [factories.pair({f"{name}.physics": 0.9, "b.x": 0.4}, {f"{name}.physics": 0.1, "b.x": 0.6})]
    (folder / "bt_reward.json").write_bytes(encode(train_on_pairs(pairs)))
    return build_report(folder).path.as_uri()


def shown(page: Any) -> list[str]:
    """The runs in the list, from top to bottom."""
    return [row.get_attribute("id") for row in page.locator(".row").all() if row.is_visible()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 900}, PHONE], ids=["screen", "phone"])
def test_everybody_can_read_it(address: str, visit: Any, scheme: str, size: dict[str, int]) -> None:
    page = visit(address, "", color_scheme=scheme, viewport=size, bypass_csp=True).new_page()
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    assert serious_findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]


def test_it_asks_for_nothing_but_itself_and_has_no_complaint(address: str, visit: Any) -> None:
    page = visit(address, "").new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    page.locator("#run-2 summary").first.click()
    page.locator("#run-2 video").first.evaluate("(film) => film.play()")
    page.wait_for_function("() => document.querySelector('#run-2 video').readyState >= 2")
    assert [url for url in asked if not url.startswith("data:")] == [address]
    assert complaints == []


def test_without_a_script_every_run_is_there_and_opens(address: str, visit: Any) -> None:
    page = visit(address, "", java_script_enabled=False).new_page()
    page.goto(address)
    assert shown(page) == ["run-1", "run-2", "run-3"]
    assert page.locator("#choose").is_hidden()
    page.locator("#run-2 > summary").click()
    assert page.locator("#run-2-step-0").is_visible()


def test_runs_are_found_by_a_word_and_by_how_they_were_steered(address: str, visit: Any) -> None:
    page = visit(address, "").new_page()
    page.goto(address)
    page.fill("#find", "MOVE the")
    assert shown(page) == ["run-1", "run-3"]
    assert page.inner_text("#shown") == "2 of 3 runs"
    page.select_option("#group", "throughout")
    assert shown(page) == ["run-3"]
    page.fill("#find", "")
    page.select_option("#group", "")
    assert shown(page) == ["run-1", "run-2", "run-3"]


def test_runs_are_sorted_the_best_first_and_come_back_into_their_order(address: str, visit: Any) -> None:
    page = visit(address, "").new_page()
    page.goto(address)
    for by, expected in (
        ("best", ["run-3", "run-2", "run-1"]),
        ("gain", ["run-3", "run-1", "run-2"]),
        ("order", ["run-1", "run-2", "run-3"]),
    ):
        page.select_option("#sort", by)
        assert shown(page) == expected


def test_a_run_without_a_score_is_sorted_last(tmp_path: Path, visit: Any) -> None:
    write_recorded_run(tmp_path / "a", [None])
    write_recorded_run(tmp_path / "b", [0.0])
    write_recorded_run(tmp_path / "c", [0.2, 0.6])
    address = build_run_report(tmp_path).path.as_uri()
    page = visit(address, "").new_page()
    page.goto(address)
    page.select_option("#sort", "best")
    assert shown(page) == ["run-3", "run-2", "run-1"]


def test_a_link_to_an_iteration_opens_its_run(address: str, visit: Any) -> None:
    page = visit(address, "", java_script_enabled=False).new_page()
    page.goto(f"{address}#run-2-step-1")
    assert page.locator("#run-2-step-1").is_visible()


def test_plots_take_the_colours_of_a_dark_page(address: str, visit: Any) -> None:
    colours = []
    for scheme in ("light", "dark"):
        page = visit(address, "", color_scheme=scheme).new_page()
        page.goto(address)
        text = page.locator(".plot text").first
        colours.append(text.evaluate("(each) => getComputedStyle(each).fill"))
        quiet = page.locator("figcaption").first.evaluate("(each) => getComputedStyle(each).color")
        assert colours[-1] == quiet
    assert colours[0] != colours[1]


def test_plots_can_be_read_on_a_phone(address: str, visit: Any) -> None:
    page = visit(address, "", viewport=PHONE).new_page()
    page.goto(address)
    heights = page.evaluate(
        "[...document.querySelectorAll('.plot text')].map((each) => each.getBoundingClientRect().height)"
    )
    assert min(heights) >= 10
