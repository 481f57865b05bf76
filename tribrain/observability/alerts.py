"""Every alert: when it fires, what it means, what to do, and a case in which it fires and resolves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from streams.metrics.disks import LEAST_FREE_BYTES, LEAST_FREE_SHARE

Severity = Literal["critical", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Series of one sample a minute, in promtool's notation, that test an alert."""

    series: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the alert that fires, beside its severity."""
    quiet_min: int = 0
    """Minute at which the alert does not fire yet."""
    fires_min: int
    resolves_min: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert: its rule, its explanation and its test."""

    name: str
    expr: str
    for_s: int
    """Seconds for which ``expr`` must hold before the alert fires."""
    severity: Severity
    summary: str
    means: str
    """Explanation for the person on call."""
    do: str
    """The first things to look at."""
    case: Case


_ALL_OF_THEM = "0+6x24 144x60"
_BETTER = "0.65x90"

ALERTS: tuple[Alert, ...] = (
    Alert(
        name="TribrainScrapeMissing",
        expr='up == 0 or absent(up{job="trainer"}) or '
        "(count by (job) (max_over_time(up[1h]) == 1) unless count by (job) (up))",
        for_s=120,
        severity="critical",
        summary="A service does not answer when it is asked for its metrics.",
        means="The process is gone, stopped or cut off, or its port is another one. No other alert can fire "
        "for such a service. One that was removed on purpose fires this one for an hour.",
        do="Check that the container is running (`docker compose ps`), and read its latest log lines "
        "(`docker compose logs`). A trainer may be started again at any time: nothing is lost.",
        case=Case(
            series={'up{job="trainer",instance="t:9464"}': "1 0x8 1x60"},
            labels={"job": "trainer", "instance": "t:9464"},
            fires_min=5,
            resolves_min=15,
        ),
    ),
    Alert(
        name="TribrainUnhealthy",
        expr="tribrain_healthy == 0",
        # Half of what Docker waits before it ends such a service, which may be seen half a minute late.
        for_s=30,
        severity="critical",
        summary="A service answers, and does not do its work.",
        means="Its event loop hangs, its offset does not advance while there are messages to read, or Kafka "
        "does not answer it.",
        do="`tribrain health --url http://HOST:PORT/health` says which in one sentence. In the stack, Docker "
        "restarts the service after a minute; elsewhere, start it again once Kafka is up. If the alert comes "
        "back, read the service's log (`docker compose logs`).",
        case=Case(
            series={'tribrain_healthy{job="trainer"}': "0x9 1x60"},
            labels={"job": "trainer"},
            fires_min=5,
            resolves_min=15,
        ),
    ),
    Alert(
        name="TribrainSnapshotStale",
        expr="max by (job, kind, model) (tribrain_snapshot_unpublished_seconds) > 120",
        for_s=60,
        severity="warning",
        summary="What a model has learnt has not been published for two minutes.",
        means="Runs go on with an older snapshot than there could be. Nothing is lost: what is not published "
        "is learnt again.",
        do="Look at the publication times on the dashboard and at the trainer's log; see whether the broker "
        "takes transactions and has space.",
        case=Case(
            series={
                'tribrain_snapshot_unpublished_seconds{job="trainer",kind="bt",model="default"}': "0+60x9 "
                "0x60"
            },
            labels={"job": "trainer", "kind": "bt", "model": "default"},
            fires_min=6,
            resolves_min=15,
        ),
    ),
    Alert(
        name="TribrainFeedSilent",
        expr="tribrain_feed_silent_seconds > 30",
        for_s=60,
        severity="warning",
        summary="A run or the page has not heard of Kafka for half a minute.",
        means="It goes on with the snapshot that it has; events and votes wait in its spool.",
        do="See whether the broker is up and can be reached from there.",
        case=Case(
            series={'tribrain_feed_silent_seconds{job="page"}': "0+30x9 0x60"},
            labels={"job": "page"},
            fires_min=6,
            resolves_min=15,
        ),
    ),
    Alert(
        name="TribrainLagGrowing",
        expr="sum by (job) (tribrain_lag_messages) > 100 and sum by (job) "
        "(deriv(tribrain_lag_messages[10m])) > 0",
        for_s=600,
        severity="warning",
        summary="Messages arrive faster than they are handled.",
        means="The trainer or the text service is slower than its input, and models fall further behind.",
        do="Start another trainer of the same model: it takes some of the partitions of the trace topic. The "
        "dashboard shows which topic lags.",
        case=Case(
            series={
                'tribrain_lag_messages{job="trainer",topic="trace",partition="0"}': "0+100x29 0x60",
            },
            labels={"job": "trainer"},
            fires_min=25,
            resolves_min=45,
        ),
    ),
    Alert(
        name="TribrainLagOld",
        expr="max by (job, topic) (tribrain_lag_seconds) > 300",
        for_s=300,
        severity="warning",
        summary="The oldest message that is not handled is more than five minutes old.",
        means="Runs and votes of five minutes ago are in no model yet.",
        do="As for TribrainLagGrowing. After an outage it passes by itself, once all that waited is read.",
        case=Case(
            series={
                'tribrain_lag_seconds{job="trainer",topic="trace",partition="0"}': "0+60x19 0x60",
            },
            labels={"job": "trainer", "topic": "trace"},
            fires_min=15,
            resolves_min=25,
        ),
    ),
    Alert(
        name="TribrainLagUnknown",
        expr="tribrain_lag_unknown_partitions > 0",
        for_s=120,
        severity="warning",
        summary="It is not known how far behind a reader is.",
        means="Kafka does not say where topics end, so no number of the lag is shown.",
        do="See whether the broker is up, and whether every partition has a leader.",
        case=Case(
            series={'tribrain_lag_unknown_partitions{job="trainer"}': "6x9 0x60"},
            labels={"job": "trainer"},
            fires_min=5,
            resolves_min=15,
        ),
    ),
    Alert(
        name="TribrainDeadLetters",
        expr="sum by (reason) (increase(tribrain_dead_letters_total[15m])) > 0",
        for_s=0,
        severity="warning",
        summary="Messages came that could not be used.",
        means="Each is kept on the dead-letter topic with its bytes and the reason.",
        do="`tribrain log dead-letters list` names them with their reasons. Fix the cause, then "
        "`tribrain log dead-letters replay`. What can never be used: "
        "`tribrain log dead-letters dismiss NAME`.",
        case=Case(
            series={'tribrain_dead_letters_total{job="trainer",reason="damaged"}': "0x4 3x60"},
            labels={"reason": "damaged"},
            fires_min=6,
            resolves_min=25,
        ),
    ),
    Alert(
        name="TribrainDeadLettersPending",
        expr="max(sum by (job, instance) (tribrain_dead_letters_pending)) > 0",
        for_s=3600,
        severity="warning",
        summary="Dead letters have waited for an hour.",
        means="Nobody has replayed or dismissed them; what they say is in no model.",
        do="`tribrain log dead-letters list`, fix the cause, `tribrain log dead-letters replay`. "
        "What can never be used: `tribrain log dead-letters dismiss NAME`.",
        case=Case(
            series={'tribrain_dead_letters_pending{job="page",reason="damaged"}': "2x70 0x60"},
            fires_min=65,
            resolves_min=75,
        ),
    ),
    Alert(
        name="TribrainSpoolGrowing",
        expr="tribrain_spool_oldest_seconds > 120 or "
        "(tribrain_spool_records > 0 and changes(tribrain_spool_oldest_seconds[3m]) == 0)",
        for_s=120,
        severity="warning",
        summary="Events or votes have waited for Kafka for more than two minutes.",
        means="They are safe on the disk of the run or of the page, and in no model yet.",
        do="See whether the broker is up; they leave by themselves. After the end of a run "
        "`tribrain log spool flush RUN` sends what is left; then remove its metrics file, which tells of it.",
        case=Case(
            series={'tribrain_spool_oldest_seconds{job="page"}': "0+60x9 0x60"},
            labels={"job": "page"},
            fires_min=7,
            resolves_min=15,
        ),
    ),
    Alert(
        name="TribrainSpoolRefuses",
        expr="tribrain_spool_quarantined_records > 0 or increase(tribrain_spool_refused_total[15m]) > 0",
        for_s=0,
        severity="critical",
        summary="Events or votes are not on their way to Kafka.",
        means="The spool or its disk is full, or a record is larger than Kafka takes. A run still has its "
        "trace.jsonl; a vote that was refused is lost unless it is given again.",
        do="Free some space. `tribrain log spool status RUN` names what Kafka refused; "
        "`tribrain log publish RUN/trace.jsonl` sends a run again.",
        case=Case(
            series={'tribrain_spool_refused_total{job="page"}': "0x4 1x60"},
            labels={"job": "page"},
            fires_min=6,
            resolves_min=25,
        ),
    ),
    Alert(
        name="TribrainDiskFilling",
        expr=f"tribrain_disk_free_bytes / tribrain_disk_size_bytes < {LEAST_FREE_SHARE}"
        f" and tribrain_disk_free_bytes < {LEAST_FREE_BYTES >> 30} * 1024^3",
        for_s=300,
        severity="critical",
        summary="Less than a tenth of a disk, and less than 10 GiB, is free.",
        means="Runs, spools or trainings on it will fail when it is full.",
        do="Free some space, or move runs elsewhere. Kafka keeps its log for good: give it a disk of its "
        "own.",
        case=Case(
            series={
                'tribrain_disk_free_bytes{job="page",holds="state"}': "5x14 50x60",
                'tribrain_disk_size_bytes{job="page",holds="state"}': "100x80",
                'tribrain_disk_free_bytes{job="page",holds="videos"}': "20000000000x80",
                'tribrain_disk_size_bytes{job="page",holds="videos"}': "400000000000x80",
            },
            labels={"job": "page", "holds": "state"},
            fires_min=10,
            resolves_min=20,
        ),
    ),
    Alert(
        name="TribrainGateClosed",
        expr="max by (kind, model) (increase(tribrain_gate_closings_total[1h])) > 0",
        for_s=0,
        severity="warning",
        summary="A model that steered is a shadow again.",
        means="A drift alarm, or strong evidence that the critics' mean has become better, or the model's "
        "own evidence has fallen to 1/20. Runs continue with the critics alone.",
        do="`tribrain log snapshots list` shows since when; compare the log loss on the dashboard. New "
        "critics or a new generator are the usual reasons. `tribrain log snapshots rollback` goes back to an "
        "earlier model.",
        case=Case(
            series={'tribrain_gate_closings_total{job="trainer",kind="bt",model="default"}': "0x4 1x120"},
            labels={"kind": "bt", "model": "default"},
            fires_min=6,
            resolves_min=80,
        ),
    ),
    Alert(
        name="TribrainNothingLearnt",
        expr="sum(increase(tribrain_votes_total[15m])) > 0 and "
        'sum(increase(tribrain_pairs_total{job="trainer"}[15m])) == 0',
        for_s=600,
        severity="warning",
        summary="Votes come, and no pair is learnt.",
        means="The trainer does not find the videos that people judge, the votes give no pair, or they wait.",
        do="`tribrain log dead-letters list` shows votes that were given up. See whether the runs that are "
        "voted on were published to this Kafka, and whether trainer and page have the same topic prefix and "
        "model.",
        case=Case(
            series={
                'tribrain_votes_total{job="trainer"}': "0+1x29 29x60",
                'tribrain_pairs_total{job="trainer"}': "5x90",
            },
            fires_min=20,
            resolves_min=60,
        ),
    ),
    Alert(
        name="TribrainModelWorse",
        expr='(tribrain_log_loss{predictor="model"} > ignoring (predictor) '
        'tribrain_log_loss{predictor="critics_mean"}) and ignoring (predictor) tribrain_gate_open == 1',
        for_s=900,
        severity="warning",
        summary="A model steers whose log loss is above that of the critics' mean.",
        means="Over all its pairs it predicts people worse than the critics do. The gate bets on newer "
        "pairs, and will close if that goes on.",
        do="`tribrain reward explain` on the snapshot, and `tribrain log snapshots list` for the course of "
        "the log loss.",
        case=Case(
            series={
                'tribrain_log_loss{kind="bt",model="default",predictor="model"}': "0.7x24 0.6x60",
                'tribrain_log_loss{kind="bt",model="default",predictor="critics_mean"}': _BETTER,
                'tribrain_gate_open{kind="bt",model="default"}': "1x90",
            },
            labels={"kind": "bt", "model": "default"},
            fires_min=20,
            resolves_min=30,
        ),
    ),
    Alert(
        name="TribrainPublicationSlow",
        expr="histogram_quantile(0.95, sum by (job, le) (rate(tribrain_publication_seconds_bucket[10m]))) "
        "> 5",
        for_s=600,
        severity="warning",
        summary="Snapshots take more than five seconds to be on Kafka.",
        means="The broker is slow with transactions; what runs use is as much older.",
        do="Look at the load and the disk of the broker.",
        case=Case(
            series={
                'tribrain_publication_seconds_bucket{job="trainer",le="5.0"}': "0x80",
                'tribrain_publication_seconds_bucket{job="trainer",le="10.0"}': _ALL_OF_THEM,
                'tribrain_publication_seconds_bucket{job="trainer",le="+Inf"}': _ALL_OF_THEM,
            },
            labels={"job": "trainer"},
            fires_min=20,
            resolves_min=45,
        ),
    ),
    Alert(
        name="TribrainMemory",
        expr='tribrain_memory_bytes{holds=~"to be sent|closed runs|earlier iterations|writers|lookups"} '
        '> 25165824 or tribrain_memory_bytes{holds="candidates of votes"} > 12582912',
        for_s=300,
        severity="warning",
        summary="Three quarters of the memory for messages that wait are taken.",
        means="Something holds them up: Kafka takes nothing, or iterations and candidates do not come. Once "
        "it is full, the trainer reads nothing more, or makes dead letters of what waits for others.",
        do="The label `holds` says what they wait for. See whether the broker takes what is sent, and "
        "whether the first iterations of all runs were published.",
        case=Case(
            series={
                'tribrain_memory_bytes{job="trainer",instance="t:9464",holds="to be sent"}': "3e7x14 0x60"
            },
            labels={"job": "trainer", "instance": "t:9464", "holds": "to be sent"},
            fires_min=10,
            resolves_min=20,
        ),
    ),
    Alert(
        name="TribrainCriticFails",
        expr="sum by (critic) (increase(tribrain_critic_failures_total[15m])) > 2",
        for_s=0,
        severity="warning",
        summary="A critic gives no scores.",
        means="What is missing counts as the lowest score of the run. A run is given up after "
        "--max-failures.",
        do="The trace says why, in the critic's `extra`. `tribrain run rescore RUN` judges again what was "
        "missed.",
        case=Case(
            series={'tribrain_critic_failures_total{job="node",critic="judge"}': "0x4 4x60"},
            labels={"critic": "judge"},
            fires_min=6,
            resolves_min=25,
        ),
    ),
)
