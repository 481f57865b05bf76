"""How far behind a reader is, and when it does not move."""

from __future__ import annotations

from streams.metrics.lag import STUCK_S, UNKNOWN_S, LagWatch, Reading

TRACE = ("tribrain.trace", 0)


class Clock:
    """One that the test moves; the wall clock goes with it."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def watch() -> tuple[LagWatch, Clock]:
    clock = Clock()
    return LagWatch(clock, clock), clock


def measure(watch: LagWatch, position: int, end: int, stamp_ms: int | None = None) -> None:
    watch.measured({TRACE: Reading(position, end, stamp_ms)}, [TRACE])


def test_the_lag_is_what_lies_behind_the_position() -> None:
    lags, _ = watch()
    measure(lags, 7, 10, stamp_ms=990_000)
    assert (lags.lags[TRACE].messages, lags.lags[TRACE].seconds) == (3, 10.0)


def test_a_lag_is_never_below_zero() -> None:
    lags, _ = watch()
    measure(lags, 12, 10)  # the topic was cut, or made again
    assert lags.lags[TRACE].messages == 0
    measure(lags, 7, 10, stamp_ms=1_500_000)  # by a clock that is ahead
    assert lags.lags[TRACE].seconds == 0.0


def test_without_a_time_stamp_a_lag_is_as_old_as_it_has_been_seen() -> None:
    lags, clock = watch()
    measure(lags, 7, 10)
    clock.now_s += 4.0
    measure(lags, 7, 12)
    assert lags.lags[TRACE].seconds == 4.0


def test_what_is_unknown_is_no_number() -> None:
    lags, _ = watch()
    measure(lags, 7, 10)
    lags.measured({}, [TRACE])
    assert dict(lags.lags) == {}
    assert lags.unknown == {TRACE}


def test_a_position_that_stands_while_there_is_lag_is_not_well() -> None:
    lags, clock = watch()
    measure(lags, 7, 10)
    clock.now_s += STUCK_S - 1.0
    measure(lags, 7, 10)
    assert lags.condition().is_well
    clock.now_s += 1.0
    measure(lags, 7, 11)
    assert not lags.condition().is_well
    assert lags.condition().sentence == (
        "tribrain.trace[0] has been stuck at offset 7 for 20 s; messages to read: 4."
    )


def test_a_position_that_moves_is_well_however_far_behind() -> None:
    lags, clock = watch()
    for position in range(10):
        measure(lags, position, 1_000_000)
        clock.now_s += STUCK_S - 1.0
    assert lags.condition().is_well


def test_a_reader_with_nothing_to_read_is_well_for_ever() -> None:
    lags, clock = watch()
    measure(lags, 10, 10)
    clock.now_s += 86_400.0
    measure(lags, 10, 10)
    assert lags.condition().is_well
    measure(lags, 10, 11)
    assert lags.condition().is_well


def test_a_reader_is_not_well_once_kafka_has_been_silent_for_long() -> None:
    lags, clock = watch()
    measure(lags, 7, 7)
    clock.now_s += UNKNOWN_S
    lags.measured({}, [TRACE])
    assert lags.condition().is_well
    clock.now_s += 1.0
    assert lags.condition().sentence == "Kafka has not answered for 21 s."
    measure(lags, 7, 7)
    assert lags.condition().is_well


def test_a_reader_does_not_claim_to_have_read_all_before_it_was_measured() -> None:
    lags, _ = watch()
    lags.forget()
    begins = "It is reading; how far behind it is will be known in a few seconds."
    assert lags.condition().sentence == begins
    lags.measured({}, [TRACE])
    assert lags.condition().sentence == begins
    measure(lags, 7, 7)
    assert lags.condition().sentence == "It has read everything."


def test_a_reader_is_not_well_before_it_has_its_share() -> None:
    lags, _ = watch()
    lags.lost()
    assert not lags.condition().is_well
    lags.measured({}, [])  # more readers than partitions
    assert lags.condition().is_well


def test_a_share_that_was_taken_away_may_be_missing_for_a_while() -> None:
    lags, clock = watch()
    measure(lags, 7, 7)
    lags.lost()
    clock.now_s += STUCK_S - 1.0
    lags.lost()
    assert lags.condition().is_well
    clock.now_s += 1.0
    assert lags.condition().sentence == "It has had no partitions for 20 s."
    lags.forget()
    assert lags.condition().is_well
