"""How good a reward is, in Python, is what the command says."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from msgspec.structs import replace

from streams.messages.codec import encode
from tests.tribrain.api.judged import PAIRS, ROWS
from tribrain import BadInput, evaluate, learn
from tribrain.cli import main

LEARNT = learn(PAIRS[:40])
UNSEEN = [replace(pair, task_id=f"unseen {pair.task_id}") for pair in PAIRS[40:]]


def test_the_figures_are_those_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, pairs = tmp_path / "bt_reward.json", tmp_path / "pairs.jsonl"
    LEARNT.write(model)
    pairs.write_bytes(b"".join(encode(pair) + b"\n" for pair in UNSEEN))
    with pytest.raises(SystemExit):
        main(["evaluate-rm", "--model", str(model), "--holdout", str(pairs), "--seed", "3", "--json"])
    said = orjson.loads(capsys.readouterr().out)
    figures = said["learners"]["default"]
    found = evaluate(LEARNT, UNSEEN, seed=3)
    assert (found.pairs + found.ties, found.ties) == (said["n_test"], said["n_ties"])
    assert found.ties > 0
    assert (found.accuracy, found.log_loss, found.ece) == tuple(
        figures[n] for n in ("accuracy", "log_loss", "ece")
    )
    assert found.log_loss_ci95 == tuple(figures["log_loss_ci95"])
    assert found.accuracy_ci95 == tuple(figures["accuracy_ci95"])
    assert found.ece_ci95 == tuple(figures["ece_ci95"])


def test_labels_that_are_the_critics_own_are_counted_without_their_ties() -> None:
    by_critics = [replace(pair, label_source="critic") for pair in UNSEEN[:7]]
    ties = sum(pair.tie for pair in by_critics)
    assert evaluate(LEARNT, UNSEEN).critic_labels == 0
    assert evaluate(LEARNT, [*by_critics, *UNSEEN[7:]]).critic_labels == 7 - ties


def test_a_table_is_measured_as_its_pairs_are() -> None:
    assert evaluate(LEARNT, ROWS) == evaluate(LEARNT, PAIRS)


def test_columns_of_a_table_that_are_to_be_ignored_are_not_measured() -> None:
    noted = [row | {"notes": "too dark"} for row in ROWS]
    assert evaluate(LEARNT, noted, ignore=["notes"]) == evaluate(LEARNT, ROWS)


def test_one_task_has_no_intervals() -> None:
    found = evaluate(LEARNT, [replace(pair, task_id="one") for pair in UNSEEN])
    assert (found.accuracy_ci95, found.log_loss_ci95, found.ece_ci95) == (None, None, None)


def test_a_dimension_is_measured_by_its_own_reward_on_its_own_pairs() -> None:
    of_physics = [replace(pair, dimension="physics") for pair in PAIRS]
    reward = learn([*PAIRS, *of_physics[:20]])
    found = evaluate(reward, [*UNSEEN, *of_physics[20:30]], dimension="physics")
    assert found.pairs + found.ties == 10
    with pytest.raises(BadInput, match="has learnt nothing on the dimension 'taste'"):
        evaluate(reward, UNSEEN, dimension="taste")


def test_without_a_pair_that_decides_there_is_nothing_to_measure() -> None:
    with pytest.raises(BadInput, match="found 20 pairs, each a tie"):
        evaluate(LEARNT, [replace(pair, tie=True) for pair in UNSEEN])
    with pytest.raises(BadInput, match="none of the comparisons is on 'overall'; name another dimension"):
        evaluate(LEARNT, [replace(pair, dimension="physics") for pair in UNSEEN])
