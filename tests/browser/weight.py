"""What a page weighs."""

from __future__ import annotations

from playwright.sync_api import Response

MOST_BYTES = 150_000
"""Of a page with all that it loads, but for videos and the stream of events."""


def bytes_of(response: Response) -> int:
    """As it is unpacked; 0 for a video, the stream of events, or what has no body."""
    if response.headers.get("content-type", "").startswith(("video/", "text/event-stream")):
        return 0
    return len(response.body()) if response.status == 200 else 0
