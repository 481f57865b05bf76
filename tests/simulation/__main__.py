"""``python -m tests.simulation SEED …`` lives the lives of these seeds again, and says what went wrong.

With ``wide`` before the seeds, those of a cluster of eight workers and 32 partitions.
"""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from tests.simulation.check import check
from tests.simulation.cluster import SMALL, WIDE, Cluster, Size

_SEEDS_AT_ONCE = 10


def fault_of(seed: int, size: Size = SMALL) -> str:
    """What is wrong after the life of this seed; empty where nothing is."""
    cluster = Cluster(seed, size)
    try:
        cluster.live()
        check(cluster)
    except Exception as error:
        return f"seed {seed}: {type(error).__name__}: {error}"
    return ""


def first_fault(seeds: range, size: Size = SMALL) -> str:
    """The fault of the first of these seeds that has one, in this process."""
    logging.disable(logging.CRITICAL)  # that workers give up partitions, and so on
    try:
        return next(filter(None, (fault_of(seed, size) for seed in seeds)), "")
    finally:
        logging.disable(logging.NOTSET)


def faults(n: int, size: Size = SMALL) -> list[str]:
    """The first fault of each part of the seeds from 0 to ``n``, in as many processes as there are cores."""
    parts = [range(first, min(n, first + _SEEDS_AT_ONCE)) for first in range(0, n, _SEEDS_AT_ONCE)]
    with ProcessPoolExecutor(mp_context=get_context("forkserver")) as pool:
        return [fault for fault in pool.map(partial(first_fault, size=size), parts) if fault]


if __name__ == "__main__":
    is_wide = sys.argv[1:2] == ["wide"]
    for given in sys.argv[1 + is_wide :]:
        said = fault_of(int(given), WIDE if is_wide else SMALL)
        print(said or f"seed {given}: nothing is lost, doubled or different")
