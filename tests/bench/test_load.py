"""A load run ends with every event learnt, and says what it found."""

from __future__ import annotations

import orjson
from click.testing import CliRunner

from streams.local_broker.jars import KafkaJars
from tests.bench.load import load


def test_a_short_load_run_learns_all_that_was_sent(kafka_jars: KafkaJars) -> None:
    said = CliRunner().invoke(load, ["--per-s", "900", "--seconds", "2", "--json"])
    assert said.exit_code == 0, said.output
    (found,) = orjson.loads(said.stdout)
    assert found["is_whole"]
    assert found["events"] == 1_800
    assert found["learnt_s"] >= found["sent_s"] > 1.9
    assert 300 < found["trace_bytes"] < 2_000
    assert found["wire_bytes"] > found["trace_bytes"]
    assert found["snapshots_per_s"] > 0
