"""The text beside a video: the goal, or the prompt with what refinement has added to it."""

from __future__ import annotations

import re
from typing import Literal

from streams.messages.contracts import TraceEvent

CaptionKind = Literal["goal", "prompt"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


def caption_of(event: TraceEvent, kind: CaptionKind) -> str:
    """Empty where there is none.

    Line ends are ``\\n`` and other control characters are left out, as no format here gives those back.
    """
    text = event.goal_instruction if kind == "goal" else event.prompt
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
