"""Experiments in the simulated world, and how well a reward picks among candidates."""
