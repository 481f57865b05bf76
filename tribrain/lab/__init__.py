"""Experiments in the simulated world, where the truth is known."""
