"""A reward of texts alone, learnt pair by pair: linear in hashed character n-grams, without PyTorch."""
