"""Videos and preferences of finished runs as training data for world models and reward models."""
