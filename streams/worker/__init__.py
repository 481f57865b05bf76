"""The trainer's worker.

``trace_side``, ``vote_side`` and ``pair_side`` are pure state machines that decide what is held, sent,
published and committed. ``stages`` defines the interfaces of pair forming and learning that they call.
``shell`` performs their effects, ``delivery`` and ``outbox`` move the bytes, and ``app`` runs it all in
Faust.
"""
