"""TriBrain from Python: what ``from tribrain import …`` gives."""
