"""What each service says once it has ended, on a real broker."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.kafka.settings import Settings
from tests.kafka.test_serve_text import send, wait_for
from tests.kafka.test_trainer import interleaved, publish, random_runs, wait_until_learnt
from tests.services import Service, serve_text, service, trainer
from tests.trainers.text.factories import polite_pairs
from tests.waiting import wait_until

_WAIT_S = 60.0


def told(process: Service, code: int = 0) -> dict[str, Any]:
    """The one JSON object on standard output."""
    assert process.wait(_WAIT_S) == code, process.said
    found: dict[str, Any] = orjson.loads(process.printed)
    return found


def test_a_trainer_says_what_it_read_learnt_and_published(settings: Settings) -> None:
    runs = random_runs(4, seed=11)
    with trainer(settings, "--json") as process:
        publish(settings, interleaved(runs, seed=12))
        newest = wait_until_learnt(settings, len(runs))
        process.terminate()
        end = told(process)
    pairs = newest.version - len(runs)  # a version counts the ends of runs, too
    assert end.pop("snapshots_published") >= 1
    assert end == {
        "service": "trainer",
        "model": "default",
        "events_read": sum(map(len, runs)),
        "votes_read": 0,
        "pairs_formed": pairs,
        "pairs_learnt": pairs,
        "dead_letters": {},
        "newest_versions": {"default": newest.version},
        "active_models": [],
        "ended_by": "signal",
        "failure": None,
    }


def test_a_text_learner_says_what_it_learnt_and_published(settings: Settings) -> None:
    with serve_text(settings, "--every-s", "0.05", "--json") as process:
        send(settings, polite_pairs(5))
        wait_for(settings, 5)
        process.terminate()
        end = told(process)
    assert end.pop("snapshots_published") >= 1
    assert end == {
        "service": "text",
        "model": "default",
        "pairs_learnt": 5,
        "newest_version": 5,
        "gate": "shadow",
        "ended_by": "signal",
        "failure": None,
    }


def test_one_that_another_has_taken_over_from_says_so(settings: Settings) -> None:
    with serve_text(settings, "--every-s", "0.05", "--json") as first:
        send(settings, polite_pairs(5))
        wait_for(settings, 5)
        with serve_text(settings, "--every-s", "3600") as second:
            wait_until(lambda: "5 pairs so far" in second.said, _WAIT_S)
            send(settings, polite_pairs(5, seed=1))
            end = told(first, code=3)
    assert (end["ended_by"], end["newest_version"]) == ("takeover", 5)
    assert end["failure"] in first.said


def test_a_service_that_goes_on_learns_only_what_is_new_and_knows_the_whole(settings: Settings) -> None:
    send(settings, polite_pairs(5))
    with serve_text(settings, "--every-s", "0.05"):
        wait_for(settings, 5)
    with serve_text(settings, "--every-s", "0.05", "--json") as process:
        send(settings, polite_pairs(3, seed=1))
        wait_for(settings, 8)
        process.terminate()
        end = told(process)
    assert (end["pairs_learnt"], end["newest_version"]) == (3, 8)


def test_fine_tuning_without_a_video_says_that_nothing_was_made(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    given = (
        *("--runs", tmp_path / "runs", "--out", tmp_path / "out", "--world", "simulated"),
        *("--once", "--json", "--train-cmd", f"{shlex.quote(sys.executable)} {{dataset}} {{out}}"),
    )
    with service(settings, "finetune", *map(str, given)) as process:
        end = told(process, code=4)
    assert end == {
        "service": "finetune",
        "model": "default",
        "trainings": 0,
        "promoted": [],
        "kept": [],
        "verdict": None,
        "checkpoint_in_use": None,
        "ended_by": "nothing made",
        "failure": "model 'default': no video is selected to train on",
    }


def test_lora_training_says_what_it_trained_and_stored(settings: Settings, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="the lora extra is not installed")
    from tests.trainers.lora.serving import SMALL, numbered, publish, the_newest
    from tests.trainers.lora.tiny import tiny_base

    base = tiny_base(tmp_path / "bert", "bert")
    given = ("--base-model", base, "--store", tmp_path / "store", "--once", "--json", *SMALL)
    with service(settings, "serve-lora", *map(str, given)) as process:
        end = told(process, code=4)
    assert (end["trainings"], end["newest_version"], end["ended_by"]) == (0, None, "nothing made")
    publish(settings, numbered(64))
    with service(settings, "serve-lora", *map(str, given)) as process:
        end = told(process)
    newest = the_newest(settings)
    assert end == {
        "service": "lora",
        "model": "default",
        "trainings": 1,
        "pairs_waiting": 0,
        "newest_version": 1,
        "gate": newest.gate,
        "adapter": newest.uri,
        "ended_by": "once",
        "failure": None,
    }
