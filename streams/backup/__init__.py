"""Backs up the whole log to a file and restores it, with every message at its offset.

``archive`` is the file format. ``collect`` fills a file from a broker. ``restore`` writes it to an empty
broker through ``rewriter``, which places messages at given offsets.
"""
