"""Evidence about a reward: how well it predicted, how far judges and people agree, and the gate."""
