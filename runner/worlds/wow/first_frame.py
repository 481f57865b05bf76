"""The first-frame files that WoW's models can read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runner.interfaces import GenerationFailed
from runner.video import read_first_frame
from runner.worlds.wow.names import ModelName

# Extensions that each generator reads. It skips others, with exit status 0 and without a video.
_ENDINGS: Mapping[ModelName, tuple[str, ...]] = {
    "dit-2b": (".png", ".jpg", ".jpeg", ".mp4"),
    "dit-7b": (".png", ".jpg", ".jpeg", ".mp4"),
    "wan-14b": (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tiff", ".mp4"),
    "wan-1.3b": (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tiff", ".mp4"),
}


def image_problem(model: ModelName, image: Path) -> str:
    """Why a first frame (an image, or a video's first frame) cannot be used; empty if it can."""
    if not image.is_file():
        return f"the image {image} is missing"
    if image.suffix not in _ENDINGS[model]:
        return (
            f"the image {image} ends in {image.suffix or 'nothing'}, which {model} does not read "
            f"(it reads {', '.join(_ENDINGS[model])})"
        )
    try:
        read_first_frame(image)
    except GenerationFailed as error:
        return str(error)
    return ""
