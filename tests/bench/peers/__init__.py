"""The trainer's core behind other ways to read and write Kafka, each a program on ``serve-trainer``'s topics.

They keep no promise that the trainer keeps: a crash loses or repeats pairs, and nothing fences a second
writer. So what they cost is what the carrying of the bytes costs.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

PEERS = {
    "plain Faust agents": ("plain_faust", "faust"),
    "bare confluent-kafka": ("bare_confluent", "confluent_kafka"),
    "Quix Streams, with state": ("quix", "quixstreams"),
    "bytewax": ("bytewax_flow", "bytewax"),
}
"""What it is called, its module here, and the package that it needs."""


def module_of(peer: str) -> str:
    return f"{__name__}.{PEERS[peer][0]}"


def installed_in(python: Path, peer: str) -> bool:
    """Whether that Python has what the peer needs."""
    ask = f"import sys; from importlib.util import find_spec; sys.exit(find_spec({PEERS[peer][1]!r}) is None)"
    return subprocess.run([python, "-c", ask], check=False).returncode == 0
