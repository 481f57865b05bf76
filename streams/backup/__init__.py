"""The whole log in a file, and back: every message at its offset.

``archive`` is the file, ``collect`` fills it from a broker, and ``restore`` writes it to an empty one, by
``rewriter``, which knows how messages come to given offsets.
"""
