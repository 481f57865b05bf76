"""Why a service ended, and that people are told the same as programs."""

from __future__ import annotations

import orjson
import pytest

from streams.errors import BadInput, Fenced
from tribrain.shell.exit_codes import NothingMade
from tribrain.shell.service_end import say_end, saying_end

FACTS = {
    "pairs_learnt": 12,
    "newest_versions": {"default": 7, "other": 3},
    "active_models": ["default"],
    "dead_letters": {},
    "gate": None,
}


def test_people_are_told_each_fact_that_programs_are(capsys: pytest.CaptureFixture[str]) -> None:
    say_end("trainer", "default", FACTS, Fenced("another one"), as_json=True)
    told = orjson.loads(capsys.readouterr().out)
    assert told == {
        "service": "trainer",
        "model": "default",
        **FACTS,
        "ended_by": "takeover",
        "failure": "another one",
    }
    say_end("trainer", "default", FACTS, Fenced("another one"), as_json=False)
    lines = [line.split("  ", 2)[1:] for line in capsys.readouterr().out.splitlines()]
    assert {name: value.strip() for name, value in lines} == {
        "service": "trainer",
        "model": "default",
        "pairs learnt": "12",
        "newest versions": "default 7, other 3",
        "active models": "default",
        "dead letters": "none",
        "gate": "none",
        "ended by": "takeover",
        "failure": "another one",
    }


@pytest.mark.parametrize(
    ("error", "ended_by", "failure"),
    [
        (KeyboardInterrupt(), "signal", None),
        (Fenced("taken over"), "takeover", "taken over"),
        (NothingMade("no pair"), "nothing made", "no pair"),
        (BadInput("made again"), "bad input", "made again"),
        (OSError("disk"), "error", "disk"),
    ],
)
def test_an_error_is_why_it_ended_and_is_raised_all_the_same(
    error: BaseException, ended_by: str, failure: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(type(error)), saying_end("text", "m", dict, once=True, as_json=True):
        raise error
    told = orjson.loads(capsys.readouterr().out)
    assert (told["ended_by"], told["failure"]) == (ended_by, failure)


@pytest.mark.parametrize(("once", "ended_by"), [(False, "signal"), (True, "once")])
def test_without_an_error_its_work_was_done_or_it_was_told_to_stop(
    once: bool, ended_by: str, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {"trainings": 0}
    with saying_end("lora", "m", lambda: facts, once=once, as_json=True):
        facts = {"trainings": 1}
    told = orjson.loads(capsys.readouterr().out)
    assert (told["ended_by"], told["failure"], told["trainings"]) == (ended_by, None, 1)
