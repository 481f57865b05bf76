"""Every command that talks to Kafka, with what it needs to get as far as that."""

from __future__ import annotations

from pathlib import Path

from tests.factories import backed_up, event
from tests.recorded_runs import write_trace
from tribrain.shell.kafka_access import SERVICES

_VOTE = "left_run_id,left_iter_idx,right_run_id,right_iter_idx,answer\na,0,a,1,left\n"

_ARGUMENTS = {
    "run simulated": ("--goal", "a cube", "--out", "{folder}/run"),
    "run rescore": ("{folder}", "--pixel-critics"),
    "log publish": ("{folder}/trace.jsonl",),
    "log vote --import": ("{folder}/votes.csv",),
    "log vote --export": ("{folder}/votes.csv",),
    "run end": ("--silent-for-s", "1"),
    "log replay --source pairs": ("--out", "{folder}/again"),
    "log replay --source trace": ("--out", "{folder}/again"),
    "log snapshots rollback": ("--version", "1"),
    "log dead-letters show": ("a-letter",),
    "log dead-letters dismiss": ("a-letter",),
    "serve lora": ("--store", "{folder}/store", "--base-model", "none"),
    "log backup": ("{folder}/tribrain.backup",),
    "log restore": ("{folder}/tribrain.backup",),
    "log users create": ("--user", "lab=suite run", "--out", "{folder}/logins"),
    "data finetune": ("--runs", "{folder}", "--work", "{folder}/work", "--train-cmd", "true"),
}
"""What a command needs to get as far as Kafka, with the files that ``arguments_of`` writes."""
_SHARE_CODE = ("run subprocess", "run wow", "suite run", "serve page")
"""With ``run simulated``, and with ``ui``."""
COMMANDS = [command for names in SERVICES for command in names.split(", ") if command not in _SHARE_CODE]


def arguments_of(command: str, folder: Path) -> list[str]:
    """The command's words and options; the files that it reads are in the folder."""
    write_trace(folder, [event(0, 0.5)])
    (folder / "votes.csv").write_text(_VOTE)
    backed_up(folder / "tribrain.backup", {}, prefix="tribrain")
    return [*command.split(), *(given.format(folder=folder) for given in _ARGUMENTS.get(command, ()))]
