"""What makes pairs: which candidates of a run are compared, who judged them, what each pair counts."""
