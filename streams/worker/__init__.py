"""The trainer's worker: what is held, sent and acknowledged, and the Faust app that carries the bytes."""
