"""Reward models offline: trained on pairs, explained, and measured."""
