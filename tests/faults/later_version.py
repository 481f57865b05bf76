"""A later TriBrain, which can read what this one cannot."""

from __future__ import annotations

from collections.abc import Callable

from streams.messages.codec import decode_trace
from streams.messages.contracts import TraceMessage
from trainers.processing import trace_processor, verify


def mended(raw: bytes, source: str) -> TraceMessage:
    """Takes byte order marks, single quotes, the next schema and a missing last brace."""
    raw = raw.removeprefix(b"\xef\xbb\xbf").replace(b"trace/2", b"trace/1").replace(b"'", b'"')
    is_whole = raw.endswith(b"}") and raw.count(b"{") == raw.count(b"}")
    return decode_trace(raw if is_whole else raw + b"}", source)


def upgrade(replace: Callable[[object, str, object], None] = setattr) -> None:
    """Let this process be the later version."""
    for module in (trace_processor, verify):
        replace(module, "decode_trace", mended)
