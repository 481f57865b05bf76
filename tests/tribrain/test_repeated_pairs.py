"""A training says how many pairs it left out since they repeat others."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from msgspec.structs import replace

from streams.errors import counted
from streams.messages.codec import encode
from streams.messages.contracts import PreferencePair
from tests import factories
from tests.tribrain.test_cli import code_of


def votes(n: int, annotators: int) -> list[PreferencePair]:
    """``n`` votes on each of two candidates of three tasks; nobody is named where there are no annotators."""
    return [
        replace(
            factories.pair({"eye.x": 0.9}, {"eye.x": 0.1}, task_id=f"t{task}", pair_id=f"p{task}"),
            meta={"annotator": f"ann{vote % annotators}"} if annotators else {},
        )
        for task in range(3)
        for vote in range(n)
    ]


@pytest.mark.parametrize(("n", "annotators", "left_out"), [(1, 0, 0), (4, 0, 9), (4, 4, 0), (4, 2, 6)])
def test_repetitions_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], n: int, annotators: int, left_out: int
) -> None:
    pairs, model = tmp_path / "p.jsonl", tmp_path / "m.json"
    pairs.write_bytes(b"".join(encode(pair) + b"\n" for pair in votes(n, annotators)))
    given = ("train-preference-rm", "--pairs", str(pairs), "--out", str(model))
    assert code_of(*given) == 0
    said = capsys.readouterr().out
    assert (f"left out: {counted(left_out, 'pair')} with pair_id, " in said) == (left_out > 0)
    assert ("left out" in said) == (left_out > 0)
    assert code_of(*given, "--json") == 0
    assert orjson.loads(capsys.readouterr().out)["repeated_pairs"] == left_out
