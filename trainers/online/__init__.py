"""The learner that is served while it learns: pairs in, snapshots and states out, to the same bits."""
