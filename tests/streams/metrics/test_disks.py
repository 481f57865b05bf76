"""When a disk needs attention, by its size and what is free."""

from __future__ import annotations

import pytest

from streams.metrics.disks import Disk


@pytest.mark.parametrize(
    ("free", "size", "is_filling"),
    [
        (1 << 30, 8 << 30, False),  # an eighth
        (1 << 30, 16 << 30, True),
        (24 << 30, 252 << 30, False),  # less than a tenth, and room for months
        (9 << 30, 252 << 30, True),
        (0, 1, True),
        (0, 0, False),  # a file system that reports no size
    ],
)
def test_a_disk_is_filling_with_less_than_a_tenth_and_less_than_ten_gib(
    free: int, size: int, is_filling: bool
) -> None:
    assert Disk(free, size).is_filling is is_filling


def test_a_large_disk_needs_no_more_free_than_ten_gib() -> None:
    assert Disk(0, 16 << 30).least_free < Disk(0, 1000 << 30).least_free == 10 << 30
