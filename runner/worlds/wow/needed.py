"""A thing that a model of WoW needs, and whether it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Groups = tuple[tuple[str, ...], ...]
"""Names in a folder (``*`` stands for anything): of each group there has to be one."""

T5: Groups = (
    ("config.json",),
    ("tokenizer.json", "spiece.model"),
    ("*.safetensors", "pytorch_model*.bin"),
)
"""What transformers loads a T5 encoder and its tokenizer from."""
TOKENIZER: Groups = (("tokenizer_config.json", "config.json"), ("tokenizer.json", "spiece.model"))
"""What transformers loads a tokenizer from."""


@dataclass(frozen=True, slots=True)
class Needed:
    """A file, or a folder that holds certain files, without which a program of WoW does not do its work."""

    what: str
    path: Path
    holds: Groups = ()
    """Of a folder; none: it is a file."""
    caches: tuple[Path, ...] = ()
    """Hugging Face's caches of the same repository, which serve as well."""
    remedy: str = ""
    """What to do where it is missing."""

    @property
    def is_there(self) -> bool:
        return not self.lack

    @property
    def lack(self) -> str:
        """What is wrong, as the end of a sentence: "is missing"; empty where it is there."""
        if not self.holds:
            return "" if self.path.is_file() else "is missing"
        lacking = _lacking(self.path, self.holds)
        snapshots = [folder for cache in self.caches for folder in cache.glob("snapshots/*")]
        if not lacking or any(not _lacking(folder, self.holds) for folder in snapshots):
            return ""
        if not self.path.is_dir():
            return "is missing"
        return f"lacks {', '.join(' or '.join(group) for group in lacking)}"


def _lacking(folder: Path, groups: Groups) -> Sequence[tuple[str, ...]]:
    return [group for group in groups if not any(_has(folder, name) for name in group)]


def _has(folder: Path, name: str) -> bool:
    # A link to nowhere, which a cache that was moved has, is found by its name alone.
    return any(path.exists() for path in folder.glob(name))
