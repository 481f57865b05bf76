"""Input that cannot be used: one line that says what was found and what to do, code 2, nothing written."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
import orjson
import pytest
from msgspec.structs import replace

from runner.lab.experiment_plan import ALL_CONDITIONS, ExperimentPlan
from streams.local_broker.jars import KafkaJars
from streams.messages.codec import decode_text_pair, encode, sealed
from streams.messages.contracts import TextSnapshot
from tests import factories
from tests.program import COMMANDS, CONTEXTS
from tests.tribrain.processes import clean_environment, command, needs_proc
from tests.waiting import wait_until
from trainers.online.train import train_on_pairs
from trainers.text.train import train_on_texts
from tribrain.cli import main
from tribrain.lab.experiment import begun_folder

COMMAND = "true {prompt} {out_dir}"
CLOSED = "127.0.0.1:1"
"""Where nothing listens: the port is reserved."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with every kind of file that is good or bad."""
    monkeypatch.chdir(tmp_path)
    for name in ("TRIBRAIN_BOOTSTRAP_SERVERS", "TRIBRAIN_TOPIC_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    events = factories.run([0.2, 0.9, 0.3])
    write("good/trace.jsonl", *map(encode, events))
    write("not-json/trace.jsonl", encode(events[0]), b"{")
    write("nan/trace.jsonl", encode(events[0]).replace(b'"overall_score":0.2', b'"overall_score":NaN'))
    write("text/trace.jsonl", encode(events[0]).replace(b'"overall_score":0.2', b'"overall_score":"high"'))
    write("empty/trace.jsonl")
    (tmp_path / "folder" / "trace.jsonl").mkdir(parents=True)
    pairs = [factories.pair({"goal.task": 0.9}, {"goal.task": 0.1})]
    write("pairs.jsonl", *map(encode, pairs))
    write("empty.jsonl")
    write("vote.jsonl", b'{"vote_id": "v"}')
    write("votes.csv", b"task,winner,left_sharp,right_sharp", b"tea,left,0.9,0.4")
    write("original.jsonl", original_pair())
    snapshot = encode(train_on_pairs(pairs))
    write("model.json", snapshot)
    texts = encode(text_model())
    write("text-model.json", texts)
    write("text-damaged.json", texts.replace(b'"critic"', b'"critik"', 1))
    write("text-other.json", encode(sealed(replace(text_model(), scheme={"most": 6}))))
    write("damaged.json", snapshot.replace(b'"human"', b'"humam"', 1))
    scored = [candidate(id=str(n), human=n) for n in range(3)]
    write("candidates.jsonl", *scored)
    write("candidates-nan.jsonl", scored[0], scored[1].replace(b"0.5", b"NaN"))
    write("candidates-text.jsonl", scored[0], scored[1].replace(b"0.5", b'"high"'))
    write("candidates-unjudged.jsonl", *scored, b'{"task_id": "t", "candidate_id": "c", "critic_scores": {}}')
    write("candidates-twice.jsonl", *scored, scored[1])
    write("candidates-single.jsonl", scored[0])
    write("candidates-equal.jsonl", *(candidate(id=str(n), human=1) for n in range(3)))
    write("candidates-other.jsonl", *(line.replace(b"goal.task", b"goal.other") for line in scored))
    write("constant.jsonl", encode(factories.pair({"goal.task": 0.5}, {"goal.task": 0.5})))
    write("foreign/thesis.txt", b"years of work")
    write("demo/summary.json", b"{}")
    write("texts.jsonl", *(text_pair(task=f"t{n}", chosen=f"good {n}") for n in range(4)))
    write("texts-equal.jsonl", text_pair(chosen="same", rejected="same"))
    write("texts-one-task.jsonl", *(text_pair(chosen=f"good {n}") for n in range(4)))
    write("texts-lacking.jsonl", text_pair().replace(b"chosen_prompt", b"chosen_text"))
    write("texts-weightless.jsonl", *(text_pair(task=f"t{n}", weight=0) for n in range(4)))
    write("no-base/config.json", b'{"model_type": "bert"}')
    write("untold-base/config.json", b"{}")
    write("prompts.txt", b"pour the tea")
    write("prompts-lacking.jsonl", b'{"index": 0}')
    write("lora/reward.json", b"{")
    for out in ("planned", "damaged-unit"):
        begun_folder(Path(out), ExperimentPlan(tasks=4, learning_tasks=2))
    for seed in (0, 1):
        for condition in ALL_CONDITIONS:
            write(f"damaged-unit/units/seed-{seed:03d}-{condition.name.replace(' ', '-')}.json", b"{")
    write("damaged-plan/plan.json", b"{")
    write("damaged-suite/suite.json", b"{")
    cv2.imwrite("frame.png", np.zeros((8, 8, 3), np.uint8))
    write("prompts-good.jsonl", prompt(0, "frame.png"), prompt(1, "frame.jpg"))
    write("prompts-no-image.jsonl", b'{"index": 0, "generated_description": "pour the tea"}')
    write("prompts.jsonl", prompt(0, "frame.png"), prompt(1, "gone.png"))
    return tmp_path


def write(path: str, *lines: bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(b"".join(line + b"\n" for line in lines))


def original_pair() -> bytes:
    """As TriBrain 0.6.2 wrote them: prompts, artifacts and scores, but not what the critics said."""
    sides = {f"{side}_{what}": what for side in ("chosen", "rejected") for what in ("prompt", "artifact")}
    scores = {"chosen_score": 0.9, "rejected_score": 0.1}
    return orjson.dumps({"goal_instruction": "a goal", **sides, **scores, "meta": {"mode": "best_vs_rest"}})


def prompt(index: int, image: str) -> bytes:
    return orjson.dumps({"index": index, "image": image, "generated_description": "pour the tea"})


def text_pair(*, task: str = "t", chosen: str = "good", rejected: str = "bad", weight: float = 1.0) -> bytes:
    texts = {"goal_instruction": "a goal", "chosen_prompt": chosen, "rejected_prompt": rejected}
    return orjson.dumps({"task_id": task, "weight": weight, **texts})


def text_model() -> TextSnapshot:
    return train_on_texts([decode_text_pair(text_pair(), "a pair")])


def candidate(*, id: str, human: float) -> bytes:
    scores = {"goal.task": 0.5}
    return orjson.dumps({"task_id": "t", "candidate_id": id, "critic_scores": scores, "human_score": human})


def cases() -> Iterator[tuple[str, str]]:
    """Command and a pattern of what it says."""
    export = "export-preference-pairs --out new/p.jsonl --run-dir"
    yield f"{export} nowhere", r"nowhere/trace\.jsonl: no such file; check the path"
    yield f"{export} not-json", r"not-json/trace\.jsonl@line 2: not JSON .*; expected one JSON object"
    yield f"{export} nan", r"nan/trace\.jsonl@line 1: found NaN; expected finite numbers only"
    yield f"{export} text", r"text/trace\.jsonl@line 1: overall_score: Expected .*, got `str`"
    yield f"{export} empty", r"empty/trace\.jsonl: the file is empty; expected one trace per line"
    yield f"{export} folder", r"folder/trace\.jsonl: cannot be read: Is a directory"
    yield f"{export} pairs.jsonl", r"pairs\.jsonl/trace\.jsonl: cannot be read: Not a directory"
    yield f"{export} good --top-k 0", r"'--top-k': 0 is not in the range x>=1"
    yield f"{export} good --min-gap -0.1", r"'--min-gap': -0\.1 is not in the range x>=0"
    yield f"{export} good --strategy best", r"'--strategy': 'best' is not one of 'best_vs_rest', 'adjacent'"
    export = "export-preference-pairs --run-dir good --out"
    yield f"{export} good", r"good: cannot be written: Is a directory; choose another"
    yield f"{export} pairs.jsonl/p.jsonl", r"p\.jsonl: cannot be written: .*; choose another"
    yield f"{export} ''", r"'--out' / '-o': the path is empty"

    train = "train-preference-rm --out new/m.json --pairs"
    yield (
        f"{train} votes.csv",
        r"votes\.csv@line 1: not JSON .*, and a table is learnt in Python, with tribrain\.learn",
    )
    yield f"{train} nowhere", r"nowhere: no such file"
    yield f"{train} empty.jsonl", r"empty\.jsonl: the file is empty; expected one pair per line"
    yield f"{train} good", r"good: cannot be read: Is a directory"
    yield (
        f"{train} good/trace.jsonl",
        r"line 1: schema is 'tribrain\.trace/1'; this version reads 'tribrain\.pair",
    )
    yield (
        f"{train} original.jsonl",
        r"line 1: a required field is missing.*; export .*again with tribrain pairs export",
    )
    yield f"{train} pairs.jsonl --epochs 0", r"'--epochs': 0 is not in the range"
    yield "train-preference-rm --pairs pairs.jsonl --out good", r"good: cannot be written: Is a directory"

    build = "build-dataset --format hf --out new --runs"
    yield f"{build} nowhere", r"nowhere: no such folder; give the folder of a run, or one that holds such"
    yield f"{build} foreign", r"foreign: it has no trace\.jsonl, nor does a folder in it; give the folder of"
    yield f"{build} pairs.jsonl", r"pairs\.jsonl: it has no trace\.jsonl"
    yield f"{build} not-json", r"not-json/trace\.jsonl@line 2: not JSON .*; expected one JSON object"
    yield f"{build} nan", r"nan/trace\.jsonl@line 1: found NaN; expected finite numbers only"
    yield (
        f"{build} good",
        r"no video is left for a dataset: videos that are missing \(3\); give more runs, or ask",
    )
    yield f"{build} empty", r"no video is left for a dataset: the runs are empty; give more runs"
    yield f"{build} good --runs nowhere", r"nowhere: no such folder"
    yield f"{build} ''", r"'--runs': the path is empty"
    yield f"{build} good --reward nowhere", r"nowhere: no such file; check the path"
    yield f"{build} good --reward damaged.json", r"damaged\.json: the checksum does not match.*recreate it"
    yield (
        f"{build} good --reward text-model.json",
        r"holds a tribrain\.text_snapshot/1; expected a tribrain\.rew",
    )
    yield (
        f"{build} good --reward model.json",
        r"model\.json: weighs the critics goal; this run has none of them",
    )
    yield f"{build} good --top-fraction 0", r"'--top-fraction': 0\.0 is not in the range 0\.0<x<=1\.0"
    yield f"{build} good --per-task 0", r"'--per-task': 0 is not in the range x>=1"
    yield (
        f"{build} good --policy best",
        r"'best' is not a selection policy; expected all, top:0\.25, min",
    )
    yield (
        f"{build} good --top-fraction 0.5 --per-task 2",
        r"top:0\.5 and per-task:2 are given; expected one of --top-fraction, --min-reward, --per-task and",
    )
    yield (
        f"{build} good --validation 0.6 --test 0.5",
        r"validation 0\.6 and test 0\.5 leave nothing to train on",
    )
    yield f"{build} good --min-outcome 2", r"'--min-outcome': 2\.0 is not in the range"
    yield f"{build} good --duplicate-bits 65", r"'--duplicate-bits': 65\.0 is not in the range"
    yield f"{build} good --caption words", r"'--caption': 'words' is not one of 'goal', 'prompt'"
    build = "build-dataset --runs good --format"
    yield (
        f"{build} csv --out new",
        r"'--format': 'csv' is not one of 'diffsynth', 'cosmos-predict2', 'wow-dit-2b', 'wow-wan'",
    )
    yield (
        f"{build} hf --out foreign --replace",
        r"foreign: holds files that this command did not write; choose",
    )
    yield f"{build} hf --out pairs.jsonl", r"pairs\.jsonl: is a file; choose another --out"

    preferences = "export-preferences --out new --format"
    yield (
        f"{preferences} trl",
        r"no pairs are named; give --runs with finished runs, or --pairs with a pairs file",
    )
    yield f"{preferences} trl --runs nowhere", r"nowhere: no such folder; give the folder of a run"
    yield f"{preferences} trl --pairs nowhere", r"nowhere: no such file; check the path"
    yield (
        f"{preferences} trl --pairs empty.jsonl",
        r"empty\.jsonl: the file is empty; expected one pair per line",
    )
    yield (
        f"{preferences} trl --pairs texts-lacking.jsonl",
        r"missing: `chosen_prompt`; a pair has goal_instruction",
    )
    yield (
        f"{preferences} trl --pairs texts-equal.jsonl",
        r"no pair is left to write: pairs of two equal prompts \(1\);",
    )
    yield (
        f"{preferences} trl --pairs texts.jsonl --label-source human",
        r"no pair is left .*: pairs with other labels \(4\)",
    )
    yield (
        f"{preferences} video-dpo --runs good",
        r"no pair is left to write: pairs whose videos are missing \(2\); give",
    )
    yield f"{preferences} label-studio --pairs texts.jsonl", r"pairs whose videos are missing \(4\)"
    yield (
        f"{preferences} dpo --runs good",
        r"'--format': 'dpo' is not one of 'trl', 'video-dpo', 'label-studio'",
    )
    preferences = "export-preferences --pairs texts.jsonl --format"
    yield f"{preferences} trl --out good", r"good: cannot be written: Is a directory; choose another path"
    yield (
        f"{preferences} trl --out pairs.jsonl",
        r"pairs\.jsonl: already exists; choose another --out, or give",
    )
    yield f"{preferences} video-dpo --out foreign", r"foreign: holds files that this command did not write"

    lora = "train-lora-rm --base-model no-base --out-dir new/lora --pairs"
    yield f"{lora} nowhere", r"nowhere: no such file; check the path"
    yield f"{lora} empty.jsonl", r"empty\.jsonl: the file is empty; expected one pair per line"
    yield f"{lora} good", r"good: cannot be read: Is a directory"
    yield f"{lora} not-json/trace.jsonl", r"schema is 'tribrain\.trace/1'; .*a pair has goal_instruction"
    yield f"{lora} texts-lacking.jsonl", r"line 1: a required field is missing: `chosen_prompt`; a pair has"
    yield f"{lora} texts-equal.jsonl", r"nothing to learn from: found 1 critic.*; expected chosen_prompt and"
    yield f"{lora} texts-weightless.jsonl", r"nothing to learn from: .*with a weight above 0"
    yield f"{lora} texts-one-task.jsonl", r"found 4 pairs of a single task.*; expected pairs of two tasks"
    yield f"{lora} texts.jsonl --label-source human", r"nothing to learn from: found 4 critic, of which 0 are"
    yield f"{lora} texts.jsonl --label-source nobody", r"'--label-source': 'nobody' is not one of"
    yield f"{lora} texts.jsonl", r"no-base: has no model\.safetensors; pickled weights are not read, so give"
    yield f"{lora} texts.jsonl --held-out 1", r"'--held-out': 1\.0 is not in the range 0<x<1"
    yield f"{lora} texts.jsonl --rank 0", r"'--rank': 0 is not in the range"
    yield f"{lora} texts.jsonl --length 8", r"'--length': 8 is not in the range"
    yield f"{lora} texts.jsonl --precision int8", r"'--precision': 'int8' is not one of 'fp32', 'bf16'"
    lora = "train-lora-rm --pairs texts.jsonl --out-dir new/lora --base-model"
    yield (
        f"{lora} no-such-model",
        r"'no-such-model' is not a folder, and cannot be fetched .*; give --base-model a",
    )
    yield f"{lora} good", r"good: has no config\.json; expected the folder of a pretrained model"
    yield f"{lora} untold-base", r"config\.json: names no model_type; expected a model's configuration"
    yield (
        "evaluate-rm --model lora --holdout texts.jsonl",
        r"lora/reward\.json: the file is damaged: .*; train",
    )
    yield (
        "evaluate-rm --model good --holdout pairs.jsonl",
        r"good: has no reward\.json; expected a folder that",
    )

    text = "train-text-rm --out new/t.json --pairs"
    yield f"{text} nowhere", r"nowhere: no such file; check the path"
    yield f"{text} empty.jsonl", r"empty\.jsonl: the file is empty; expected one pair per line"
    yield f"{text} good", r"good: cannot be read: Is a directory"
    yield f"{text} not-json/trace.jsonl", r"schema is 'tribrain\.trace/1'; .*a pair has goal_instruction"
    yield f"{text} texts-lacking.jsonl", r"line 1: a required field is missing: `chosen_prompt`; a pair has"
    yield f"{text} texts-equal.jsonl", r"nothing to learn from: found 1 pair, .*; expected chosen_prompt and"
    yield f"{text} texts-weightless.jsonl", r"nothing to learn from: .*a weight above 0 and no tie; expected"
    yield f"{text} texts.jsonl --model other", r"found 4 pairs, none for the model 'other'; give --model"
    yield "train-text-rm --pairs texts.jsonl --out good", r"good: cannot be written: Is a directory; choose"
    evaluate = "evaluate-rm --holdout texts.jsonl --model"
    yield f"{evaluate} text-damaged.json", r"text-damaged\.json: the checksum does not match.*recreate it"
    yield f"{evaluate} text-model.json --dimension physics", r"--dimension is for a bt_reward\.json"
    yield f"{evaluate} text-other.json", r"scheme\.grams is None; this version reads 'char_wb': train the"
    yield (
        "evaluate-rm --holdout texts-lacking.jsonl --model text-model.json",
        r"line 1: a required field is missing: `chosen_prompt`",
    )
    yield "explain --model text-model.json", r"holds a tribrain\.text_snapshot/1; expected a tribrain\.reward"
    yield "serve-text --bootstrap-servers kafka", r"'kafka' is not a broker's address; give host:port"
    yield (
        f"serve-text --bootstrap-servers {CLOSED} --every-pairs 0",
        r"'--every-pairs': 0 is not in the",
    )

    picks = "evaluate-picks --pairs pairs.jsonl --candidates"
    yield f"{picks} nowhere", r"nowhere: no such file; check the path"
    yield f"{picks} empty.jsonl", r"empty\.jsonl: the file is empty; expected one candidate per line"
    yield f"{picks} good", r"good: cannot be read: Is a directory"
    yield (
        f"{picks} pairs.jsonl",
        r"line 1: schema is 'tribrain\.pair/1'; .*a candidate has task_id",
    )
    yield f"{picks} candidates-nan.jsonl", r"candidates-nan\.jsonl@line 2: found NaN; expected finite numbers"
    yield (
        f"{picks} candidates-text.jsonl",
        r"line 2: critic_scores\.goal\.task: Expected .*, got `str`, found 'high'; a candidate",
    )
    yield f"{picks} candidates-unjudged.jsonl", r"line 4: a required field is missing: `human_score`; a cand"
    yield f"{picks} candidates-twice.jsonl", r"line 4: candidate '1' of task 't' occurs twice; expected"
    yield f"{picks} candidates-single.jsonl", r"found 1 task, none with two candidates; give the cand"
    yield (
        f"{picks} candidates-equal.jsonl",
        r"found 3 candidates, each with the human score 1; expected scores that",
    )
    yield (
        f"{picks} candidates-other.jsonl",
        r"no critic is common .*\(goal\.other\) and .*\(goal\.task",
    )
    yield f"{picks} candidates.jsonl --plot good", r"good: cannot be written: Is a directory; choose another"
    yield f"{picks} candidates.jsonl --preference-weight -1", r"'--preference-weight': -1\.0 is not in the r"
    yield f"{picks} candidates.jsonl --learner best", r"'--learner': 'best' is not one of"
    picks = "evaluate-picks --candidates candidates.jsonl --pairs"
    yield f"{picks} nowhere", r"nowhere: no such file; check the path"
    yield f"{picks} empty.jsonl", r"empty\.jsonl: the file is empty; expected one pair per line"
    yield (
        f"{picks} original.jsonl",
        r"line 1: a required field is missing.*; a pair has task_id",
    )
    yield f"{picks} constant.jsonl", r"found 1 pair, and no critic whose scores differ; expected"

    explain = "explain --model"
    yield f"{explain} nowhere", r"nowhere: no such file; check the path"
    yield f"{explain} damaged.json", r"damaged\.json: the checksum does not match.*recreate it"
    yield (
        f"{explain} pairs.jsonl",
        r"pairs\.jsonl: schema is 'tribrain\.pair/1'; .*; give a bt_reward\.json, as tribrain reward train",
    )
    yield f"{explain} vote.jsonl", r"vote\.jsonl: a required field is missing: .*; give a bt_reward\.json, as"
    yield f"{explain} good", r"good: is a folder; give a bt_reward\.json"
    yield (
        "evaluate-rm --holdout pairs.jsonl --model vote.jsonl",
        r"a required field is missing: .*; give a bt_reward\.json or text_reward\.json, as tribrain reward",
    )
    yield f"{explain} model.json --step 0", r"'--step': 0\.0 is not in the range"
    yield f"{explain} model.json --plot good", r"good: cannot be written: Is a directory; choose another"

    yield "replay --out new --trace nowhere", r"nowhere: no such file"
    yield "replay --out new --trace nan/trace.jsonl", r"line 1: found NaN"
    yield (
        "replay --out pairs.jsonl --trace good/trace.jsonl",
        r"pairs\.jsonl.*: cannot be written: .*; choose",
    )
    yield "replay --out new", r"no Kafka broker is named; give --bootstrap-servers host:port"
    for words in ("log publish", "log restore", "log vote --format csv --import", "log spool flush"):
        yield f"{words} nowhere", r"nowhere: no such (file|spool); check the path"
    yield "replay --out new --trace good/trace.jsonl --since 2026-01-01", r"files carry no time of arrival"
    yield (
        "replay --out new --trace good/trace.jsonl --run-id nobody",
        r"nothing to replay: .*model 'default'.*bounds",
    )
    yield "replay --out new --since yesterday", r"'yesterday' is not a time; expected e\.g\. 2026-"
    for offset in ("a", "1:", ":1", "1:2:3", "-1"):
        yield f"replay --out new --from-offset={offset}", r"is not an offset; expected e\.g\. 4127, or 2:4127"
    for offset in (f"{2**63}", f"{2**63}:1"):
        yield f"replay --out new --to-offset={offset}", r"'--to-offset': 9223372036854775808 is too large"
    yield "report nowhere", r"nowhere: no such folder; give the folder of a demo, suite or run"
    yield "report empty", r"empty: no trace\.jsonl with an event is in it"
    yield "report demo", r"demo/summary\.json: the file is damaged"

    simulated = "run-simulated --goal g --out"
    yield f"{simulated} good", r"good/trace\.jsonl: already exists.*; choose another --out"
    yield (
        f"{simulated} pairs.jsonl",
        r"pairs\.jsonl: cannot be written: .*; choose another --out",
    )
    yield f"{simulated} new --iters -1", r"'--iters': -1 is not in the range"
    yield f"{simulated} new --seed -1", r"'--seed': -1 is not in the range"
    yield f"{simulated} new --preference-rm nowhere.json", r"nowhere\.json: no such file"
    yield (
        f"{simulated} new --bootstrap-servers {CLOSED} --reward one --model another",
        r"--reward one and the name another are two reward models; give one of them",
    )
    yield (
        f"{simulated} new --reward nowhere",
        r"--reward nowhere: there is no such file, and a name on Kafka needs --bootstrap-servers; check the",
    )
    yield (
        f"{simulated} new --preference-rm damaged.json",
        r"damaged\.json: the checksum does not match.*recreate it",
    )
    yield f"{simulated} new --preference-rm pairs.jsonl", r"pairs\.jsonl: schema is 'tribrain\.pair/1'"
    yield f"{simulated} new --controller pairs.jsonl", r"pairs\.jsonl: not a controller's state"
    yield f"{simulated} new --bootstrap-servers kafka", r"'kafka' is not a broker's address; give host:port"
    yield "run-simulated --goal '' --out new", r"the goal is blank"
    yield "run-simulated --goal '\u200b' --out new", r"the goal is blank"
    yield (
        f"{simulated} new --seed 9223372036854775808",
        r"'--seed': 9223372036854775808 is too large; expected at",
    )

    generator = "run-subprocess --goal g --out new --cmd"
    yield f"{generator} 'true {{out_dir}}'", r"lacks \{prompt\}"
    yield f"{generator} 'true {{prompt}}'", r"lacks \{out_dir\}"
    yield f"{generator} 'true {{prompt}} {{out_dir}} {{size}}'", r"has \{size\}; it may have"
    yield f"{generator} 'true {{prompt}} \"{{out_dir}}'", r"cannot be read: No closing quotation"
    yield f"{generator} 'no-such-program {{prompt}} {{out_dir}}'", r"'no-such-program' is not a program"

    wow = "run-wow --prompt g --out new --image model.json --wow-repo"
    yield (
        f"{wow} nowhere --model dit-2b",
        r"the repository \S*nowhere is missing \(clone https://\S*, and name it as --wow-repo\); the image",
    )
    yield (
        f"{wow} good --model dit-7b",
        r"video2world\.py is missing; the checkpoint \S*wow_dit_7b\.pt is missing",
    )
    yield (
        f"{wow} good --model wan-14b",
        r"the image \S*model\.json ends in \.json, which wan-14b does not read",
    )
    yield f"{wow} good --model dit-2b --gpus 0,0", r"the GPUs are '0,0'; expected each once"
    yield (
        f"{wow} good --model dit-2b --wow-extra-args=--seed",
        r"--wow-extra-args has --seed, but --seed is given",
    )
    yield f"{wow} good --model dit-2b --wow-extra-args '\"'", r"--wow-extra-args cannot be read: No closing"
    yield f"{wow} good --model dit-3b", r"'dit-3b' is not one of"
    yield f"{wow} good --model dit-2b", r"the T5 encoder \S*google-t5/t5-11b is missing"
    yield "doctor --require dit-2b", r"--require dit-2b looks into a checkout of WoW; give --wow-repo"

    yield f"{generator} 'true {{prompt}} {{out_dir}} {{image}}'", r"has \{image\}, and no image is given"
    yield f"{generator} '{COMMAND}' --image nowhere.png", r"nowhere\.png: no such file; check the path"
    yield (
        f"{simulated} new --critic 'python c.py'",
        r"offers the critic 'python c\.py' .*; install it, or give a command: NAME='",
    )
    yield f"{simulated} new --critic 'a=true {{prompt}}'", r"the critic a's command lacks \{video\}"
    yield f"{simulated} new --critic nowhere", r"no installed package offers the critic 'nowhere'"
    yield f"{simulated} new --critic 'blur=true {{video}}'", r"a critic 'blur' already exists"
    yield f"{simulated} new --no-pixel-critics", r"no critic is left without .*, or leave out --no-pixel-cr"
    yield "run rescore good", r"no critic is given; give --critic NAME='COMMAND' or --pixel-critics, or both"
    yield f"{simulated} new --critic-timeout-s 0", r"'--critic-timeout-s': 0\.0 is not in the range x>0"

    suite = "run-suite --out new --world simulated --prompts"
    yield f"{suite} nowhere", r"nowhere: no such file; check the path"
    yield f"{suite} empty.jsonl", r"empty\.jsonl: the file is empty; expected one prompt a line"
    yield f"{suite} not-json/trace.jsonl", r"@line 1: .*; expected a JSON object with index, gener"
    yield f"{suite} prompts.txt", r"prompts\.txt@line 1: not JSON .*; expected one JSON object"
    yield (
        f"{suite} prompts-lacking.jsonl",
        r"line 1: a required field is missing: `generated_description`; expected a JSON object with index",
    )
    yield f"{suite} prompts-good.jsonl --shard 3/2", r"the shard is '3/2'; expected I/N with I from 1 to N"
    yield f"{suite} prompts-good.jsonl --suite-id a/b", r"the suite is called 'a/b'; expected letters"
    yield f"{suite} prompts-good.jsonl --text-rm text", r"an interrupted run could not continue as it was"
    yield f"{suite} prompts-good.jsonl --cmd '{COMMAND}'", r"--cmd has no effect with --world simulated"
    yield f"{suite} prompts-good.jsonl --controller pairs.jsonl", r"pairs\.jsonl: not a controller's state"
    with_image = "--world subprocess --cmd 'x {prompt} {out_dir} {image}'"
    yield (
        f"run-suite --out new --prompts prompts.jsonl {with_image}",
        r"1 of 2 images missing, also .*: gone\.png \(index 1\); .* with --images",
    )
    yield (
        f"run-suite --out new --prompts prompts-no-image.jsonl {with_image}",
        r"prompts-no-image\.jsonl: index 0 has no image, and the world model begins with one; give its",
    )
    suite = "run-suite --prompts prompts-good.jsonl"
    yield f"{suite} --out new --world subprocess", r"--world subprocess needs --cmd; give it, or another"
    yield (
        f"{suite} --out new --world wow --wow-repo good",
        r"--world wow needs --wow-model; give it, or another",
    )
    yield f"{suite} --out pairs.jsonl --world simulated", r"pairs\.jsonl: is a file; choose another --out"
    yield f"{suite} --out foreign --world simulated", r"foreign: holds files that are not of a suite; choose"
    yield f"{suite} --out damaged-suite --world simulated", r"suite\.json: the file is damaged: .*; choose"

    finetune = f"finetune --bootstrap-servers {CLOSED} --runs good --work new --train-cmd"
    train = "'true {dataset} {out}'"
    simulated_one = f"{finetune} {train} --world simulated"
    yield f"{finetune} 'true {{out}}' --world simulated", r"the training's command lacks \{dataset\}"
    yield f"{finetune} {train}", r"give one of --world simulated and --generate-cmd"
    yield f"{simulated_one} --steps 3", r"--steps has no effect without --train wow-wan; leave it out"
    yield f"{simulated_one} --train wow-wan", r"give one of --train wow-wan and --train-cmd"
    by_wow = f"{finetune.removesuffix(' --train-cmd')} --train wow-wan"
    yield f"{by_wow} --world simulated", r"--train wow-wan makes the videos itself; leave out --world"
    yield f"{by_wow} --format hf", r"--train wow-wan reads --format wow-wan, and not hf; leave it out"
    yield by_wow, r"--train wow-wan needs --prompts, a file of what checkpoints are compared on"
    yield f"{by_wow} --prompts prompts.txt", r"--train wow-wan needs --wow-repo, a checkout of WoW's repos"
    yield f"{by_wow} --prompts prompts.txt --wow-repo w", r"needs first frames; give --prompts in WoW's JSON"
    with_frames = f"{by_wow} --prompts prompts-good.jsonl --wow-repo"
    yield (
        f"{with_frames} good",
        r"cannot be fine-tuned: the training script \S*train_wan_i2v\.py is missing; the",
    )
    yield f"{with_frames} good --base model.json --wow-python no", r"the interpreter 'no' \(--wow-python\)"
    yield f"{with_frames} good --base good", r"good: has no LoRA of WoW's; expected a file, or a folder"
    yield f"{simulated_one} --dataset-policy best", r"'best' is not a selection policy; expected all"
    yield f"{simulated_one} --base nowhere", r"--base nowhere: no such folder or file; check the path"
    yield f"{simulated_one} --base good", r"good/checkpoint\.json: no such file; check the path"
    yield f"{simulated_one} --prompts empty.jsonl", r"empty\.jsonl: the file is empty; expected one prompt"
    yield f"{simulated_one} --prompts empty.jsonl --compare-tasks 3", r"give one of --prompts and --compare-t"
    yield f"{simulated_one} --reward pairs.jsonl", r"pairs\.jsonl: "
    yield f"{simulated_one} --no-pixel-critics", r"no critic is left without the pixel critics; give"
    yield (
        simulated_one.replace("--runs good", "--runs nowhere"),
        r"nowhere: no such folder; give the one that holds",
    )
    generate = f"{finetune} {train} --generate-cmd"
    yield f"{generate} '{COMMAND} {{checkpoint}}'", r"--generate-cmd needs --base, the checkpoint"
    yield f"{generate} '{COMMAND} {{checkpoint}}' --base good", r"--generate-cmd needs --prompts, a file"
    yield (
        f"{generate} '{COMMAND}' --base good --prompts prompts.txt",
        r"the generator's command lacks \{checkpoint\}, the model to compare",
    )
    yield (
        f"{generate} '{COMMAND} {{checkpoint}} {{image}}' --base good --prompts prompts.txt",
        r"--generate-cmd has \{image\}, and the prompts have none; give WoW's JSON Lines",
    )
    yield f"{simulated} new --checkpoint good", r"good/checkpoint\.json: no such file; check the path"

    yield "demo --out pairs.jsonl", r"pairs\.jsonl: is a file; choose another --out"
    yield "demo --out foreign", r"foreign: holds files that are not of a demo; choose another --out"
    yield "demo --out new --bootstrap-servers kafka:0", r"'kafka:0' is not a broker's address; give host:port"
    yield "demo --out new --tasks 0", r"'--tasks': 0 is not in the range"
    yield "experiment --out pairs.jsonl", r"pairs\.jsonl: is a file; choose another --out"
    yield "experiment --out foreign", r"foreign: holds files that are not of an experiment; choose another"
    yield (
        "experiment --out planned --tasks 6",
        r"planned: holds an experiment with tasks 4 rather than 6, .*; choose another --out",
    )
    yield (
        "experiment --out damaged-plan",
        r"damaged-plan/plan\.json: the file is damaged; choose another --out",
    )
    yield (
        "experiment --out damaged-unit --seeds 2 --tasks 4",
        r"seed-000-clean\.json: the file is damaged: .*; delete it to have it computed again",
    )
    yield "experiment --out new --seeds 1", r"'--seeds': 1 is not in the range x>=2"
    yield (
        "experiment --out new --tasks 5 --learning-tasks 5",
        r"5 of 5 tasks for learning; leave at least",
    )
    yield "experiment --out new --outcome-share 1.5", r"'--outcome-share': 1\.5 is not in the range"
    yield "experiment --out new --processes 0", r"'--processes': 0 is not in the range"
    yield "experiment-finetune --out foreign", r"foreign: holds files that are not of an experiment; choose"
    yield (
        "experiment-finetune --out planned",
        r"planned: holds an experiment with schema tribrain\.experiment/1 rather than tribrain\.finetune",
    )
    yield "experiment-finetune --out new --top-fraction 0", r"'--top-fraction': 0\.0 is not in the range"
    yield (
        "experiment --out pairs.jsonl/new",
        r"pairs\.jsonl/new/plan\.json: cannot be written: .*; choose another",
    )
    serve = f"serve-lora --bootstrap-servers {CLOSED} --base-model no-base --store"
    # With --niceness, as this process would stay slow for all tests after it.
    yield (
        f"{serve} adapters --niceness 0",
        r"no-base: has no model\.safetensors; pickled weights are not read, so give",
    )
    yield (
        f"{serve} adapters --every-s 6h --every-minutes 360",
        r"--every-s and --every-minutes set the same time; give one of them",
    )
    yield (
        f"{serve} adapters --every-pairs 9 --most-pairs 8",
        r"--every-pairs 9 is more than --max-pairs 8; give",
    )
    yield (
        f"{serve} s3://key:secret@bucket/x",
        r"URI of s3:// contains a user name .*; .* credentials in",
    )
    yield f"{serve} nowhere://x", r"nowhere://x: cannot be used: .*nowhere"
    yield f"{serve} ''", r"--store: the text is empty; expected a folder or a URI"
    yield f"{serve} adapters --model ..", r"the model's name is '\.\.'; give a name that contains a letter"
    yield f"{serve} adapters --start cold", r"'--start': 'cold' is not one of 'warm', 'afresh'"
    yield f"{serve} adapters --replay 1", r"'--replay': 1\.0 is not in the range 0\.0<=x<1\.0"
    serve = "serve-lora --store adapters --base-model some-base"
    yield serve, r"no Kafka broker is named; give --bootstrap-servers host:port"
    yield f"{serve} --bootstrap-servers kafka", r"'kafka' is not a broker's address; give host:port"
    for words in ("topics create", "serve-trainer", "publish-trace good/trace.jsonl", "replay --out new"):
        yield f"{words} --bootstrap-servers kafka", r"'kafka' is not a broker's address; give host:port"
    yield f"publish-trace nowhere --bootstrap-servers {CLOSED}", r"nowhere: no such file"
    yield f"publish-trace nan/trace.jsonl --bootstrap-servers {CLOSED}", r"line 1: found NaN"
    yield "broker --port 65536", r"'--port': 65536 is not in the range"


@pytest.mark.parametrize(("words", "says"), list(cases()), ids=[words for words, _ in cases()])
def test_bad_input_is_one_line_and_leaves_nothing_behind(
    folder: Path, words: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    refuses(folder, split(words), says, capfd)


RUN = "run simulated --goal g --out new"
NOT_UTF_8 = (
    "run simulated --goal g --out new\udcff",
    "suite run --world simulated --out new --prompts prompts\udcff.jsonl",
    f"{RUN} --run-id a\udcff",
    f"run subprocess --goal g --out new --cmd '{COMMAND} \udcff'",
    f"{RUN} --critic 'a\udcff=true {{video}}'",
    f"{RUN} --reward r\udcff",
    "r\udcff",
)


@pytest.mark.parametrize("words", NOT_UTF_8, ids=range(len(NOT_UTF_8)))
def test_an_argument_that_is_not_utf_8_is_bad_input_wherever_it_stands(
    folder: Path, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    refuses(folder, split(words), r"\\udcff.* is not UTF-8; expected text and names of files in UTF-8", capfd)


INTEGERS = [
    (words, option)
    for words, each in COMMANDS.items()
    for option in each.params
    if isinstance(option.type, click.types.IntParamType)
]


@pytest.mark.parametrize(("words", "option"), INTEGERS, ids=[f"{' '.join(w)} {o.name}" for w, o in INTEGERS])
@pytest.mark.parametrize("number", ["9" * 23, str(2**63)])
def test_an_integer_of_more_than_64_bits_is_refused(
    words: tuple[str, ...], option: click.Parameter, number: str
) -> None:
    with pytest.raises(click.BadParameter):
        option.type.convert(number, option, CONTEXTS[words])


def test_more_videos_than_a_run_can_have_are_bad_input(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    refuses(folder, [*split(RUN), "--iters", "100001"], "'--iters': 100001 is not in the range", capfd)


FLOATS = {
    "export-preference-pairs --run-dir good --out new/p.jsonl": ["--min-gap"],
    "train-preference-rm --pairs pairs.jsonl --out new/m.json": ["--lr"],
    "replay --trace good/trace.jsonl --out new": ["--min-gap"],
    "build-dataset --runs good --format hf --out new": [
        "--top-fraction", "--min-reward", "--min-outcome", "--validation", "--test", "--duplicate-bits",
    ],
    "export-preferences --runs good --format trl --out new": ["--min-gap"],
    "train-lora-rm --pairs texts.jsonl --base-model no-base --out-dir new": ["--lr", "--alpha", "--held-out"],
    "evaluate-picks --pairs pairs.jsonl --candidates candidates.jsonl": ["--preference-weight"],
    "explain --model model.json": ["--step"],
    f"serve-lora --bootstrap-servers {CLOSED} --base-model no-base --store adapters": [
        "--every-s", "--every-minutes", "--replay", "--lr",
    ],
    f"serve-trainer --bootstrap-servers {CLOSED}": ["--min-gap", "--every-s"],
    f"serve-text --bootstrap-servers {CLOSED}": ["--every-s"],
    "experiment --out new": ["--preference-weight", "--outcome-share", "--label-noise"],
    "experiment-finetune --out new": ["--top-fraction"],
    "experiment-votes --pairs pairs.jsonl": ["--flips", "--random-share"],
    f"finetune --bootstrap-servers {CLOSED} --runs good --work new --train-cmd x --world simulated": [
        "--timeout-s", "--train-timeout-s", "--critic-timeout-s", "--lr", "--persistent-gb",
    ],
    "run-simulated --goal g --out new": [
        "--preference-weight", "--target-score", "--drift-threshold", "--max-wall-s", "--outcome-share",
    ],
    f"run-subprocess --goal g --out new --cmd '{COMMAND}'": ["--timeout-s", "--preference-weight"],
    "run-suite --prompts prompts-good.jsonl --out new --world simulated": [
        "--critic-timeout-s", "--outcome-share", "--timeout-s",
    ],
    "run-wow --goal g --out new --wow-repo w --model dit-2b --image i": ["--timeout-s", "--persistent-gb"],
}  # fmt: skip


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    ("words", "option"), [(w, o) for w, options in FLOATS.items() for o in options], ids=str
)
def test_no_option_takes_a_number_that_is_none(
    folder: Path, words: str, option: str, value: str, capfd: pytest.CaptureFixture[str]
) -> None:
    pattern = rf"'{option}': ({value} is not (a finite number|in the range)|'{value}' is not a time)"
    refuses(folder, [*split(words), f"{option}={value}"], pattern, capfd)


def test_a_real_process_says_it_in_one_line_too(folder: Path) -> None:
    said = run("export-preference-pairs", "--run-dir", "nan", "--out", "p.jsonl")
    assert said.code == 2
    assert said.out == ""
    assert said.err == "tribrain: nan/trace.jsonl@line 1: found NaN; expected finite numbers only\n"


def test_good_input_says_nothing_on_standard_error(folder: Path) -> None:
    """So that the one line of an error is all there is."""
    said = run("train-preference-rm", "--pairs", "pairs.jsonl", "--out", "m.json")
    assert (said.code, said.err) == (0, "")


def test_a_demo_that_cannot_begin_leaves_the_last_one_alone(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "demo" / ".tribrain-demo").touch()
    refuses(folder, split("demo --out demo --bootstrap-servers kafka"), "'kafka' is not a broker", capfd)


@pytest.fixture(scope="module")
def without_broker(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Said]]:
    """What the commands say of a port where nothing listens; all at once, as each waits for some seconds."""
    folder = tmp_path_factory.mktemp("no-broker")
    (folder / "trace.jsonl").write_bytes(b"".join(encode(m) + b"\n" for m in factories.run([0.2, 0.9])))
    for name in BASE:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b'{"model_type": "bert"}')
    waiting = {
        words: start(*words.split(), "--bootstrap-servers", CLOSED, folder=folder) for words in NEED_BROKER
    }
    return folder, {words: said_by(process) for words, process in waiting.items()}


BASE = ("base/config.json", "base/model.safetensors")
NEED_BROKER = (
    "serve-lora --base-model base --store adapters",
    "topics create",
    "publish-trace trace.jsonl",
    "serve-trainer",
    "serve-text",
    "replay --out new",
    "demo --out new",
    "finetune --runs . --work new --world simulated --train-cmd {dataset}{out}",
)


@pytest.mark.parametrize("words", NEED_BROKER)
def test_no_broker_is_one_line(words: str, without_broker: tuple[Path, dict[str, Said]]) -> None:
    said = without_broker[1][words]
    assert said.code == 2
    assert said.out == ""
    assert said.err == (
        f"tribrain: no Kafka broker answers at {CLOSED}; "
        "start one with `tribrain serve broker` or give --bootstrap-servers\n"
    )


def test_no_broker_leaves_nothing_behind(without_broker: tuple[Path, dict[str, Said]]) -> None:
    assert files_in(without_broker[0]) == {"trace.jsonl", *BASE}


def test_a_port_in_use_is_one_line(kafka_jars: KafkaJars, folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = run("broker", "--port", str(port))
    assert said.code == 2
    assert said.err == (f"tribrain: port {port} is in use; stop what listens on it or give another port\n")


def test_without_java_nothing_is_fetched_and_that_is_no_error(folder: Path) -> None:
    said = run("broker", "--fetch-only", **no_java(folder))
    assert said.code == 0
    assert said.err.count("\n") == 1
    assert "no Java 17 on the PATH; librdkafka's in-memory test broker will be used" in said.err


def test_fetch_only_says_the_same_in_json(folder: Path) -> None:
    said = run("broker", "--fetch-only", "--json", **no_java(folder))
    assert "no Java 17" in orjson.loads(said.out)["note"]
    assert said.err == ""


def test_java_home_without_java_is_named(folder: Path) -> None:
    said = run("broker", "--port", "9092", JAVA_HOME=str(folder))
    assert said.code == 2
    assert said.err.endswith("needs Apache Kafka: no Java 17 in JAVA_HOME\n")


@needs_proc
def test_without_java_the_broker_is_in_memory_and_says_so(folder: Path) -> None:
    with command(["broker"], folder / "said", **no_java(folder)) as broker:
        wait_until(lambda: "Ctrl-C ends it" in broker.output)
        address = re.search(r"answers at (\S+) and", broker.output)
        assert "no Java 17 on the PATH; librdkafka's in-memory test broker answers" in broker.output
        assert address is not None
        assert run("topics", "create", "--bootstrap-servers", address[1]).code == 0
        broker.process.send_signal(signal.SIGINT)
        assert broker.wait(10) == 0


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


def refuses(folder: Path, words: list[str], says: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = files_in(folder)
    with pytest.raises(SystemExit) as ended:
        main(words)
    said = capfd.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert re.fullmatch(rf"tribrain: [^\n]*{says}[^\n]*\n", said.err), said.err
    assert files_in(folder) == before


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def split(words: str) -> list[str]:
    return shlex.split(words)


def run(*words: str, **environment: str) -> Said:
    return said_by(start(*words, environment=environment))


def start(
    *words: str, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tribrain.cli", *words],
        cwd=folder,
        env=clean_environment() | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said_by(process: subprocess.Popen[str]) -> Said:
    out, err = process.communicate(timeout=180)
    return Said(process.returncode, out, err)


def no_java(folder: Path) -> dict[str, str]:
    """An environment without Java, Maven and what was fetched before."""
    return {"PATH": str(folder), "JAVA_HOME": "", "KAFKA_HOME": "", "XDG_CACHE_HOME": str(folder / "cache")}
