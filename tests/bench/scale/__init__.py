"""What a rate of events needs, worked out in the open, and the tables of docs/reference/scale.md that say so.

``costs`` reads what was measured, ``needs`` works with it, and ``tables`` shows it.
"""
