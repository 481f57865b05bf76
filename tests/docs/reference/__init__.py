"""The pages that are made from the code: commands, settings, topics, Python, and the table of least rights.

``python -m tests.docs.reference`` writes them; a test finds that they are current.
"""
