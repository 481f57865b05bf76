"""Reward snapshots on their topic: one writer for each model, any number of feeds, and the artifact store."""
