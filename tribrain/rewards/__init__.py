"""Reward models offline: trained of pairs, explained, and measured."""
