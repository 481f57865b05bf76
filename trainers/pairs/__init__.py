"""How pairs are made: which candidates of a run are compared, who judged them, and each pair's weight."""
