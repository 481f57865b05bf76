"""Reward snapshots on their topic: one writer per model, any number of feeds, and the artifact store."""
