"""The page on Python: every public name, with its signature, its types, and what its docstring says."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import ModuleType
from typing import Any

import tribrain
from tests.docs.reference.annotations import own_types
from tests.docs.reference.attributes import said_of_fields
from tests.docs.reference.docstrings import Docstring, inline, link
from tests.docs.reference.markdown import code, table

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Comparisons": ("comparison", "pairs_from_table", "read_pairs", "pairs_from_runs"),
    "Learning": ("learn", "PreferenceLearner"),
    "A reward": ("Reward", "Preference", "Ranked", "Explanation", "Effect", "evaluate", "Evaluation"),
    "A running Kafka": ("RewardFeed",),
    "A loop of your own": (
        *("refine", "StopRules", "RunResult", "WorldModel", "Generation", "GenerationFailed"),
        *("Critic", "VideoCritic", "Judgement"),
    ),
    "Messages": ("PreferencePair", "RewardSnapshot", "TraceEvent", "CriticResult"),
    "Errors and version": ("BadInput", "__version__"),
}
"""Every public name, in the order of the page."""

_PAGE = """# Python

This page is made from the code by `python -m tests.docs.reference`. `pip install .` in the folder of TriBrain
installs it beside your own code. `from tribrain import learn` then loads `learn` and only what it needs.

[Learn from your own table](../how-to/tables.md) is the guide. Two notebooks go on from there. They are files
for Jupyter, with the outputs of their last run: [learn.ipynb](../notebooks/learn.ipynb) explains a reward and
learns one comparison at a time, and [steer.ipynb](../notebooks/steer.ipynb) steers a loop of your own from a
live Kafka.

Scores are in each critic's own unit, and higher is better. Rewards are log odds, in nats. Intervals are 95%.
"""
_TYPES = """## Types

What the signatures name, and `tribrain` does not have.
"""
_VERSION = "The version of TriBrain, a text."
_LONGEST_LINE = 88


def python_page() -> str:
    names = [name for section in SECTIONS.values() for name in section]
    listing = [[link(name), Docstring(_doc_of(name), name).first_sentence] for name in names]
    parts = [_PAGE, table(["name", ""], listing), ""]
    for title, section in SECTIONS.items():
        parts += [f"## {title}\n", *(f"{part}\n" for name in section for part in _section(name))]
    annotations = [each for name in names for each in _annotations(name)]
    return "\n".join([*parts, _TYPES, table(["type", "", ""], own_types(annotations)), ""])


def callables_of(name: str) -> Mapping[str, Any]:
    """What can be called of a public name, by the heading that it has: itself, and its public methods."""
    value = getattr(tribrain, name)
    if inspect.isfunction(value):
        return {name: value}
    if not inspect.isclass(value):
        return {}
    is_protocol = getattr(value, "_is_protocol", False)
    is_made = "__init__" in vars(value) and not is_dataclass(value) and not is_protocol
    methods = {
        f"{name}.{own}": getattr(value, own)
        for own, member in _members(value).items()
        if inspect.isfunction(getattr(member, "__func__", member))
    }
    return ({name: value} if is_made else {}) | methods


def attributes_of(name: str) -> Mapping[str, str]:
    """Attribute to what is said of it: fields, except a message's, and properties."""
    value = getattr(tribrain, name)
    if not inspect.isclass(value):
        return {}
    said = said_of_fields(sys.modules[value.__module__]).get(name, {})
    own = {} if _is_message(value) else {each: said.get(each, "") for each in _annotated(value)}
    return own | {each: inspect.getdoc(one) or "" for each, one in _properties(value).items()}


def _section(name: str) -> Iterator[str]:
    value, callables = getattr(tribrain, name), callables_of(name)
    yield f"### {code(name) if name.startswith('_') else name}"
    if name in callables:
        yield from _callable(name, callables[name])
    else:
        yield from _described(Docstring(_doc_of(name), name))
    if inspect.isclass(value) and _is_message(value):
        yield f"Its fields are on the page on topics: [{name}](topics.md#{name.lower()})."
    yield from _attributes(name)
    for heading, method in callables.items():
        if heading != name:
            yield f"#### {heading}"
            yield from _callable(heading, method)


def _callable(heading: str, value: Any) -> Iterator[str]:
    yield f"```py\n{_signature(heading, value)}\n```"
    doc = Docstring(inspect.getdoc(value) or "", heading.partition(".")[0])
    said, given = doc.items(), _given(value)
    if said.keys() & {each.name for each in given}:
        rows = [
            [code(each.name), code(each.annotation), _default(each), said.get(each.name, "")]
            for each in given
        ]
        yield from _described(doc, _table("argument", rows, doc.of))
    else:
        yield from _described(doc)


def _described(doc: Docstring, arguments: str = "") -> Iterator[str]:
    """``arguments`` is a table, which stands in place of the docstring's list."""
    yield from doc.prose(with_lists=not arguments)
    yield from [arguments] if arguments else []
    yield from (f"**Raises** {each}" for each in doc.raised())
    yield from (f"```pycon\n{each}\n```" for each in doc.examples())


def _attributes(name: str) -> Iterator[str]:
    value, said = getattr(tribrain, name), attributes_of(name)
    if said:
        defaults = {each.name: _default(each) for each in fields(value)} if is_dataclass(value) else {}
        types = {**_annotated(value), **_returned(value)}
        rows = [[code(each), code(types[each]), defaults.get(each, ""), text] for each, text in said.items()]
        yield _table("attribute", rows, name)


def _table(what: str, rows: list[list[str]], of: str) -> str:
    """Of names with types, defaults and meanings; without a column for defaults where there are none."""
    rows = [[*row[:3], inline(row[3][:1].upper() + row[3][1:], of)] for row in rows]
    if any(row[2] for row in rows):
        return table([what, "type", "default", "meaning"], rows)
    return table([what, "type", "meaning"], [[*row[:2], row[3]] for row in rows])


def _signature(heading: str, value: Any) -> str:
    """As it would be written: on a line where it fits, else an argument a line."""
    returned = "" if inspect.isclass(value) else f" -> {inspect.signature(value).return_annotation}"
    arguments = list(_as_written(value))
    line = f"{heading}({', '.join(arguments)}){returned}"
    if len(line) <= _LONGEST_LINE:
        return line
    return "\n".join([f"{heading}(", *(f"    {each}," for each in arguments), f"){returned}"])


def _as_written(value: Any) -> Iterator[str]:
    has_star = False
    for each in _given(value):
        if each.kind is each.KEYWORD_ONLY and not has_star:
            yield "*"
        has_star = has_star or each.kind in (each.KEYWORD_ONLY, each.VAR_POSITIONAL)
        star = "*" if each.kind is each.VAR_POSITIONAL else ""
        default = "" if each.default is each.empty else f" = {_shown(each.default)}"
        yield f"{star}{each.name}: {each.annotation}{default}"


def _annotations(name: str) -> Iterator[tuple[str, ModuleType]]:
    """All that stand in a name's section, with their module."""
    value = getattr(tribrain, name)
    written: list[str] = []
    if inspect.isclass(value):
        written += [] if _is_message(value) else _annotated(value).values()
        written += _returned(value).values()
    for each in callables_of(name).values():
        written += [given.annotation for given in _given(each)]
        written += [] if inspect.isclass(each) else [inspect.signature(each).return_annotation]
    for annotation in written:
        yield annotation, sys.modules[value.__module__]


def _doc_of(name: str) -> str:
    return _VERSION if name == "__version__" else inspect.getdoc(getattr(tribrain, name)) or ""


def _given(value: Any) -> list[inspect.Parameter]:
    return [each for each in inspect.signature(value).parameters.values() if each.name != "self"]


def _is_message(value: type) -> bool:
    return hasattr(value, "__struct_fields__")


def _members(value: type) -> Mapping[str, Any]:
    return {own: member for own, member in vars(value).items() if not own.startswith("_")}


def _annotated(value: type) -> Mapping[str, str]:
    """Field to type."""
    return {each: of for each, of in inspect.get_annotations(value).items() if not each.startswith("_")}


def _properties(value: type) -> Mapping[str, property]:
    return {own: member for own, member in _members(value).items() if isinstance(member, property)}


def _returned(value: type) -> Mapping[str, str]:
    """Property to type."""
    getters = {own: each.fget for own, each in _properties(value).items() if each.fget is not None}
    return {own: inspect.signature(getter).return_annotation for own, getter in getters.items()}


def _default(each: inspect.Parameter | Field[Any]) -> str:
    if isinstance(each, Field) and each.default_factory is not MISSING:
        return code(_shown(each.default_factory()))
    return "" if each.default in (MISSING, inspect.Parameter.empty) else code(_shown(each.default))


def _shown(default: object) -> str:
    return json.dumps(default, ensure_ascii=False) if isinstance(default, str) else repr(default)
