"""A periodic training of a tiny model on a broker, in this process or in one of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from msgspec import structs

from streams.kafka.settings import Settings as Kafka
from streams.kafka.writer import produce
from streams.messages.codec import encode
from streams.messages.contracts import AdapterSnapshot, LabelSource, PreferencePair
from streams.messages.stored import Outgoing
from streams.snapshots.artifacts import open_store
from streams.snapshots.feed import read_latest_of
from tests.trainers.lora.tiny import SETTINGS, good_over_bad
from trainers.lora.periodic import LoraJob, serve
from trainers.lora.round import TrainingRecipe

SMALL = ("--rank", "2", "--length", "32", "--batch", "8", "--lr", "0.003", "--niceness", "0")


def numbered(
    n: int, *, first: int = 0, source: LabelSource = "human", model: str = "default", turned: bool = False
) -> list[PreferencePair]:
    """Pairs of a task each, with an id; ``turned`` exchanges what is preferred."""
    pairs = good_over_bad(first + n, source=source, per_task=1)[first:]
    return [
        structs.replace(
            one,
            model=model,
            pair_id=f"{source}-{first + at}",
            chosen_prompt=one.rejected_prompt if turned else one.chosen_prompt,
            rejected_prompt=one.chosen_prompt if turned else one.rejected_prompt,
        )
        for at, one in enumerate(pairs)
    ]


def publish(kafka: Kafka, pairs: Sequence[PreferencePair]) -> None:
    list(produce(kafka, [Outgoing(kafka.pairs_topic, one.model.encode(), encode(one)) for one in pairs]))


def newest(kafka: Kafka, model: str = "default") -> AdapterSnapshot | None:
    return read_latest_of(AdapterSnapshot, kafka, model)


def the_newest(kafka: Kafka, model: str = "default") -> AdapterSnapshot:
    found = newest(kafka, model)
    assert found is not None
    return found


def job_at(
    kafka: Kafka,
    base: Path,
    folder: Path,
    *,
    recipe: TrainingRecipe | None = None,
    store: str = "",
    **changes: object,
) -> LoraJob:
    """What it says goes into ``said.txt``."""

    def say(what: str) -> None:
        with (folder / "said.txt").open("a") as said:
            said.write(what + "\n")

    folder.mkdir(parents=True, exist_ok=True)
    job = LoraJob(
        kafka=kafka,
        model="default",
        recipe=recipe or TrainingRecipe(str(base), replace(SETTINGS, lr=0.003)),
        store=open_store(store or str(folder / "store")),
        work=folder / "work",
        every_pairs=32,
        every_s=1e9,
        say=say,
    )
    return replace(job, **changes)  # type: ignore[arg-type]


def train_once(job: LoraJob) -> AdapterSnapshot:
    serve(job, once=True)
    return the_newest(job.kafka, job.model)


class Started:
    """One ``tribrain serve-lora`` as a process of its own."""

    def __init__(self, pid: int, answers: IO[str], stderr: Path) -> None:
        self._pid, self._answers, self._stderr = pid, answers, stderr

    @property
    def said(self) -> str:
        return self._stderr.read_text()

    def terminate(self) -> None:
        os.kill(self._pid, signal.SIGTERM)

    def wait(self) -> int:
        """The exit code; negative for a signal."""
        return os.waitstatus_to_exitcode(int(self._answers.readline()))


class Warm:
    """Has imported PyTorch once, and forks a process from itself for every start of the command."""

    def __init__(self, kafka: Kafka, base: Path, stderr: Path) -> None:
        self._common = [
            *("serve-lora", "--base-model", str(base), "--bootstrap-servers", kafka.bootstrap_servers),
            *SMALL,
        ]
        self._stderr = stderr
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WARM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, kafka: Kafka, store: str, *more: str, fail_at: str = "") -> Started:
        asked = {
            "words": [*self._common, "--store", store, *more],
            "prefix": kafka.topic_prefix,
            "fail_at": fail_at,
            "stderr": str(self._stderr),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return Started(int(self._process.stdout.readline()), self._process.stdout, self._stderr)

    def close(self) -> None:
        self._process.communicate(timeout=20)


_WARM = """
import json, os, sys
import peft, transformers.models.bert.modeling_bert
import trainers.lora.periodic, tribrain.serve.lora
from streams.fail_points import arm
from tribrain.cli import main

for line in sys.stdin:
    asked = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.environ["TRIBRAIN_TOPIC_PREFIX"] = asked["prefix"]
        os.dup2(os.open(asked["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        arm(asked["fail_at"])
        try:
            main(asked["words"])
        except SystemExit as ended:
            os._exit(ended.code)
        finally:
            os._exit(1)
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


def files_at(snapshot: AdapterSnapshot) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(snapshot.uri).iterdir()}
