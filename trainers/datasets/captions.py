"""The caption of a video: the goal, or the prompt with what refinement has added to it."""

from __future__ import annotations

import re
from typing import Literal

from streams.messages.contracts import TraceEvent
from streams.messages.refusals import is_blank

CaptionKind = Literal["goal", "prompt"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


def caption_of(event: TraceEvent, kind: CaptionKind) -> str:
    """The caption of an event; empty if there is none.

    Line ends become ``\\n`` and other control characters are removed, because no format here preserves them.
    """
    text = event.goal_instruction if kind == "goal" else event.prompt
    if is_blank(text):
        return ""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
