"""What reports share: one HTML file that needs nothing else, with its pictures and videos in it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_MAX_VIDEO_BYTES = 28_000_000
"""Of all videos in a report together; a third more as text, so that the report stays below 40 MB."""


def render(template: str, **values: Any) -> str:
    """A page of the template at this path in the package.

    Everything in ``values`` is taken as text, and what the template misses raises.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template(template).render(**values)


def embedded(videos: Sequence[Path | None]) -> list[bytes | None]:
    """The first videos that fit into a report; None for the others."""
    contents: list[bytes | None] = []
    total = 0
    for video in videos:
        total += video.stat().st_size if video is not None else 0
        contents.append(video.read_bytes() if video is not None and total <= _MAX_VIDEO_BYTES else None)
    return contents


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
