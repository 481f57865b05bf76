"""``--dry-run``: what a command would do, printed after all of its checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import orjson

from streams.kafka.settings import Settings

dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and start nothing.")


def say_plan(first: str, facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what a command would do: a sentence for people, and the facts known beforehand."""
    if as_json:
        click.echo(orjson.dumps({"dry_run": True, **facts}))
        return
    click.echo(f"{first}; nothing was made or written")
    for name, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        click.echo(f"  {name.replace('_', ' '):17}  {'none' if shown is None else shown}")


def say_service_plan(settings: Settings, deed: str, *, as_json: bool) -> None:
    """Print what a service would do, and which topics it would create; ``deed`` begins with a verb.

    Raises BadInput where Kafka cannot be asked for its topics.
    """
    # Not at the top: Kafka's client takes a third of a second, and --help needs none.
    from streams.kafka.topics import missing_topics

    missing = missing_topics(settings)
    if as_json:
        plan = {"dry_run": True, "would": deed, "kafka": settings.bootstrap_servers, "new_topics": missing}
        click.echo(orjson.dumps(plan))
        return
    click.echo(f"would {deed} at {settings.bootstrap_servers}; nothing was started or made")
    click.echo(f"topics that would be made: {', '.join(missing) or 'none'}")
