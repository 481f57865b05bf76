"""The project's own types that annotations name, each with what it is and where it is explained."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from types import ModuleType

import tribrain
from tests.docs.reference.attributes import said_of_constants
from tests.docs.reference.docstrings import inline
from tests.docs.reference.markdown import code
from tests.docs.reference.topics import topics_page

_OURS = ("streams", "trainers", "runner", "tribrain")


def own_types(annotations: Iterable[tuple[str, ModuleType]]) -> list[list[str]]:
    """Rows of a table: type, what it is made of, and what is said of it; public names have sections instead.

    Each annotation comes with the module that it stands in.
    """
    found: dict[str, list[str]] = {}
    for annotation, module in annotations:
        _explain(annotation, module, found)
    return [found[name] for name in sorted(found)]


def _explain(annotation: str, module: ModuleType, found: dict[str, list[str]]) -> None:
    """Adds the annotation's names, and those that these are made of."""
    names = [node.id for node in ast.walk(ast.parse(annotation, mode="eval")) if isinstance(node, ast.Name)]
    for name in names:
        home = None if name in tribrain.__all__ or name in found else _home(name, module)
        if home is None:
            continue
        value = _defined(home)[name]
        if isinstance(value, ast.ClassDef):
            said = (ast.get_docstring(value) or "").partition("\n\n")[0]
            is_message = f"\n### {name}\n" in _topics()
            made_of = f"[a message](topics.md#{name.lower()})" if is_message else "a class"
            found[name] = [code(name), made_of, inline(said)]
        else:
            made_of = ast.unparse(value)
            found[name] = [code(name), code(made_of), inline(said_of_constants(home).get(name, ""))]
            _explain(made_of, home, found)


def _home(name: str, module: ModuleType) -> ModuleType | None:
    """Where one of the project's own names is defined; None for a name of Python's or a library's."""
    if name in _defined(module):
        return module
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            origin = node.module or ""
            return _home(name, import_module(origin)) if origin.partition(".")[0] in _OURS else None
    return None


@cache
def _defined(module: ModuleType) -> Mapping[str, ast.expr | ast.ClassDef]:
    """Classes and aliases at the top of a module."""
    found: dict[str, ast.expr | ast.ClassDef] = {}
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
    return found


@cache
def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


@cache
def _topics() -> str:
    return topics_page()
