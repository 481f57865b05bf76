"""How each page is read by the tests: after which other one, with which stand-ins, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

StandIn = Literal["wow", "judge", "secured"]
"""A checkout of WoW, a server of a vision-language model, and a Kafka that asks who you are."""

FIRST = "docs/tutorials/simulated-world.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a page takes for granted."""

    after: str | None = None
    """The page whose folder a reader has who comes to this one."""
    needs: tuple[StandIn, ...] = ()
    is_long: bool = False
    """Takes more than about 20 s, so that only ``make test-faults`` runs it."""
    says: tuple[str, ...] = ()
    """What its commands have to print."""


READINGS: Mapping[str, Reading] = {
    "README.md": Reading(needs=("wow",)),
    "CONTRIBUTING.md": Reading(),
    FIRST: Reading(),
    "docs/tutorials/world-model.md": Reading(is_long=True),
    "docs/tutorials/votes.md": Reading(is_long=True),
    "docs/tutorials/stack.md": Reading(says=("bit for bit the published snapshot",), is_long=True),
    "docs/how-to/configure.md": Reading(says=("[run.simulated]",)),
    "docs/how-to/tables.md": Reading(says=("take 2:", "learnt from 40:")),
    "docs/how-to/critics.md": Reading(),
    "docs/how-to/vlm-judge.md": Reading(needs=("judge",)),
    "docs/how-to/evaluate.md": Reading(after=FIRST, is_long=True),
    "docs/how-to/wow.md": Reading(needs=("wow",)),
    "docs/how-to/wow-benchmark.md": Reading(needs=("wow",)),
    "docs/how-to/datasets.md": Reading(after=FIRST, is_long=True),
    "docs/how-to/text-rewards.md": Reading(after=FIRST, is_long=True),
    "docs/how-to/fine-tuning.md": Reading(needs=("wow",), is_long=True),
    "docs/how-to/page.md": Reading(after=FIRST),
    "docs/how-to/kafka.md": Reading(after=FIRST, is_long=True),
    "docs/how-to/secured-kafka.md": Reading(needs=("secured",), is_long=True),
    "docs/how-to/backups.md": Reading(is_long=True),
    "docs/how-to/troubleshooting.md": Reading(),
    "docs/reference/scale.md": Reading(),
    "docs/explanations/preferences.md": Reading(is_long=True),
    "docs/explanations/votes-to-weights.md": Reading(),
}
"""Every page with commands or Python that needs no Docker."""

WITH_DOCKER = ("README.md", "docs/how-to/stack.md")
"""Pages with commands of Docker, which tests/compose reads."""

NOT_RUN = frozenset({"", "text", "json", "properties", "yaml", "toml", "promql", "py", "pycon"})
"""Languages of blocks that nobody runs here: ``py`` is a signature, and ``pycon`` a docstring's example,
which tests/tribrain/api/test_names.py runs."""

ELSEWHERE: Mapping[str, str] = {
    "tribrain demo --ui": "tests/tribrain/test_demo_page.py",
    "tribrain demo --lora": "tests/tribrain/test_demo_lora.py",
}
"""Beginnings of commands that have tests of their own, and the file that has these."""
