"""What a reward may be believed: how well it predicted, how far judges and people agree, the gate."""
