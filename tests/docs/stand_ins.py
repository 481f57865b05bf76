"""What stands in place of a reader's own: a checkout of WoW, a model that sees, a Kafka with passwords."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from streams.kafka.security import NAMES
from streams.kafka.settings import Settings
from tests.docs.judge import vision_model
from tests.docs.plan import StandIn
from tests.runner.wow_doubles.checkout import fake_checkout
from tests.secured.broker import SecuredBroker
from tribrain.shell.kafka_access import rights_of

_OF_THE_ADMINISTRATOR = ("log topics create", "log users create")


@contextmanager
def standing_in(
    need: StandIn, folder: Path, topic_prefix: str, request: pytest.FixtureRequest
) -> Iterator[Mapping[str, str]]:
    """What is to be typed in place of what the page says, while it stands there."""
    if need == "wow":
        fake_checkout(folder / "WoW")  # and first.png beside it
        yield {}
    elif need == "judge":
        with vision_model() as address:
            yield {"127.0.0.1:8000": address}
    else:
        broker = SecuredBroker(request.getfixturevalue("kafka_jars"), folder)
        with broker.broker:
            _administrator(broker, folder, topic_prefix)
            yield {"kafka.example.org:9093": f"localhost:{broker.port}"}


def _administrator(broker: SecuredBroker, folder: Path, topic_prefix: str) -> None:
    """By a certificate, with the login in ``admin.properties``."""
    settings = broker.holder("admin")
    of_prefix = Settings(bootstrap_servers=settings.bootstrap_servers, topic_prefix=topic_prefix)
    rights = [right for command in _OF_THE_ADMINISTRATOR for right in rights_of(command, of_prefix)]
    broker.allow_certificate("admin", rights)
    given = {name: str(getattr(settings.security, field)) for field, name in NAMES.items()}
    lines = [f"{name}={value}" for name, value in given.items() if value]
    text = "\n".join([f"bootstrap.servers={settings.bootstrap_servers}", *lines])
    (folder / "admin.properties").write_text(text)
