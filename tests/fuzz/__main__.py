"""``python -m tests.fuzz SEED``: one round again."""

from __future__ import annotations

import sys

from tests.fuzz.rounds import run_round

if __name__ == "__main__":
    run_round(int(sys.argv[1]))
