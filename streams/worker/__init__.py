"""The trainer's worker.

``trace_side``, ``vote_side`` and ``pair_side`` are pure state machines that decide what is held, sent,
published and committed; ``stages`` says what they expect of those who form and learn. ``shell`` carries out
what they ask for, ``delivery`` and ``outbox`` carry the bytes, and ``app`` puts it all into Faust.
"""
