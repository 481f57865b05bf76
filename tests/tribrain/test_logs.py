"""Equal lines of a log come once in ten seconds, and none that is different is lost."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from tribrain.shell.logs import RepeatedLines


class Log:
    def __init__(self) -> None:
        self.now = 0.0
        self._out = io.StringIO()
        self.handler = logging.StreamHandler(self._out)
        self.handler.addFilter(RepeatedLines(10.0, lambda: self.now))
        self.logger = logging.getLogger("tests.repeated")

    @property
    def lines(self) -> list[str]:
        return self._out.getvalue().splitlines()


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    made.logger.addHandler(made.handler)
    yield made
    made.logger.removeHandler(made.handler)


def test_an_equal_line_comes_again_after_ten_seconds_with_how_many_there_were(log: Log) -> None:
    for tenth in range(251):
        log.now = tenth / 10
        log.logger.error("no connection to %s", "one")
    assert log.lines == [
        "no connection to one",
        "no connection to one (and 99 times more before)",
        "no connection to one (and 99 times more before)",
    ]


def test_a_line_that_differs_in_any_word_or_weight_comes_at_once(log: Log) -> None:
    log.logger.error("no connection to %s", "one")
    log.logger.error("no connection to %s", "two")
    log.logger.warning("no connection to %s", "one")
    assert log.lines == ["no connection to one", "no connection to two", "no connection to one"]


def test_no_more_than_the_last_lines_are_remembered(log: Log) -> None:
    for number in range(1000):
        log.logger.error("line %d", number)
    (remembering,) = log.handler.filters
    assert isinstance(remembering, RepeatedLines)
    assert len(remembering._passed) == 200
    log.logger.error("line %d", 999)
    log.logger.error("line %d", 0)
    assert log.lines[1000:] == ["line 0"]
