"""A thing that a model of WoW needs, and whether it is there."""

from __future__ import annotations

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
_LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"


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
    def has_its_names(self) -> bool:
        """Whether files of the right names are there, whatever is in them."""
        if not self.holds:
            return self.path.exists()
        return all(any(any(self.path.glob(name)) for name in group) for group in self.holds)

    @property
    def lack(self) -> str:
        """What is wrong, as the end of a sentence: "is missing"; empty where it is there."""
        if not self.holds:
            return flaw(self.path)
        lacks = _lacks(self.path, self.holds)
        snapshots = [folder for cache in self.caches for folder in cache.glob("snapshots/*")]
        if not lacks or any(not _lacks(folder, self.holds) for folder in snapshots):
            return ""
        return "; ".join(lacks) if self.path.is_dir() else flaw(self.path)


def flaw(file: Path) -> str:
    """Why a file cannot be what it should be, as the end of a sentence: "is missing"; else empty.

    Nothing is known of how large weights are: what Git LFS left in their place has its own first line.
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
        return "is a pointer of Git LFS in the place of the file; fetch that with git lfs pull"
    return "is empty" if not head and file.name != "__init__.py" else ""


def _lacks(folder: Path, groups: Groups) -> list[str]:
    """What is wrong with the folder, each as the end of a sentence."""
    lacking, flawed = [], []
    for group in groups:
        # A link to nowhere, which a cache that was moved has, is found by its name alone.
        found = [sorted(path for path in folder.glob(name) if flaw(path) != "is missing") for name in group]
        if any(files and not any(map(flaw, files)) for files in found):
            continue
        broken = [path for files in found for path in files if flaw(path)]
        flawed += [f"has {path.name}, which {flaw(path)}" for path in broken[:1]]
        lacking += [] if broken else [" or ".join(group)]
    return [*([f"lacks {', '.join(lacking)}"] if lacking else []), *flawed]
