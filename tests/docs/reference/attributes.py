"""What the source says of names, in the text below each: neither Python nor JSON Schema keeps it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType


def said_of_constants(module: ModuleType) -> Mapping[str, str]:
    """Name to text, of a module's own names in their order; empty where nothing is said."""
    return dict(_said(_tree(module).body))


def said_of_fields(module: ModuleType) -> Mapping[str, Mapping[str, str]]:
    """Class to field to text."""
    classes = [node for node in _tree(module).body if isinstance(node, ast.ClassDef)]
    return {each.name: dict(_said(each.body)) for each in classes}


def _tree(module: ModuleType) -> ast.Module:
    assert module.__file__ is not None
    return ast.parse(Path(module.__file__).read_text())


def _said(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for node, below in zip(body, [*body[1:], ast.Pass()], strict=True):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name):
            yield target.id, _text(below)


def _text(node: ast.stmt) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return str(node.value.value)
    return ""
