"""What is looked at in health and in faults: a trainer or a page, by the address of its metrics."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.kafka.settings import Settings
from streams.kafka.topics import create_topics
from tests.alerts.history import Look
from tests.kafka.test_trainer_metrics import measured_trainer, url_of, wait_until_well
from tests.pages import page_server
from tests.scrapes import Scrape
from tests.services import Service
from tests.waiting import wait_until


class Target:
    """A process that serves its metrics."""

    def __init__(self, process: Service, url: str) -> None:
        self.process, self._url = process, url

    def look(self) -> Look:
        return Look.at(f"{self._url}/metrics")

    def once(self, holds: Callable[[Scrape], object]) -> Look:
        """The first look of which that is true."""
        return first_look(self.look, holds)

    def well(self) -> Look:
        """A look at a trainer that has read all that there is."""
        wait_until_well(self._url)
        return self.look()


def new_settings(kafka: str) -> Settings:
    """Topics that nothing else uses."""
    settings = Settings(bootstrap_servers=kafka, topic_prefix=f"test-alerts-{uuid.uuid4().hex[:12]}")
    create_topics(settings)
    return settings


def first_look(look: Callable[[], Look], holds: Callable[[Scrape], object]) -> Look:
    """The first that shows this."""
    seen: list[Look] = []

    def is_true() -> object:
        seen.append(look())
        return seen[-1].text is not None and holds(seen[-1].scrape)

    wait_until(is_true)
    return seen[-1]


@contextmanager
def looked_at(
    settings: Settings, *options: str, change: Callable[[], None] | None = None
) -> Iterator[Target]:
    """A trainer; ``change`` is called in its process before."""
    with measured_trainer(settings, *options, change=change) as (process, url):
        yield Target(process, url)


@contextmanager
def page_at(folder: Path, settings: Settings) -> Iterator[Target]:
    """A page over the runs in ``folder``."""
    with page_server(folder, "--metrics-port", "0", settings=settings) as server:
        assert server.process is not None
        yield Target(server.process, url_of(server.process))
