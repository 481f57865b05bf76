"""Prompts identified by their text, to keep prompts for comparing models out of their training."""

from __future__ import annotations

import hashlib
import string
import unicodedata
from collections.abc import Collection

from streams.messages.contracts import TraceEvent

_AROUND = string.punctuation + string.whitespace + "…。！？、"


def prompt_digest(text: str) -> str:
    """12 hexadecimal digits; ignores case, extra spaces, and punctuation around the text.

    >>> prompt_digest("Pour the  tea.") == prompt_digest("pour the tea")
    True
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.sha256((plain.strip(_AROUND) or plain).encode()).hexdigest()[:12]


def is_of(event: TraceEvent, prompts: Collection[str]) -> bool:
    """Whether the digest of an iteration's goal or prompt is one of these."""
    return bool(prompts) and any(
        prompt_digest(text) in prompts for text in (event.goal_instruction, event.prompt)
    )
