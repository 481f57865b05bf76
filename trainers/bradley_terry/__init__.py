"""The Bradley–Terry reward: its features, the estimators that learn its weights, and what it says."""
