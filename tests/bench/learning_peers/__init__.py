"""Other libraries that learn from pairs, on the same pairs, splits and orders as TriBrain's learners.

Each is a program of its own (``run``) in an environment of its own, which knows nothing of TriBrain: pairs go
in as files of arrays (``pairs``, written by ``cells``), predictions and stated uncertainties come out the
same way, and ``tables`` judges all of them alike. Each sees every pair with its sides in random order.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

CRITICS, BOTH, WHO = "critics alone", "critics and who made each side", "who made each side alone"
KINDS = (CRITICS, BOTH, WHO)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a peer is found, and what it takes."""

    module: str
    """In this package; its ``peer(name)`` makes the peer."""
    package: str
    """What has to be installed."""
    kinds: tuple[str, ...] = KINDS


OWN = {name: Entry("tribrain_learners", "trainers") for name in ("laplace", "river-logistic")}
PEERS = {
    "vw-logistic": Entry("vowpal_wabbit", "vowpalwabbit"),
    "vw-ftrl": Entry("vowpal_wabbit", "vowpalwabbit"),
    "vw-coin": Entry("vowpal_wabbit", "vowpalwabbit"),
    "river": Entry("river_own", "river"),
    "scikit-learn": Entry("scikit", "sklearn"),
    "statsmodels": Entry("stats_models", "statsmodels"),
    "arena-rank": Entry("arena", "arena_rank", (BOTH, WHO)),
    "evalica-elo": Entry("evalica_ratings", "evalica", (WHO,)),
    "evalica-bt": Entry("evalica_ratings", "evalica", (WHO,)),
    "choix-map": Entry("choix_ratings", "choix", (WHO,)),
    "choix-ep": Entry("choix_ratings", "choix", (WHO,)),
    "trueskill": Entry("true_skill", "trueskill", (WHO,)),
}
"""Of these, scikit-learn, statsmodels, arena-rank, choix and evalica-bt learn all pairs at once."""
ENTRIES = {**OWN, **PEERS}


def installed_in(python: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the peers whose package that Python has; none where there is no such Python."""
    packages = sorted({PEERS[name].package for name in names})
    ask = "import sys; from importlib.util import find_spec; print(*filter(find_spec, sys.argv[1:]))"
    try:
        found = subprocess.run([python, "-c", ask, *packages], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return ()
    return tuple(name for name in names if PEERS[name].package in found.stdout.split())
