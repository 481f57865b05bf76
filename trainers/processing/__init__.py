"""The topics and their files as the learner's log: live, replayed, relearnt, and verified."""
