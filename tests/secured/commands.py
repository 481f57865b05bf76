"""Every command that talks to Kafka, with what it needs to get as far as that."""

from __future__ import annotations

from pathlib import Path

from tribrain.shell.kafka_access import SERVICES

_ARGUMENTS = {
    "run-simulated": ("--goal", "a cube", "--out", "{folder}/run"),
    "rescore": ("{folder}",),
    "publish-trace": ("{folder}/trace.jsonl",),
    "vote --import": ("{folder}/votes.csv",),
    "vote --export": ("{folder}/votes.csv",),
    "end-run": ("--silent-for-s", "1"),
    "replay --source pairs": ("--out", "{folder}/again"),
    "replay --source trace": ("--out", "{folder}/again"),
    "snapshots rollback": ("--version", "1"),
    "dlq show": ("a-letter",),
    "serve-lora": ("--store", "{folder}/store", "--base-model", "none"),
    "backup": ("{folder}/tribrain.backup",),
    "restore": ("{folder}/tribrain.backup",),
    "users create": ("--user", "lab=run-suite", "--out", "{folder}/logins"),
    "finetune": ("--runs", "{folder}", "--work", "{folder}/work", "--train-cmd", "true"),
}
"""What a command needs to get as far as Kafka."""
_SHARE_CODE = ("run-subprocess", "run-wow", "run-suite")
"""With run-simulated."""
COMMANDS = [command for names in SERVICES for command in names.split(", ") if command not in _SHARE_CODE]


def arguments_of(command: str, folder: Path) -> list[str]:
    """The command's words and options."""
    return [*command.split(), *(given.format(folder=folder) for given in _ARGUMENTS.get(command, ()))]
