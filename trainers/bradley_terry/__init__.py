"""The Bradley–Terry reward: its features, the estimators of its weights, and its predictions."""
