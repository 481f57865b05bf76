"""Measures with a question of their own; each is a program, so that nothing before it lies in its memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
import orjson

from streams.errors import BadInput
from streams.kafka.settings import BOOTSTRAP_SERVERS_VARIABLE, TOPIC_PREFIX_VARIABLE, Settings
from tests.bench.results import Finding

MEASURES = ("memory", "open-runs", "catch-up", "latency", "silent-run")
WITHOUT_A_BROKER = ("memory", "open-runs")


def find(name: str, settings: Settings | None) -> list[Finding]:
    """Run a measure, on topics that are its alone. Raises BadInput where it fails."""
    where = {}
    if settings is not None:
        where[BOOTSTRAP_SERVERS_VARIABLE] = settings.bootstrap_servers
        where[TOPIC_PREFIX_VARIABLE] = settings.topic_prefix
    program = [sys.executable, "-m", f"{__name__}.{name.replace('-', '_')}"]
    ended = subprocess.run(program, env=os.environ | where, capture_output=True, check=False)
    if ended.returncode:
        raise BadInput(f"the measure {name} failed:\n{ended.stderr.decode(errors='replace')[-2_000:]}")
    return [Finding(**finding) for finding in orjson.loads(ended.stdout.splitlines()[-1])]


def say(findings: Sequence[Finding]) -> None:
    """What a measure found, as the last line that it prints."""
    click.echo(orjson.dumps([asdict(finding) for finding in findings]))


def resident_bytes(pid: int | None = None) -> int:
    """What a process holds in memory; needs /proc."""
    pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
