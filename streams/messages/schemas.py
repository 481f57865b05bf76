"""The contracts as documents: a JSON Schema per message, and an AsyncAPI description of the topics.

``python -m streams.messages.schemas`` writes them into ``schemas/`` beside this file; a test keeps them up to
date.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from streams.files import write_atomically
from streams.messages.codec import json_schema
from streams.messages.contracts import (
    AdapterSnapshot,
    Checkpoint,
    FinetuneEvent,
    Message,
    PairsEnd,
    PreferencePair,
    RewardSnapshot,
    Rollback,
    RunClosed,
    RunEnd,
    TextSnapshot,
    TraceEvent,
)
from streams.messages.votes import Vote

FOLDER = Path(__file__).with_suffix("")
_CHANNELS: dict[str, tuple[str, str, tuple[type[Message], ...]]] = {
    "trace": ("tribrain.trace", "The run id", (TraceEvent, RunEnd)),
    "closed-runs": (
        "tribrain.closed-runs",
        "Model and run id, and for a later revision its number, separated by slashes",
        (RunClosed,),
    ),
    "votes": ("tribrain.votes", "The vote's id", (Vote,)),
    "pairs": ("tribrain.pairs", "The reward model's name", (PreferencePair, PairsEnd, Rollback)),
    "snapshots": (
        "tribrain.snapshots",
        "Kind and model, separated by a colon: bt:default, text:default, lora:default, checkpoint:default",
        (RewardSnapshot, TextSnapshot, AdapterSnapshot, Checkpoint),
    ),
    "finetune": ("tribrain.finetune", "The reward model's name", (FinetuneEvent,)),
}


def documents() -> dict[str, bytes]:
    """File name to content: ``TraceEvent.json``, …, ``asyncapi.json`` (AsyncAPI 3.0)."""
    contracts = [contract for _, _, group in _CHANNELS.values() for contract in group]
    files: dict[str, dict[str, Any]] = {f"{c.__name__}.json": json_schema(c) for c in contracts}
    files["asyncapi.json"] = _asyncapi(contracts)
    return {
        name: orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n" for name, content in files.items()
    }


def _asyncapi(contracts: list[type[Message]]) -> dict[str, Any]:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "TriBrain topics",
            "version": "1",
            "description": "Messages that cannot be used go to tribrain.dead-letters, byte for byte.",
        },
        "channels": {
            name: {
                "address": address,
                "messages": {c.__name__: {"$ref": f"#/components/messages/{c.__name__}"} for c in group},
            }
            for name, (address, _, group) in _CHANNELS.items()
        },
        "components": {
            "messages": {
                c.__name__: {
                    "name": c.SCHEMA,
                    "contentType": "application/zstd" if c is Checkpoint else "application/json",
                    "payload": {
                        "schemaFormat": "application/schema+json;version=draft-2020-12",
                        "schema": {"$ref": f"{c.__name__}.json"},
                    },
                    "bindings": {"kafka": {"key": {"type": "string", "description": _key_of(c)}}},
                }
                for c in contracts
            }
        },
    }


def _key_of(contract: type[Message]) -> str:
    return next(key for _, key, group in _CHANNELS.values() if contract in group)


if __name__ == "__main__":
    for file_name, content in documents().items():
        write_atomically(FOLDER / file_name, content)
