"""A reward of texts alone, learnt pair by pair: linear in hashed n-grams of characters, without PyTorch."""
