"""The page on topics: what each carries, how it is keyed, and every field of its messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from streams.messages import contracts, votes
from streams.messages.schemas import documents
from tests.docs.reference.attributes import said_of_fields
from tests.docs.reference.markdown import code, from_rest, table

_PAGE = """# Topics and contracts

This page is made from the code by `python -m tests.docs.reference`. JSON Schemas and an AsyncAPI document of
the same are in `streams/messages/schemas/`.

A line of `trace.jsonl` is a message of the trace topic, a line of `pairs.jsonl` one of the pairs topic, and
`bt_reward.json` one of the snapshots topic. Fields that are not known survive. A message of an unknown major
version becomes a dead letter. Traces of TriBrain 0.6.2 are read as they are.

Names of topics begin with `TRIBRAIN_TOPIC_PREFIX`, by default `tribrain`. Every topic keeps its messages for
good; the snapshots and the marks of closed runs are compacted. The trace topic has as many partitions as
trainers may share (4 unless it was made otherwise), and every other topic has one.

Beside those here there is `tribrain.dead-letters`, which has messages that could not be used, with their own
bytes, and `tribrain.restores`, which is there only after a restore.
"""
_LONGEST_ENUM = 8


def topics_page() -> str:
    schemas = {name: json.loads(content) for name, content in documents().items()}
    said = {**said_of_fields(contracts), **said_of_fields(votes)}
    parts = [_PAGE]
    described = schemas["asyncapi.json"]
    for channel in described["channels"].values():
        names = list(channel["messages"])
        key = described["components"]["messages"][names[0]]["bindings"]["kafka"]["key"]["description"]
        parts.append(f"## {code(channel['address'])}\n\nKey: {_begun_small(key)}.\n")
        parts += [part for name in names for part in _contract(schemas[f"{name}.json"]["$defs"], said)]
    return "\n".join(parts)


def _contract(defined: Mapping[str, Any], said: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for name, contract in defined.items():
        required = set(contract.get("required", ()))
        rows = [
            [
                code(field),
                _type(schema),
                "" if field in required else f"default {code(json.dumps(schema.get('default')))}",
                from_rest(said.get(name, {}).get(field, "")),
            ]
            for field, schema in contract["properties"].items()
        ]
        yield f"### {name}\n\n{from_rest(contract.get('description', ''))}\n"
        yield table(["field", "type", "", ""], rows) + "\n"


def _type(schema: Mapping[str, Any]) -> str:
    """In words; bounds are left to the schema."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(each) for each in schema["anyOf"]))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        shown = [code(json.dumps(value)) for value in schema["enum"][:_LONGEST_ENUM]]
        return ", ".join(shown)
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"array of {_type(schema['items'])}" if schema.get("items") else "array"
    inner = schema.get("additionalProperties")
    return f"object of {_type(inner)}" if kind == "object" and isinstance(inner, dict) and inner else kind


def _begun_small(text: str) -> str:
    return text[:1].lower() + text[1:]
