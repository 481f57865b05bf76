"""Messages that were mutated: none ends anything, and a model is as if the refused had never come.

``python -m tests.fuzz SEED`` runs one seed again, with the traceback of what it finds.
"""
