"""The pages on scale say what is worked out of what was measured, and name what is there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.errors import BadInput
from streams.worker.pair_side import Pace
from tests.bench.load_table import Cost, LoadRun, as_markdown
from tests.bench.scale.__main__ import SCALE, scale
from tests.bench.scale.costs import LOAD, PLACES, ROOT, figure_in, read_costs, row_in
from tests.bench.scale.needs import DEFAULTS, LIMITS, SPARING, SPARING_FLAGS, Flags, Limit, Need, ceiling
from tests.bench.scale.tables import put_into, tables
from tests.program import called_with

PAGES = (SCALE, ROOT / "docs" / "how-to" / "kubernetes.md")
COSTS: Mapping[str, float] = {
    "live_us": 100,
    "single_us": 300,
    "live_per_s": 1_000,
    "replayed_per_s": 2_000,
    "learner_per_s": 3_000,
    "events": 10,
    "pairs": 20,
    "resident_mib": 200,
    "pinned_bytes": 100,
    "event_bytes": 1_000,
    "pair_bytes": 50,
    "mark_bytes": 90,
    "open_run_bytes": 5_000,
    "snapshot_bytes": 2_000,
    "checkpoint_bytes": 30_000,
}
EVERY_SECOND = Flags(
    Pace(snapshot_every_pairs=10**9, checkpoint_every_pairs=10**9, checkpoint_every_s=10), 60
)


def test_the_tables_of_the_page_are_what_the_measurements_give() -> None:
    made = tables(read_costs(), (ROOT / LOAD).read_text())
    page = SCALE.read_text()
    assert put_into(page, made) == page, "run python -m tests.bench.scale --write"


def test_the_command_prints_every_table() -> None:
    said = CliRunner().invoke(scale)
    assert said.exit_code == 0, said.output
    for name in tables(read_costs(), (ROOT / LOAD).read_text()):
        assert f"\n{name}\n" in f"\n{said.output}"


def test_the_arithmetic_of_one_rate() -> None:
    """1,800 events a second with round costs, by hand."""
    need = Need(1_800.0, EVERY_SECOND, COSTS, candidate_s=10.0)
    assert need.pairs_per_s == 3_600  # two an event
    assert need.shards == 3  # at half of 3,000 pairs a second
    assert need.trainers == 2  # 600 events a second at half of 1,000
    assert need.partitions == 4
    assert need.cores == pytest.approx(0.18)
    assert need.cores_of_single_events == pytest.approx(0.54)
    assert need.open_runs == 16_000  # 200 runs begin a second, and last 80 s
    # 200 MiB, 2,667 runs of 5 kB, and 60 s of 300 events of 100 bytes.
    assert need.trainer_bytes == pytest.approx(200 * 2**20 + 13_333_333 + 1_800_000)
    assert need.snapshots_per_s == 1.0
    assert need.feed_bytes_per_s == 2_000 + 3_000
    assert need.log_bytes_per_s == 1_800_000 + 180_000 + 18_000
    assert need.in_bytes_per_s == 1_998_000 + 15_000
    assert need.out_bytes_per_s == 1_998_000 + 2 * 2_013_000 + 16_000 * 5_000
    assert need.disk_bytes_per_s == 3 * 1_998_000
    assert need.replay_day_s == 86_400 * 600 / 2_000
    assert need.restart_s == pytest.approx(300 * 80 / 1_000)
    assert need.restart_behind_silence_s == pytest.approx(300 * 60 / 1_000)


def test_no_more_is_published_than_there_are_pairs_nor_than_the_pace_allows() -> None:
    slow, fast = (Need(per_s, DEFAULTS, COSTS, prefixes=1) for per_s in (0.1, 1_400.0))
    assert slow.snapshots_per_s == pytest.approx(0.2)
    assert fast.snapshots_per_s == 1 / DEFAULTS.pace.least_interval_s


@pytest.mark.parametrize("flags", [DEFAULTS, SPARING], ids=["defaults", "sparing"])
@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.resource)
def test_a_resource_ends_at_its_ceiling(limit: Limit, flags: Flags) -> None:
    highest = ceiling(limit, flags, COSTS)
    below, above = (
        Need(highest * factor, flags, COSTS, prefixes=1, trainers_of_each=1) for factor in (0.99, 1.01)
    )
    assert limit.used(below) <= limit.there_is(COSTS) < limit.used(above)


def test_the_page_gives_the_sparing_options_and_the_trainer_has_them() -> None:
    assert f"\nserve trainer {SPARING_FLAGS}\n" in SCALE.read_text()
    parsed = called_with(("serve", "trainer"), SPARING_FLAGS.split()).params
    assert parsed["snapshot_every_pairs"] == SPARING.pace.snapshot_every_pairs
    assert parsed["snapshot_every_s"] == SPARING.pace.snapshot_every_s
    assert parsed["checkpoint_every_s"] == SPARING.pace.checkpoint_every_s
    assert parsed["run_timeout_s"] == SPARING.run_timeout_s


def test_what_counts_as_defaults_are_those_of_the_trainer() -> None:
    parsed = called_with(("serve", "trainer"), []).params
    assert parsed["snapshot_every_pairs"] == DEFAULTS.pace.snapshot_every_pairs
    assert parsed["snapshot_every_s"] == DEFAULTS.pace.snapshot_every_s
    assert parsed["checkpoint_every_s"] == DEFAULTS.pace.checkpoint_every_s
    assert parsed["run_timeout_s"] == DEFAULTS.run_timeout_s


def test_a_figure_that_is_not_where_it_should_be_is_named_with_its_file() -> None:
    with pytest.raises(BadInput, match=re.escape("tests/bench/RESULTS.md does not say: µs CPU an event")):
        figure_in("# Nothing", PLACES["live_us"])
    with pytest.raises(BadInput, match="has no row 'snapshots/s'"):
        row_in("# Nothing", "snapshots/s")


def test_a_table_without_its_place_is_named_and_nothing_is_written_twice() -> None:
    place = "<!-- a: made by python -m tests.bench.scale -->\nold\n<!-- end of a -->"
    assert "\nold\n" not in put_into(place, {"a": "| new |"})
    for page in ("# No place", place + place):
        with pytest.raises(BadInput, match="no place for the table 'a'"):
            put_into(page, {"a": "| new |"})


def test_figures_of_load_runs_are_read_from_their_document_column_by_column() -> None:
    one = LoadRun(
        per_s=1_000,
        events=9_000,
        batched=False,
        sent_s=9.0,
        learnt_s=10.0,
        behind_events=12.0,
        is_whole=True,
        trainer=Cost(99.0, 265.0),
        broker=Cost(50.0, 500.0),
        sender_us=20.0,
        trace_bytes=983.0,
        pair_bytes=67.0,
        mark_bytes=150.0,
        wire_bytes=2_500.0,
        snapshots_per_s=17.5,
        snapshot_bytes=2_500,
        checkpoint_bytes=100_000,
    )
    document = as_markdown([one, replace(one, per_s=2_000, learnt_s=4.5)], datetime.now(UTC))
    assert row_in(document, "events/s wanted") == [1_000, 2_000]
    assert row_in(document, "events/s learnt") == [900, 2_000]
    assert row_in(document, "snapshots/s") == [17.5, 17.5]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_the_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", page.read_text())
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert not anchor or anchor in _anchors(target), link


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
