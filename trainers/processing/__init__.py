"""The topics and their files as the learner's log: live, replayed, learnt again, and checked."""
