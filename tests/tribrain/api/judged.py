"""Comparisons of two people, some of them ties, of seven tasks."""

from __future__ import annotations

from tribrain import pairs_from_table

ROWS = [
    {
        "task": f"task {n % 7}",
        "left_sharp": n % 5 / 5,
        "right_sharp": n % 3 / 3,
        "left_calm": 0.5,
        "right_calm": n % 4 / 4,
        "winner": ("left", "right", "tie")[(n % 5 < n % 3) + (n % 11 == 0)],
        "annotator": n % 2,
    }
    for n in range(60)
]
PAIRS = pairs_from_table(ROWS)
