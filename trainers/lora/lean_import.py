"""Imports Transformers' modelling code without parts that scoring never runs, for a faster first score.

A full import loads scikit-learn and scipy (for assisted generation and detection losses), Accelerate and
PyTorch's distributed tensors (for models spread over GPUs), and PyTorch's compiler (for decorators and one
kind of attention): 2 of 2.6 s. Creating a model's tensors loads SymPy, for symbolic sizes.
"""

from __future__ import annotations

import importlib
import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

import torch

from streams.errors import BadInput

T = TypeVar("T")

_ABSENT = (
    "is_accelerate_available",
    "is_sklearn_available",
    "is_scipy_available",
    "is_torch_distributed_available",
    "is_torch_flex_attn_available",
)
_COMPILER = "torch._dynamo"
_SHAPES = "torch.fx.experimental.symbolic_shapes"
_TRACED = f"{_COMPILER}._trace_wrapped_higher_order_op"


def lean(load: Callable[[], T]) -> T:
    """The result of ``load``, without those imports if possible.

    For a process that scores: the imported modules stay limited, and cannot generate with an assistant or
    spread a model over GPUs. Does nothing if Transformers' models are already imported.
    """
    if "transformers.modeling_utils" in sys.modules:
        return load()
    loaded = set(sys.modules)
    try:
        with _without():
            return load()
    except (ImportError, AttributeError, NameError, BadInput):  # a version that needs them, or a bad file
        for name in set(sys.modules) - loaded:
            if name.startswith("transformers."):
                del sys.modules[name]
    return load()


@contextmanager
def _without() -> Iterator[None]:
    from transformers import utils
    from transformers.utils import import_utils

    places = [(module, name) for module in (utils, import_utils) for name in _ABSENT if hasattr(module, name)]
    before = [(module, name, getattr(module, name)) for module, name in places]
    for module, name in places:
        setattr(module, name, _is_not_available)
    reset = torch.nn.Embedding.reset_parameters
    torch.nn.Embedding.reset_parameters = _is_loaded_later
    stand_ins: dict[str, ModuleType] = {}
    if _COMPILER not in sys.modules:
        stand_ins = {_COMPILER: _Compiler(_COMPILER), _TRACED: _Traced(_TRACED)}
    if _SHAPES not in sys.modules:
        stand_ins[_SHAPES] = _Shapes(_SHAPES)
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        torch.nn.Embedding.reset_parameters = reset
        for module, name, function in before:
            setattr(module, name, function)
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


def _is_loaded_later(embedding: torch.nn.Embedding) -> None:
    """Skips random initialisation, which the file's values replace, and which would load SymPy here."""


def _is_not_available() -> bool:
    return False


class _Compiler(ModuleType):
    """Its decorators are markers for a compiler that scoring does not call."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _unchanged


def _unchanged(function: Any = None, *_: object, **__: object) -> Any:
    """Works as a decorator, with or without arguments."""
    return function if callable(function) else _unchanged


class _Shapes(ModuleType):
    """Tensor sizes are numbers here, so a condition on them has a plain truth value."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _OF_NUMBERS:
            return _OF_NUMBERS[name]
        if sys.modules.get(_SHAPES) is self:
            del sys.modules[_SHAPES]
        return getattr(importlib.import_module(_SHAPES), name)


def _truth(condition: object, *_: object, **__: object) -> bool:
    return bool(condition)


_OF_NUMBERS: dict[str, Callable[..., bool]] = {
    "expect_true": _truth,
    "guard_or_false": _truth,
    "guard_or_true": _truth,
    "guard_size_oblivious": _truth,
    "is_nested_int": lambda _: False,
    "sym_eq": operator.eq,
}


class _Traced(ModuleType):
    """Imports the real module when one of its functions is called."""

    @staticmethod
    def TransformGetItemToIndex() -> Any:
        return importlib.import_module(_TRACED).TransformGetItemToIndex()
