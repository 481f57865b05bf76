"""``--dry-run`` of a service: what it would do, after everything that it looks at first."""

from __future__ import annotations

import click

from streams.kafka.settings import Settings

dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and start nothing.")


def say_service_plan(settings: Settings, deed: str) -> None:
    """``deed`` begins with a verb. Raises BadInput where Kafka cannot be asked for its topics."""
    # Not at the top: Kafka's client takes a third of a second, and --help needs none.
    from streams.kafka.topics import missing_topics

    click.echo(f"would {deed} at {settings.bootstrap_servers}; nothing was started or made")
    missing = missing_topics(settings)
    click.echo(f"topics that would be made: {', '.join(missing) or 'none'}")
