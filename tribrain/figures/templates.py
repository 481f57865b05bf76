"""The templates of page and reports: one environment and one look for both."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

LOOK = Path(__file__).parent / "look"
"""Colours, type and spacing (``look.css``), and the icon."""


def environment(*folders: Path) -> Environment:
    """A Jinja environment that escapes everything unless a template opts out; missing values raise.

    Templates are looked for in ``folders``, and then by their path in this package.
    """
    made = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent.parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["score"] = lambda value: "–" if value is None else f"{value:.2f}"
    made.filters["count"] = lambda value: f"{value:,}"
    return made


def render(template: str, **values: Any) -> str:
    """A page of the template at this path in the package; everything in ``values`` is taken as text."""
    return environment().get_template(template).render(**values)


def data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
