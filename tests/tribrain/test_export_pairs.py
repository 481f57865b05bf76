"""The pairs of a trace are those of its runs, however often and in whatever order their lines are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.messages.codec import encode
from streams.messages.contracts import PreferencePair
from streams.messages.files import read_pairs
from tests.factories import revision, run
from tests.tribrain.test_cli import code_of

Lines = list[bytes]

A = [encode(message) for message in run([0.2, 0.9, 0.5], run_id="a")]
B = [encode(message) for message in run([0.8, 0.1, 0.4], run_id="b")]
A_RESCORED = [encode(message) for message in revision(run([0.2, 0.9, 0.5], run_id="a"), {0: 0.95})]


def exported(lines: Lines, folder: Path) -> list[PreferencePair]:
    folder.mkdir()
    (folder / "trace.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    out = folder / "pairs.jsonl"
    assert code_of("export-preference-pairs", "--run-dir", str(folder), "--out", str(out)) == 0
    return [pair for pair in read_pairs(out) if isinstance(pair, PreferencePair)]


def interleaved(one: Lines, other: Lines) -> Lines:
    return [line for both in zip(one, other, strict=True) for line in both]


@pytest.mark.parametrize(
    ("joined", "runs"),
    [
        (A + A, [A]),
        (interleaved(A, A), [A]),
        (A[::-1], [A]),
        (A + B, [A, B]),
        (B + A, [B, A]),
        (interleaved(A, B), [A, B]),
        (A + B + A + B, [A, B]),
        (A + A_RESCORED + A_RESCORED + B, [A + A_RESCORED, B]),
    ],
    ids=[
        "twice",
        "each line twice",
        "backwards",
        "two",
        "two, the other first",
        "mixed",
        "two twice",
        "rescored",
    ],
)
def test_each_run_has_its_own_pairs_once(joined: Lines, runs: list[Lines], tmp_path: Path) -> None:
    alone = [pair for i, lines in enumerate(runs) for pair in exported(lines, tmp_path / str(i))]
    assert exported(joined, tmp_path / "joined") == alone
    assert len({pair.pair_id for pair in alone}) == len(alone) > 0
