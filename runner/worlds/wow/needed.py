"""A file or folder that a model of WoW needs, and whether it is usable."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.errors import BadInput

Groups = tuple[tuple[str, ...], ...]
"""Groups of names in a folder (``*`` is a wildcard): one name of each group must exist."""

T5: Groups = (
    ("config.json",),
    ("tokenizer.json", "spiece.model"),
    ("*.safetensors", "pytorch_model*.bin"),
)
"""Files from which transformers loads a T5 encoder and its tokenizer."""
TOKENIZER: Groups = (("tokenizer_config.json", "config.json"), ("tokenizer.json", "spiece.model"))
"""Files from which transformers loads a tokenizer."""
_LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"


@dataclass(frozen=True, slots=True)
class Needed:
    """A file, or a folder with certain files, that a program of WoW needs."""

    what: str
    path: Path
    holds: Groups = ()
    """Contents of a folder; empty for a file."""
    caches: tuple[Path, ...] = ()
    """Hugging Face caches of the same repository, which can replace it."""
    remedy: str = ""
    """What to do if it is missing."""

    @property
    def is_there(self) -> bool:
        return not self.lack

    @property
    def has_its_names(self) -> bool:
        """Whether files with the right names exist, whatever their contents."""
        if not self.holds:
            return self.path.exists()
        return all(any(any(self.path.glob(name)) for name in group) for group in self.holds)

    @property
    def lack(self) -> str:
        """What is wrong, as the end of a sentence: "is missing"; empty if nothing is."""
        if not self.holds:
            return flaw(self.path)
        lacks = _lacks(self.path, self.holds)
        snapshots = [folder for cache in self.caches for folder in cache.glob("snapshots/*")]
        if not lacks or any(not _lacks(folder, self.holds) for folder in snapshots):
            return ""
        return "; ".join(lacks) if self.path.is_dir() else flaw(self.path)


def require_all(
    consequence: str, needed: Sequence[Needed], further_problems: Sequence[str], python: str
) -> None:
    """Raises BadInput that names every problem, if there is any; ``consequence`` begins the message."""
    problems = [f"the {need.what} {need.path} {need.lack}" for need in needed if need.lack]
    problems += further_problems
    if shutil.which(python) is None:
        problems.append(f"the interpreter {python!r} (--wow-python) is not a program that can be run")
    if problems:
        raise BadInput(f"{consequence}: {'; '.join(problems)}")


def flaw(file: Path) -> str:
    """Why a file cannot be the right one, as the end of a sentence: "is missing"; else empty.

    The size of weights is unknown, but a Git LFS pointer in their place is recognised by its first line.
    """
    try:
        if file.is_dir():
            return "is a folder; a file is needed there"
        with file.open("rb") as opened:
            head = opened.read(len(_LFS_POINTER))
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if head == _LFS_POINTER:
        return "is a Git LFS pointer rather than the file; fetch it with git lfs pull"
    return "is empty" if not head and file.name != "__init__.py" else ""


def _lacks(folder: Path, groups: Groups) -> list[str]:
    """Everything wrong with the folder, each as the end of a sentence."""
    lacking, flawed = [], []
    for group in groups:
        # A broken link, as in a cache that was moved, is matched by its name.
        found = [sorted(path for path in folder.glob(name) if flaw(path) != "is missing") for name in group]
        if any(files and not any(map(flaw, files)) for files in found):
            continue
        broken = [path for files in found for path in files if flaw(path)]
        flawed += [f"has {path.name}, which {flaw(path)}" for path in broken[:1]]
        lacking += [] if broken else [" or ".join(group)]
    return [*([f"lacks {', '.join(lacking)}"] if lacking else []), *flawed]
